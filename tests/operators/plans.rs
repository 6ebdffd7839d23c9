//! What the applier's statements cost while the tables under them grow.

use std::time::{Duration, Instant};

use super::support::{World, until};
use super::watch::{self, fill};
use crossfade::server::Options;

/// Rows of the target that were read from end to end so far, told once the statistics have
/// what was `written` there.
async fn scanned(world: &World, written: i64) -> i64 {
    world
        .until(
            "the statistics",
            &format!(
                "select n_tup_ins + n_tup_upd + n_tup_del >= {written}
                 from pg_stat_all_tables where relid = 't.orders'::regclass"
            ),
        )
        .await;
    let sql = "select seq_tup_read from pg_stat_all_tables where relid = 't.orders'::regclass";
    world.get(sql).await.parse().unwrap()
}

/// What was written to the target so far, before more is.
async fn written(world: &World) -> i64 {
    let sql = "select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_all_tables where relid = 't.orders'::regclass";
    world.get(sql).await.parse().unwrap()
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
    let mut daemon = world.daemon(&[]);
    world
        .until("the first rows", "select exists(select from t.orders)")
        .await;
    let change = "update s.orders set status = status || '.' where id between 1 and 5";
    // Planned while next to nothing is there.
    for _ in 0..3 {
        world.sql(change).await;
        world.caught_up().await;
    }
    watch::throttle(&world, &["sleep_ms=0", "batch_rows=1000"]);
    world
        .until(
            "most of the copy",
            "select coalesce(sum(rows), 0) > 60000 from crossfade.chunk_1 where state = 'copied'",
        )
        .await;
    assert!(world.run(&["pause"]).status.success());
    let copied = |s: &serde_json::Value| s["operation"]["live"]["throttle"]["pace"] == 0.0;
    watch::until(&world, "the copy to stand", copied).await;
    // A plan lives as long as all before it: twice the time until now is enough, and a
    // minute more for the looks themselves where everything was quick until now.
    let bound = 2 * begun.elapsed() + Duration::from_secs(60);
    until("changes that read no whole table", async || {
        assert!(begun.elapsed() < bound, "whole tables are read for good");
        let had = written(&world).await;
        let before = scanned(&world, had).await;
        for _ in 0..10 {
            world.sql(change).await;
            world.caught_up().await;
        }
        let read = scanned(&world, had + 50).await - before;
        println!("10 changes read {read} rows in whole scans");
        read < 10_000
    })
    .await;
    assert!(world.run(&["resume"]).status.success());
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
}
