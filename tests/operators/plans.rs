//! What the applier's statements cost while the tables under them grow.

use std::time::{Duration, Instant};

use super::support::{World, until};
use super::watch::{self, fill};
use crossfade::server::Options;

/// Rows of a target that were read from end to end so far, told once the statistics have
/// what was `written` to `t.orders`.
async fn scanned(world: &World, table: &str, written: i64) -> i64 {
    world
        .until(
            "the statistics",
            &format!(
                "select n_tup_ins + n_tup_upd + n_tup_del >= {written}
                 from pg_stat_all_tables where relid = 't.orders'::regclass"
            ),
        )
        .await;
    let sql =
        format!("select seq_tup_read from pg_stat_all_tables where relid = '{table}'::regclass");
    world.get(&sql).await.parse().unwrap()
}

/// What was written to the target so far, before more is.
async fn written(world: &World) -> i64 {
    let sql = "select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_all_tables where relid = 't.orders'::regclass";
    world.get(sql).await.parse().unwrap()
}

/// Until the copy has filled most of the targets; then it stands.
async fn mostly_copied(world: &World) {
    watch::throttle(world, &["sleep_ms=50", "batch_rows=1000"]);
    world
        .until(
            "most of the copy",
            "select coalesce(sum(rows), 0) > 60000 from crossfade.chunk_1 where state = 'copied'",
        )
        .await;
    assert!(world.run(&["pause"]).status.success());
    let stands = |s: &serde_json::Value| s["operation"]["live"]["throttle"]["pace"] == 0.0;
    watch::until(world, "the copy to stand", stands).await;
}

/// Rows that ten changes read of a target in whole scans.
async fn read_by_changes(world: &World, table: &str, change: &str, rows: i64) -> i64 {
    let had = written(world).await;
    let before = scanned(world, table, had).await;
    for _ in 0..10 {
        world.sql(change).await;
        world.caught_up().await;
    }
    let read = scanned(world, table, had + 10 * rows).await - before;
    println!("10 changes read {read} rows of {table} in whole scans");
    read
}

// Goal: the stream begins on empty targets, and a plan made for an empty table reads it from
// end to end. That must not last when the copy has filled it, without any ANALYZE: one
// change would cost more the further the copy is.
#[tokio::test]
async fn plans_made_for_empty_targets_do_not_outlast_them() {
    let world = World::with(Options::default().setting("autovacuum", "off")).await;
    fill(&world, 100_000).await;
    world.config(
        &["split"],
        "[copy]\nbatch_rows = 10\nworkers = 1\nsleep_ms = 50\n[throttle]\nmax_delay_ms = \"off\"\nmax_lag_seconds = 60",
    );
    let begun = Instant::now();
    // Statistics would bring new plans with them; a role that does not own the targets has
    // none to give.
    let mut daemon = world.daemon(&[("CROSSFADE_OMIT", "copy_statistics")]);
    world
        .until("the first rows", "select exists(select from t.orders)")
        .await;
    let change = "update s.orders set status = status || '.' where id between 1 and 5";
    // Planned while next to nothing is there.
    for _ in 0..3 {
        world.sql(change).await;
        world.caught_up().await;
    }
    mostly_copied(&world).await;
    // A plan lives as long as all before it: twice the time until now is enough, and a
    // minute more for the looks themselves where everything was quick until now.
    let bound = 2 * begun.elapsed() + Duration::from_secs(60);
    until("changes that read no whole table", async || {
        assert!(begun.elapsed() < bound, "whole tables are read for good");
        read_by_changes(&world, "t.orders", change, 5).await < 10_000
    })
    .await;
    assert!(world.run(&["resume"]).status.success());
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
}

// Goal: of a table without statistics the planner takes a two-hundredth for each key, and
// reads all of it for a few keys. The copy has it analyzed while it grows, so the stream
// does not fall behind until an autovacuum comes by.
#[tokio::test]
async fn changes_read_no_whole_target_although_nobody_has_analyzed_it() {
    let world = World::with(Options::default().setting("autovacuum", "off")).await;
    fill(&world, 100_000).await;
    world.config(
        &["split"],
        "[copy]\nworkers = 1\nsleep_ms = 50\n[throttle]\nmax_delay_ms = \"off\"\nmax_lag_seconds = 60",
    );
    let mut daemon = world.daemon(&[]);
    world
        .until("the first rows", "select exists(select from t.orders)")
        .await;
    mostly_copied(&world).await;
    let change =
        "update s.orders set status = status || '.', items = items || '[]' where id % 2000 = 1";
    until("changes that read no whole table", async || {
        read_by_changes(&world, "t.items", change, 50).await < 10_000
    })
    .await;
    assert!(world.run(&["resume"]).status.success());
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
}
