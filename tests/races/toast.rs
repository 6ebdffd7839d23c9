//! Large values that an UPDATE leaves alone are not sent. They are never lost, and
//! never written as NULL.

use crate::stage::{self, daemon, lock_wait};
use crate::support::{Point, World, split};

/// Makes every order's items too large to be stored in the row.
async fn world() -> World {
    let world = stage::world().await;
    world
        .sql(
            "alter table s.orders alter items set storage external;
             update s.orders set items = jsonb_build_array(jsonb_build_object(
                 'sku', id, 'qty', 1, 'note', repeat(md5(id::text), 100)))",
        )
        .await;
    world
}

/// Orders whose items are not in the target.
const LOST: &str = "select coalesce(string_agg(id::text, ' ' order by id), '') from s.orders o
    where jsonb_array_length(items) <> (select count(*) from t.items i where i.order_id = o.id)";

/// Updates that do not touch the items of rows 1 to 8, each way once.
const STEPS: &[&str] = &[
    // Alone in its batch.
    "update s.orders set status = 'a' where id = 1",
    // After an earlier image in the same batch.
    "begin; update s.orders set items = items || '{\"sku\": \"b\"}' where id = 2;
     update s.orders set status = 'b' where id = 2; commit",
    // With a change of key.
    "update s.orders set id = 1003, status = 'c' where id = 3",
    // With a change of key between two others.
    "begin; update s.orders set status = 'd' where id = 4; update s.orders set id = 1004 where id = 4;
     update s.orders set status = 'dd' where id = 1004; commit",
    // Two rows change places.
    "begin; update s.orders set id = -5 where id = 5; update s.orders set id = 5 where id = 6;
     update s.orders set id = 6 where id = -5; commit",
    // A row goes into quarantine, is changed there, and comes out of it.
    "update s.orders set at = 'whenever' where id = 7",
    "update s.orders set status = 'g' where id = 7",
    "update s.orders set at = '2024-02-29' where id = 7",
    // A key that goes away and comes back.
    "begin; update s.orders set id = 1008 where id = 8; update s.orders set id = 8 where id = 1008; commit",
    // An image that an earlier DELETE and INSERT of the key made whole.
    "begin; create temp table o on commit drop as select * from s.orders where id = 9;
     delete from s.orders where id = 9; insert into s.orders select * from o;
     update s.orders set status = 'i' where id = 9; commit",
];

async fn streaming(setup: &str, omit: Option<&str>) -> World {
    let world = world().await;
    world.sql(setup).await;
    let _daemon = daemon(&world, &[], omit);
    world.settled().await;
    split::assert_equal(&world).await;
    for step in STEPS {
        world.sql(step).await;
        world.caught_up().await;
        if step.contains("whenever") {
            let rows = "select (select count(*) from t.orders where id = 7) + (select count(*) from t.items where order_id = 7)";
            assert_eq!(world.get(rows).await, "0");
        }
    }
    world
}

#[tokio::test]
async fn an_update_that_leaves_large_items_alone_keeps_them_while_streaming() {
    let (whole, mutant) = tokio::join!(streaming("", None), streaming("", Some("toast")));
    split::assert_equal(&whole).await;
    let rows = "select count(*) from crossfade.quarantine";
    assert_eq!(whole.get(rows).await, "0");
    // An earlier image or a whole one needs no guard; every other way does.
    assert_eq!(mutant.get(LOST).await, "1 5 6 7 8 1003 1004");
}

/// The old row comes along: nothing is ever missing.
#[tokio::test]
async fn with_replica_identity_full_the_old_row_has_the_large_items() {
    let full = "alter table s.orders replica identity full";
    let (whole, mutant) = tokio::join!(streaming(full, None), streaming(full, Some("toast")));
    split::assert_equal(&whole).await;
    split::assert_equal(&mutant).await;
}

/// The same across the fence: the keys of one chunk (id 201 to 300 is claimed first)
/// change while it is being copied, into chunks to come and out of the copied range.
async fn copying(omit: Option<&str>) -> World {
    let world = world().await;
    let commit = Point::new(&world, "copy.before_commit");
    let _daemon = daemon(&world, &[&commit], omit);
    commit.reached().await;
    let claimed = "select l.objid = c.id and c.lo_0 = 200 from crossfade.chunk_1 c join pg_locks l
                   on l.locktype = 'advisory' and l.objsubid = 2 and l.objid = c.id
                   where c.state = 'pending'";
    assert_eq!(world.get(claimed).await, "true");
    world
        .sql(
            "update s.orders set status = 'a' where id in (1, 201);
             update s.orders set id = 1202 where id = 202;
             update s.orders set id = 1002 where id = 2;
             update s.orders set id = -3 where id = 203;
             begin; update s.orders set id = 1204 where id = 204;
             update s.orders set id = 204 where id = 4; update s.orders set id = 4 where id = 1204; commit;
             update s.orders set at = 'whenever', status = 'f' where id = 205;
             update s.orders set at = '2024-02-29' where id = 205",
        )
        .await;
    lock_wait(
        &world,
        "the applier to wait for a claim",
        "locktype = 'advisory'",
    )
    .await;
    commit.release();
    world.settled().await;
    world
}

#[tokio::test]
async fn an_update_that_leaves_large_items_alone_keeps_them_across_the_fence() {
    let (whole, mutant) = tokio::join!(copying(None), copying(Some("toast")));
    split::assert_equal(&whole).await;
    assert_eq!(mutant.get(LOST).await, "201 204 205 1002 1202");
}
