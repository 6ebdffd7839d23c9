//! Races of the way back.

use crate::stage::{Gap, daemon, daemon_waits};
use crate::support::{Daemon, Point, World, json};

const REVERSE: &str = "select o.id, o.status, coalesce((select jsonb_agg(jsonb_build_object('sku', i.sku) order by i.n) from t.items i where i.order_id = o.id), '[]') as items from t.orders o";

/// A world whose module has a reverse, with 100 orders of one item each.
async fn world() -> World {
    let world = World::new().await;
    world
        .sql(
            "set synchronous_commit = local;
             create schema s; create schema t;
             create table s.orders (id bigint primary key, status text not null, items jsonb not null);
             create table t.orders (id bigint primary key, status text not null);
             create table t.items (order_id bigint not null, n int not null, sku text,
                 primary key (order_id, n));
             insert into s.orders select g, 'new', jsonb_build_array(jsonb_build_object('sku', 'S' || g))
             from generate_series(1, 100) g; analyze s.orders",
        )
        .await;
    let toml = "source = 's.orders'\n[[target]]\ntable = 't.orders'\nsource_key = ['id']\nselect = 'orders.sql'\n[[target]]\ntable = 't.items'\nsource_key = ['order_id']\nselect = 'items.sql'\n[reverse]\nselect = 'reverse.sql'\n";
    world.module(
        "split",
        &[
            ("transform.toml", toml),
            ("orders.sql", "select o.id, o.status from source o"),
            ("items.sql", "select o.id as order_id, i.n::int as n, i.item ->> 'sku' as sku from source o, jsonb_array_elements(o.items) with ordinality as i(item, n)"),
            ("reverse.sql", REVERSE),
        ],
    );
    world.config(&["split"], "[switch]\nmax_stall_ms = 30000");
    world
}

async fn switched(world: &World, points: &[&Point], omit: Option<&str>) -> Daemon {
    let daemon = daemon(world, points, omit);
    world
        .until(
            "both slots of a migration that streams",
            // Listed from when it is begun, and of use only from when it is consistent.
            "select phase = 'streaming' and (select count(*) from pg_replication_slots
                                             where confirmed_flush_lsn is not null) = 2
             from crossfade.migration",
        )
        .await;
    switch(world, &["switch", "--unverified"]).await;
    daemon
}

async fn switch(world: &World, arguments: &[&str]) {
    let mut command = world.command(&["--output", "json"]);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(json(&output)["outcome"], "switched", "{output:?}");
}

async fn in_reverse(world: &World) {
    world
        .until(
            "the reverse stream",
            "select exists(select from pg_replication_slots where slot_name = 'crossfade_test_back' and active_pid is not null)",
        )
        .await;
}

/// Old rows that are missing, too many or stale.
async fn differing(world: &World) -> i64 {
    let sql = format!(
        "select (select count(*) from ((table s.orders_old) except all ({REVERSE})) a)
              + (select count(*) from (({REVERSE}) except all (table s.orders_old)) b)"
    );
    world.get(&sql).await.parse().unwrap()
}

/// Plays a scenario with its guard and without it: it ends with equal rows in the first
/// form only.
async fn guarded(guard: &str, scenario: impl AsyncFn(Option<&str>) -> World) {
    let (whole, mutant) = tokio::join!(scenario(None), scenario(Some(guard)));
    assert_eq!(differing(&whole).await, 0);
    let lost = differing(&mutant).await;
    eprintln!("without {guard}: {lost} old rows are wrong");
    assert_ne!(lost, 0, "nothing went wrong without {guard}");
}

/// A commit is in the stream while no snapshot shows it: a row that is rebuilt then is
/// rebuilt without it, and nothing comes that would rebuild it again.
async fn in_the_gap(omit: Option<&str>) -> World {
    let mut world = world().await;
    let _daemon = switched(&world, &[], omit).await;
    in_reverse(&world).await;
    Gap::prepare(&mut world).await;
    let gap = Gap::commit(&world, "update t.items set sku = 'gap' where order_id <= 7").await;
    if omit.is_some() {
        world.caught_up().await;
    } else {
        daemon_waits(&world, "has committed but is not visible").await;
    }
    gap.close(&mut world).await;
    world.caught_up().await;
    world
}

#[tokio::test]
async fn a_commit_in_the_gap_is_not_rebuilt_before_it_is_visible() {
    guarded("release_gate", in_the_gap).await;
}

/// The daemon is slow to notice a switch, and its stream of the old direction goes on
/// for a while: it must not move the checkpoint past what the other one has not seen.
async fn late_notice(omit: Option<&str>) -> World {
    let world = world().await;
    let notice = Point::new(&world, "monitor.handed_over");
    let _daemon = switched(&world, &[&notice], omit).await;
    notice.reached().await;
    world.sql("update t.orders set status = 'late'").await;
    let end = world.get("select pg_current_wal_insert_lsn()").await;
    // Without the guard the old direction's idle stream confirms it; with it nobody does.
    if omit.is_some() {
        world
            .until(
                "the wrong stream to move the checkpoint",
                &format!("select applied_lsn >= '{end}' from crossfade.checkpoint"),
            )
            .await;
    }
    notice.release();
    in_reverse(&world).await;
    world.caught_up().await;
    world
}

#[tokio::test]
async fn a_stream_that_has_handed_over_moves_the_checkpoint_no_more() {
    guarded("leg", late_notice).await;
}

/// A change that the applier has received and not written when the switch has its lock:
/// it cannot write the old table any more, and the switch waits for it.
#[tokio::test]
async fn what_is_parked_under_the_lock_is_rebuilt_by_the_switch_back() {
    let world = world().await;
    let write = Point::new(&world, "reverse.before_write");
    let drained = Point::new(&world, "switch.lock_asked");
    let locked = Point::new(&world, "switch.locked");
    let _daemon = switched(&world, &[&write], None).await;
    in_reverse(&world).await;
    let mut command = world.command(&["--output", "json", "switch", "--back", "--unverified"]);
    let points = format!("{},{}", drained.spec(), locked.spec());
    command.env("CROSSFADE_FAILPOINTS", points);
    let back = tokio::task::spawn_blocking(move || command.output().unwrap());
    drained.reached().await;
    world
        .sql("update t.items set sku = 'parked' where order_id <= 5; delete from t.items where order_id = 6")
        .await;
    write.reached().await;
    drained.release();
    locked.reached().await;
    write.release();
    world
        .until(
            "the keys to be parked",
            "select count(*) = 6 from crossfade.quarantine where reason = 'locked'",
        )
        .await;
    locked.release();
    let output = back.await.unwrap();
    assert_eq!(json(&output)["outcome"], "switched", "{output:?}");
    assert_eq!(
        world.get("select count(*) from crossfade.quarantine").await,
        "0"
    );
    let sql = format!("select count(*) from ((table s.orders) except all ({REVERSE})) a");
    assert_eq!(world.get(&sql).await, "0");
}
