//! The source's columns change while a migration runs.

use crate::stage::{self, daemon};
use crate::support::{World, split};

#[tokio::test]
async fn new_columns_that_no_module_uses_come_and_go_unnoticed() {
    let world = stage::world().await;
    let mut daemon = daemon(&world, &[], None);
    world.settled().await;
    world
        .sql(
            "begin; update s.orders set status = 'a' where id = 1;
             alter table s.orders add extra text default 'x';
             update s.orders set status = 'b', extra = 'y' where id = 1; commit;
             insert into s.orders (items, extra) values ('[{\"sku\": \"new\"}]', 'z')",
        )
        .await;
    world.caught_up().await;
    world
        .sql(
            "alter table s.orders alter extra drop default, alter extra type int using 1, drop filler;
             update s.orders set status = 'c' where id % 3 = 0;
             alter table s.orders rename extra to other; update s.orders set status = 'd' where id = 3",
        )
        .await;
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert!(daemon.is_running());
}

/// The daemon must end on the first change after `ddl`, naming the column, and
/// leave the slot where the checkpoint is.
async fn stops(ddl: &str, column: &str, says: &str) -> World {
    let world = stage::world().await;
    let mut daemon = daemon(&world, &[], None);
    world.settled().await;
    world
        .sql("update s.orders set status = 'before' where id = 1")
        .await;
    world.caught_up().await;
    world.sql(ddl).await;
    world.sql("delete from s.orders where id = 2").await;
    assert_eq!(daemon.exit().await, 2);
    let log = daemon.log();
    let error = log.lines().find(|l| l.starts_with("error:")).unwrap_or("");
    assert!(
        error.contains(column) && error.contains(says) && error.contains("s.orders"),
        "{error}"
    );
    let kept = "select s.confirmed_flush_lsn <= c.applied_lsn and s.wal_status = 'reserved'
                from pg_replication_slots s, crossfade.checkpoint c";
    assert_eq!(world.get(kept).await, "true");
    assert_eq!(
        world.get("select status from t.orders where id = 1").await,
        "before"
    );
    assert_eq!(
        world
            .get("select count(*) from t.orders where id = 2")
            .await,
        "1"
    );
    world
}

#[tokio::test]
async fn a_used_column_that_is_renamed_dropped_or_retyped_stops_the_daemon_by_name() {
    let _ = tokio::join!(
        stops(
            "alter table s.orders rename status to state",
            "\"status\"",
            "was dropped or renamed"
        ),
        stops(
            "alter table s.orders drop items",
            "\"items\"",
            "was dropped or renamed"
        ),
        stops(
            "alter table s.orders alter at type varchar(40)",
            "\"at\"",
            "another type"
        ),
    );
}

/// Without the old key an UPDATE of it would leave the row under that key where it is, and
/// nobody would notice.
#[tokio::test]
async fn a_replica_identity_that_loses_the_key_stops_the_daemon_before_a_change_of_a_key() {
    let world = stage::world().await;
    world
        .sql(
            "alter table s.orders add other int generated always as identity;
             create unique index other on s.orders (other)",
        )
        .await;
    let mut daemon = daemon(&world, &[], None);
    world.settled().await;
    world
        .sql("alter table s.orders replica identity using index other")
        .await;
    world
        .sql("update s.orders set id = -id where id between 10 and 20")
        .await;
    world
        .sql("alter table s.orders replica identity default")
        .await;
    assert_eq!(daemon.exit().await, 2);
    let log = daemon.log();
    assert!(
        log.contains("the replica identity of s.orders does not contain the key"),
        "{log}"
    );
}

/// The change back restores the migration when nothing was written in between.
#[tokio::test]
async fn the_slot_keeps_its_place_so_that_the_change_taken_back_lets_the_run_go_on() {
    let world = stage::world().await;
    let mut stopped = daemon(&world, &[], None);
    world.settled().await;
    assert_eq!(stopped.stop().await, 0);
    world
        .sql("alter table s.orders rename status to state")
        .await;
    let mut refused = daemon(&world, &[], None);
    assert_eq!(refused.exit().await, 2);
    assert!(refused.log().contains("status"), "{}", refused.log());
    world
        .sql("alter table s.orders rename state to status; update s.orders set status = 'back' where id % 9 = 0")
        .await;
    let _daemon = daemon(&world, &[], None);
    world.caught_up().await;
    split::assert_equal(&world).await;
}
