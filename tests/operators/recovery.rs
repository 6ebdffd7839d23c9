//! A stream begun anew after its slot was lost: what changed meanwhile is in no stream.

use crossfade::copy::{chunk, slow};
use crossfade::daemon::prepare;
use crossfade::error::Kind;
use crossfade::pg::ConnInfo;
use crossfade::state::migration;
use crossfade::transform::Module;
use crossfade::verify;
use crossfade::write::Session;
use crossfade::write::session::Durability;

use super::support::{Daemon, Point, World, split};
use super::watch::{self, fill};

/// Changes of every kind that no stream will bring: inserts above and between the
/// keys, deletes, updates of either target, a move of a key.
const LOST: &str = "
    insert into s.orders (items) values ('[{\"sku\": \"above\", \"qty\": 1}]'), ('[]');
    insert into s.orders (id, items) values (-5, '[{\"sku\": \"below\", \"qty\": 1}]');
    delete from s.orders where id between 200 and 205 or id = (select max(id) from s.orders where id < 100000);
    update s.orders set status = 'lost' where id % 500 = 0;
    update s.orders set items = '[]' where id % 700 = 0;
    update s.orders set items = items || '{\"sku\": \"more\", \"qty\": 2}' where id = 900;
    update s.orders set id = 55555 where id = 901;
    delete from s.orders where id = 902; insert into s.orders (id) values (902);";

/// Waits until nobody streams from the slot.
async fn left(world: &World) {
    world
        .until(
            "the slot to be left",
            "select not exists(select from pg_replication_slots
                               where slot_name = 'crossfade_test' and active)",
        )
        .await;
}

async fn drop_slot(world: &World) {
    left(world).await;
    world
        .sql("select pg_drop_replication_slot('crossfade_test')")
        .await;
}

