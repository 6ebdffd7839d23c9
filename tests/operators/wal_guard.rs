//! A target that stalls while the source writes on.

use super::support::{World, split};
use super::watch::{self, fill};
use crossfade::server::Options;

/// A daemon whose applier waits for a row that somebody has locked.
async fn stalled(
    extra: &str,
    options: Options,
) -> (World, super::support::Daemon, tokio_postgres::Client) {
    let world = World::with(options).await;
    fill(&world, 2000).await;
    world.config(&["split"], extra);
    let daemon = world.daemon(&[]);
    world.settled().await;
    let lock = world.open().await;
    lock.batch_execute("begin; select from t.orders where id = 1 for update")
        .await
        .unwrap();
    world
        .sql(
            "update s.orders set status = 'late' where id = 1;
              insert into s.orders (items) values ('[{\"sku\": \"z\", \"qty\": 1}]');
              delete from s.orders where id = 2",
        )
        .await;
    (world, daemon, lock)
}

async fn write_log(world: &World, mebibytes: u32) {
    for _ in 0..mebibytes {
        world
            .sql("select pg_logical_emit_message(false, 'test', repeat('x', 1048576))")
            .await;
    }
}

fn guard(status: &serde_json::Value) -> &str {
    status["operation"]["live"]["slot"]["stage"]
        .as_str()
        .unwrap_or("")
}

#[tokio::test]
async fn the_guard_warns_then_throttles_then_gives_up_and_a_restart_recovers() {
    let config = "[copy]\nbatch_rows = 100\n[throttle]\nmax_lag_seconds = 60\n[slot]\ngive_up_wal = \"64MiB\"";
    let (world, mut daemon, lock) = stalled(config, Options::default()).await;
    write_log(&world, 36).await;
    watch::until(&world, "a warning", |s| guard(s) == "warn").await;
    write_log(&world, 16).await;
    let status = watch::until(&world, "the copy to stand", |s| guard(s) == "throttle").await;
    assert_eq!(status["operation"]["live"]["slot"]["limit_bytes"], 64 << 20);
    assert_eq!(
        status["operation"]["live"]["throttle"]["hold"]["signal"],
        "wal_guard"
    );
    assert!(daemon.is_running());
    write_log(&world, 20).await;
    assert_eq!(daemon.exit().await, 2);
    lock.batch_execute("rollback").await.unwrap();
    let log = daemon.log();
    let at = |what: &str| {
        log.find(what)
            .unwrap_or_else(|| panic!("no `{what}` in\n{log}"))
    };
    assert!(at("retains much WAL") < at("the copy stands"), "{log}");
    assert!(at("the copy stands") < at("is given up"), "{log}");
    assert!(
        log.contains("slot.give_up_wal") && log.contains("start the daemon again"),
        "{log}"
    );
    let slots = "select count(*) from pg_replication_slots where slot_name = 'crossfade_test'";
    assert_eq!(world.get(slots).await, "0");
    let status = watch::status(&world);
    assert!(
        status["operation"]["slot_lost"]["why"]
            .as_str()
            .unwrap()
            .contains("given up"),
        "{status:#}"
    );
    let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(
        text.contains("slot        LOST: the slot crossfade_test was given up"),
        "{text}"
    );

    let _daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
    let status = watch::status(&world);
    assert!(status["operation"]["slot_lost"].is_null(), "{status:#}");
    assert_eq!(status["operation"]["recoveries"], 1);
}

#[tokio::test]
async fn a_slot_that_the_server_invalidated_is_noticed_told_and_recovered_from() {
    let options = Options::default()
        .setting("max_slot_wal_keep_size", "32MB")
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "32MB");
    let (world, mut daemon, lock) = stalled("", options).await;
    let status = watch::until(&world, "the server's limit", |s| {
        s["operation"]["live"]["slot"]["limit_setting"] == "max_slot_wal_keep_size"
    })
    .await;
    assert_eq!(status["operation"]["live"]["slot"]["limit_bytes"], 32 << 20);
    write_log(&world, 100).await;
    world.sql("checkpoint").await;
    assert_eq!(daemon.exit().await, 2);
    lock.batch_execute("rollback").await.unwrap();
    assert!(
        daemon.log().contains("start the daemon again"),
        "{}",
        daemon.log()
    );
    let _daemon = world.daemon(&[]);
    watch::recovered(&world).await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn a_slot_of_tables_that_nobody_changes_moves_on_by_heartbeats() {
    let world = World::new().await;
    fill(&world, 100).await;
    world.config(&["split"], "[slot]\nheartbeat_seconds = 1");
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let confirmed =
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'crossfade_test'";
    // Log of another database only: nothing that this slot would send.
    world.sql("create database other").await;
    let other = crossfade::pg::ConnInfo::parse(&world.server.url("other")).unwrap();
    let other = crossfade::pg::connect(&other, "test").await.unwrap();
    for _ in 0..2 {
        let before = world.get(confirmed).await;
        other
            .batch_execute("create table x as select generate_series(1, 10000); drop table x")
            .await
            .unwrap();
        let end = world.get("select pg_current_wal_lsn()").await;
        world
            .until(
                "the slot to pass the other database's log",
                &format!("select ({confirmed}) >= '{end}'::pg_lsn"),
            )
            .await;
        assert_ne!(before, world.get(confirmed).await);
    }
}