#[tokio::test]
async fn only_what_differs_is_written_again_and_nothing_is_missed() {
    let world = World::new().await;
    fill(&world, 3000).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert!(world.run(&["verify"]).status.success());
    assert_eq!(daemon.stop().await, 0);
    drop_slot(&world).await;
    world.sql(LOST).await;
    // Rows that no lost change touched keep their place.
    world
        .sql("create table kept as select ctid as place, id from t.orders where id between 1200 and 1290")
        .await;
    let daemon = world.daemon(&[]);
    // The stream goes on from the new slot at once.
    world
        .sql("update s.orders set status = 'after' where id % 11 = 0; delete from s.orders where id = 903")
        .await;
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
    let moved = "select count(*) from kept k join t.orders o using (id)
                 where o.ctid <> k.place and id % 11 <> 0 and id % 500 <> 0 and id % 700 <> 0";
    assert_eq!(world.get(moved).await, "0");
    let logged = world.get("select count(*) from crossfade.changed_1").await;
    assert!(logged.parse::<i64>().unwrap() > 0);
    assert!(daemon.log().contains("begun anew"), "{}", daemon.log());
    // The certificate was of what is no more.
    let status = watch::status(&world);
    assert!(
        status["verification"]["certificate"].is_null(),
        "{status:#}"
    );
    assert!(world.run(&["verify"]).status.success());
    world.sql("insert into s.orders (items) values ('[]'); update s.orders set status = 'x' where id = 55555").await;
    world.caught_up().await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn a_copy_that_was_under_way_goes_on_and_a_crash_at_each_step_is_met() {
    let world = World::new().await;
    fill(&world, 3000).await;
    world.config(
        &["split"],
        "[copy]\nbatch_rows = 50\nsleep_ms = 20\nworkers = 1",
    );
    let mut daemon = world.daemon(&[]);
    world
        .until(
            "some chunks",
            "select count(*) > 10 from crossfade.chunk_1 where state = 'copied'",
        )
        .await;
    daemon.kill();
    drop_slot(&world).await;
    world.sql(LOST).await;
    for step in [
        "recovery.before_begin",
        "recovery.begun",
        "prepare.before_slot",
        "prepare.start_gate",
    ] {
        let point = Point::new(&world, step);
        let mut daemon = world.daemon(&[("CROSSFADE_FAILPOINTS", &point.spec())]);
        point.reached().await;
        daemon.kill();
        // Lost too: the slot that is there by now is made anew or begins before this.
        world
            .sql("update s.orders set status = status || '!' where id % 97 = 0; delete from s.orders where id = (select min(id) from s.orders where id > 300)")
            .await;
    }
    let _daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn a_slot_advanced_by_somebody_else_is_a_gap_like_any_other() {
    let world = World::new().await;
    fill(&world, 1000).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    world
        .sql("update s.orders set status = 'skipped' where id = 7; delete from s.orders where id = 8")
        .await;
    left(&world).await;
    world
        .sql("select pg_replication_slot_advance('crossfade_test', pg_current_wal_lsn())")
        .await;
    let _daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}

/// A table that somebody takes out of the publication for a moment leaves a gap that the
/// stream does not tell of, also where it was put back before anybody looked.
#[tokio::test]
async fn a_publication_changed_by_somebody_else_is_a_gap_like_any_other() {
    let world = World::new().await;
    fill(&world, 1000).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert!(world.run(&["verify"]).status.success());
    world
        .sql("alter publication crossfade_test drop table s.orders")
        .await;
    world
        .sql(
            "update s.orders set status = 'missed' where id = 7; delete from s.orders where id = 8",
        )
        .await;
    world
        .sql("alter publication crossfade_test add table s.orders")
        .await;
    let refused = world.run(&["switch"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(daemon.exit().await, 2);
    assert!(
        daemon.log().contains("was changed by somebody"),
        "{}",
        daemon.log()
    );
    let _daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn rows_that_the_targets_refuse_and_unique_values_that_moved_survive_a_recovery() {
    let world = World::new().await;
    fill(&world, 1000).await;
    world
        .sql(
            "create unique index on t.orders (status) where status like 'u%';
              update s.orders set status = 'u' || id where id between 10 and 20",
        )
        .await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    drop_slot(&world).await;
    // A value moves between rows of distant chunks, one row cannot be converted any more,
    // another one could not and can now.
    world
        .sql(
            "update s.orders set status = 'x' where id = 10;
              update s.orders set status = 'u10' where id = 990;
              update s.orders set at = 'no date' where id in (500, 501);
              update s.orders set at = '2025-01-01 00:00:00' where id = 501",
        )
        .await;
    world
        .sql("update s.orders set at = 'never' where id = 600")
        .await;
    let mut daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    assert_eq!(
        world
            .get("select string_agg(key[1], ',' order by key) from crossfade.quarantine")
            .await,
        "500,600"
    );
    assert_eq!(
        world
            .get("select count(*) from t.orders where id in (500, 600)")
            .await,
        "0"
    );
    assert_eq!(
        world
            .get("select count(*) from t.items where order_id in (500, 600)")
            .await,
        "0"
    );
    world
        .sql("update s.orders set at = '2025-01-01 00:00:00' where id in (500, 600)")
        .await;
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert_eq!(daemon.stop().await, 0);
}

/// A predecessor that is not quite dead: its session with the lock is gone, a copier of
/// it holds a claim and a snapshot from before the new slot. (One that has written
/// something already keeps the new slot from being made; this one has compared.)
async fn an_old_snapshot_is_committed(omit: &str) -> (World, [Daemon; 2]) {
    let world = World::new().await;
    fill(&world, 1000).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    drop_slot(&world).await;
    let point = Point::new(&world, "again.looked");
    let zombie = world.daemon(&[("CROSSFADE_FAILPOINTS", &point.spec())]);
    point.reached().await;
    let signal = |name: &str| {
        let pid = zombie.pid().to_string();
        std::process::Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap();
    };
    signal("-STOP");
    world
        .sql(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where application_name in ('crossfade daemon', 'crossfade stream crossfade_test')",
        )
        .await;
    drop_slot(&world).await;
    world
        .sql("update s.orders set status = 'lost'; delete from s.orders where id % 9 = 0")
        .await;
    let daemon = world.daemon(&[("CROSSFADE_OMIT", omit)]);
    let waits = if omit.is_empty() {
        "select exists(select from pg_locks where locktype = 'advisory' and not granted)"
    } else {
        "select phase = 'copying' and recoveries = 2 from crossfade.migration"
    };
    world.until("the recovery to meet the claim", waits).await;
    point.release();
    signal("-CONT");
    (world, [daemon, zombie])
}

#[tokio::test]
async fn a_chunk_that_a_dying_predecessor_copies_is_taken_back_too() {
    let (world, _daemons) = an_old_snapshot_is_committed("").await;
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn without_the_wait_for_claims_its_snapshot_would_lose_changes() {
    let (world, _daemons) = an_old_snapshot_is_committed("recovery_claims").await;
    world.settled().await;
    let (missing, extra) = world
        .difference(&split::ORDERS.replace("source o", "s.orders o"), "t.orders")
        .await;
    assert!(missing + extra > 0, "the mutant survives");
}

/// The same predecessor, later: its copier claims a chunk after all claims were waited
/// for. It knows of no stream begun anew, so it would insert beside what the targets hold
/// without comparing; here its chunk has no source row left, and rows of vanished ones in
/// the targets. The test is that copier.
#[tokio::test]
async fn a_copier_that_knows_of_no_new_beginning_can_copy_nothing() {
    let world = World::new().await;
    fill(&world, 1000).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let mut client = world.open().await;
    let module = Module::load(&world.dir.join("transforms/split")).unwrap();
    let row = migration::require(&client, "test").await.unwrap();
    let plans = prepare::bind_all(&mut client, row.id, &[module])
        .await
        .unwrap();
    let (plan, unaware) = verify::sources(&client, row.id, plans)
        .await
        .unwrap()
        .remove(0);
    assert!(!unaware.again);
    let mut session = Session::open(
        &ConnInfo::parse(&world.server.url("postgres")).unwrap(),
        "copy 1",
        Durability::Off,
    )
    .await
    .unwrap();
    assert_eq!(daemon.stop().await, 0);
    drop_slot(&world).await;
    world
        .sql("delete from s.orders where id between 101 and 400")
        .await;
    let point = Point::new(&world, "copy.before_claim");
    let _daemon = world.daemon(&[("CROSSFADE_FAILPOINTS", &point.spec())]);
    point.reached().await;
    let pending = unaware.pending(&client, 100).await.unwrap();
    let gone = pending
        .iter()
        .find(|c| c.range.lo.as_deref() == Some(&["200".to_owned()]))
        .unwrap();
    for slow in [false, true] {
        assert!(
            chunk::claim(&session, &unaware, gone.id).await.unwrap(),
            "the claim was free"
        );
        let refused = match slow {
            false => chunk::copy(&mut session, &plan, &unaware, gone, false)
                .await
                .map(|_| ()),
            true => slow::copy(&mut session, &plan, &unaware, gone)
                .await
                .map(|_| ()),
        };
        assert_eq!(refused.unwrap_err().kind, Kind::Ownership);
        chunk::release(&session, &unaware, gone.id).await.unwrap();
    }
    point.release();
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}
