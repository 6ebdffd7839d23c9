//! Each signal, provoked: the copy slows within two seconds, says why, and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

use super::replica::Standby;
use super::support::pauses::{Control, Pauses};
use super::support::{World, split};
use super::watch::{self, chunks, fill, now, told};
use crossfade::server::Options;

/// From what was done to the beginning of the slowing, on a machine that does not stand
/// still meanwhile. Begins when what was done is done: how long a command takes to start is
/// not what is meant.
const REACTION: f64 = 2.0;

/// Seconds from `begun` to the hold's beginning, no more than crossfade promises and the
/// machine has added.
#[track_caller]
fn assert_prompt(hold: &Value, begun: f64, machine: Duration) -> f64 {
    let reaction = hold["since"].as_f64().unwrap() - begun;
    assert!(
        reaction < REACTION + machine.as_secs_f64(),
        "{reaction} s, {machine:?} of it the machine's: {hold}"
    );
    reaction
}

/// The copy as `signal` slows it: waits until it stands, and sees that it does. `control`
/// was asked when `begun` was read.
async fn stands(world: &World, signal: &str, begun: f64, control: &Control) -> Value {
    let hold = |s: &Value| s["operation"]["live"]["throttle"]["hold"].clone();
    let status = watch::until(world, &format!("{signal} to hold the copy"), |s| {
        hold(s)["signal"] == signal && s["operation"]["live"]["throttle"]["pace"] == 0.0
    })
    .await;
    let reaction = assert_prompt(&hold(&status), begun, control.take());
    println!("{signal}: after {reaction:.2} s: {}", status["waiting"]);
    let before = chunks(world).await;
    told(world, 2).await;
    let after = chunks(world).await;
    // What was in work when it was held is finished.
    assert!(
        after - before <= 1,
        "{signal}: {before} then {after} chunks"
    );
    status
}

/// The copy goes on, and nothing holds it any more.
async fn recovers(world: &World, signal: &str) {
    let before = chunks(world).await;
    watch::until(world, &format!("the copy to recover from {signal}"), |s| {
        let throttle = &s["operation"]["live"]["throttle"];
        throttle["hold"].is_null()
            && s["waiting"].is_null()
            && s["chunks_copied"].as_i64().unwrap() > before
    })
    .await;
}

fn waits(status: &Value) -> &str {
    status["waiting"].as_str().unwrap()
}

/// The time, and the machine's pauses are counted from now on.
fn mark(control: &Control) -> f64 {
    control.take();
    now()
}

/// A changed source row whose target row is locked: the applier waits, the copy does
/// not need it.
async fn stall(world: &World) -> Client {
    let lock = world.open().await;
    lock.batch_execute("begin; select from t.orders where id = 1 for update")
        .await
        .unwrap();
    world
        .sql("update s.orders set status = status || '.' where id = 1")
        .await;
    lock
}

async fn write_log(world: &World, mebibytes: u32) {
    for _ in 0..mebibytes {
        world
            .sql("select pg_logical_emit_message(false, 'test', repeat('x', 1048576))")
            .await;
    }
}

async fn copying(rows: u32, options: Options) -> (World, super::support::Daemon) {
    let world = World::with(options).await;
    fill(&world, rows).await;
    world.config(
        &["split"],
        // A busy machine delays the test's own sessions: not the signal that is meant.
        "[copy]\nbatch_rows = 10\nworkers = 1\nsleep_ms = 50\n[throttle]\nmax_delay_ms = \"off\"",
    );
    let daemon = world.daemon(&[]);
    world
        .until(
            "the first chunks",
            "select exists(select from pg_tables where tablename = 'chunk_1')",
        )
        .await;
    world
        .until(
            "the first rows",
            "select exists(select from t.orders where id = 1)",
        )
        .await;
    (world, daemon)
}

#[tokio::test]
async fn operators_signals_hold_the_copy_with_a_reason_and_let_it_go() {
    let (world, mut daemon) = copying(30_000, Options::default()).await;
    let control = Control::start(&world).await;
    assert!(world.run(&["pause"]).status.success());
    let since = mark(&control);
    assert!(waits(&stands(&world, "paused", since, &control).await).contains("operator"));
    assert!(world.run(&["resume"]).status.success());
    recovers(&world, "paused").await;

    let outside = world
        .get(
            "select to_char(clock_timestamp() + interval '2 h', 'HH24:MI') || '-' ||
                     to_char(clock_timestamp() + interval '3 h', 'HH24:MI') || ' UTC'",
        )
        .await;
    watch::throttle(&world, &[&format!("window={outside}")]);
    let since = mark(&control);
    let status = stands(&world, "window", since, &control).await;
    assert!(waits(&status).contains(&outside), "{status:#}");
    assert_eq!(status["operation"]["settings"]["window"], outside.as_str());
    watch::throttle(&world, &["window=off"]);
    recovers(&world, "window").await;

    world.sql("create table s.brake (reason text)").await;
    watch::throttle(&world, &["query=select (select reason from s.brake)"]);
    world
        .sql("insert into s.brake values ('the nightly batch runs')")
        .await;
    let since = mark(&control);
    let status = stands(&world, "query", since, &control).await;
    assert!(
        waits(&status).contains("the nightly batch runs"),
        "{status:#}"
    );
    world.sql("delete from s.brake").await;
    recovers(&world, "query").await;
    watch::throttle(&world, &["query=select no_such_column"]);
    let since = mark(&control);
    let status = stands(&world, "query", since, &control).await;
    assert!(waits(&status).contains("42703"), "{status:#}");

    // All of it is given back at once, and a restart finds it so.
    watch::throttle(&world, &["--reset"]);
    recovers(&world, "query").await;
    watch::throttle(&world, &["sleep_ms=0"]);
    assert_eq!(daemon.stop().await, 0);
    let _daemon = world.daemon(&[]);
    world.settled().await;
    split::assert_equal(&world).await;
    assert_eq!(
        watch::status(&world)["operation"]["settings"]["sleep_ms"],
        "0"
    );
}

#[tokio::test]
async fn a_window_in_a_time_zone_that_the_server_does_not_know_is_not_set() {
    let world = World::new().await;
    fill(&world, 10).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let output = world.run(&["throttle", "workers=1", "window=22:00-06:00 Mars/Phobos"]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("Mars/Phobos") && err.contains("pg_timezone_names"),
        "{err}"
    );
    assert_eq!(
        world.get("select count(*) from crossfade.setting").await,
        "0"
    );
    watch::throttle(&world, &["window=00:00-24:00 Europe/Berlin"]);
    watch::throttle(&world, &["window=off"]);
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test]
async fn a_stalled_stream_holds_the_copy_by_seconds_bytes_and_retained_log() {
    let (world, _daemon) = copying(30_000, Options::default()).await;
    let control = Control::start(&world).await;
    watch::throttle(&world, &["max_lag_seconds=0.5"]);
    let lock = stall(&world).await;
    let since = mark(&control);
    let status = stands(&world, "lag", since, &control).await;
    assert!(waits(&status).contains("s behind"), "{status:#}");
    lock.batch_execute("rollback").await.unwrap();
    recovers(&world, "lag").await;

    watch::throttle(&world, &["max_lag_seconds=60", "max_lag_bytes=8MiB"]);
    let lock = stall(&world).await;
    write_log(&world, 10).await;
    let since = mark(&control);
    let status = stands(&world, "lag_bytes", since, &control).await;
    assert!(waits(&status).contains("are not applied"), "{status:#}");
    lock.batch_execute("rollback").await.unwrap();
    recovers(&world, "lag_bytes").await;

    watch::throttle(&world, &["max_lag_bytes=off"]);
    let lock = stall(&world).await;
    write_log(&world, 20).await;
    // Of what is retained once the stream stands: before, the server may let go of some.
    let status = watch::until(&world, "the log to be retained", |s| {
        s["retained_wal_bytes"].as_u64() > Some(20 << 20)
    })
    .await;
    let retained = status["retained_wal_bytes"].as_u64().unwrap();
    let limit = format!("max_retained_wal={}", retained - (1 << 20));
    let since = mark(&control);
    watch::throttle(&world, &[&limit]);
    let status = stands(&world, "retained_wal", since, &control).await;
    assert!(waits(&status).contains("retains"), "{status:#}");
    lock.batch_execute("rollback").await.unwrap();
    world.caught_up().await;
    // The server lets go of the log behind a record that it writes now and then.
    world.sql("checkpoint").await;
    recovers(&world, "retained_wal").await;
}

#[tokio::test]
async fn a_busy_database_and_a_slow_standby_hold_the_copy() {
    let durable = Options {
        durable: true,
        ..Options::default()
    };
    let (mut world, _daemon) = copying(30_000, durable).await;
    let control = Control::start(&world).await;
    watch::throttle(&world, &["max_active_sessions=3"]);
    let mut busy = Vec::new();
    for _ in 0..5 {
        let client = world.open().await;
        client
            .batch_execute("set application_name = 'shop'")
            .await
            .unwrap();
        busy.push(tokio::spawn(async move {
            let _ = client.batch_execute("select pg_sleep(600)").await;
        }));
    }
    world
        .until(
            "the sessions to be at work",
            "select count(*) = 5 from pg_stat_activity where application_name = 'shop' and state = 'active'",
        )
        .await;
    let since = mark(&control);
    stands(&world, "active_sessions", since, &control).await;
    // The hold may have begun when four of them were.
    watch::until(&world, "all of them to be counted", |s| {
        s["waiting"]
            .as_str()
            .is_some_and(|w| w.contains("5 sessions are at work"))
    })
    .await;
    world
        .sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'shop'")
        .await;
    recovers(&world, "active_sessions").await;

    watch::throttle(
        &world,
        &["max_active_sessions=off", "max_commit_latency_ms=20"],
    );
    told(&world, 2).await;
    world.server.set("commit_siblings", "0").unwrap();
    world.server.set("commit_delay", "100000").unwrap();
    let since = mark(&control);
    let status = stands(&world, "commit_latency", since, &control).await;
    assert!(waits(&status).contains("a COMMIT takes"), "{status:#}");
    world.server.set("commit_delay", "0").unwrap();
    recovers(&world, "commit_latency").await;

    watch::throttle(
        &world,
        &["max_commit_latency_ms=off", "max_replica_lag_seconds=0.7"],
    );
    let standby = Standby::start(&world).await;
    standby
        .client
        .execute("select pg_wal_replay_pause()", &[])
        .await
        .unwrap();
    world.sql("create table s.seen_by_the_standby ()").await;
    let since = mark(&control);
    let status = stands(&world, "replica_lag", since, &control).await;
    assert!(waits(&status).contains("standby1"), "{status:#}");
    standby
        .client
        .execute("select pg_wal_replay_resume()", &[])
        .await
        .unwrap();
    recovers(&world, "replica_lag").await;
}

/// Others are slowed by whatever the processors do: the copy yields to them, and only
/// where there are any. Nothing here is slow enough but for a limit that everything breaks.
#[tokio::test]
async fn the_copy_yields_to_others_that_wait_and_to_nobody_when_alone() {
    let (world, mut daemon) = copying(100_000, Options::default()).await;
    watch::throttle(&world, &["max_delay_ms=0.001", "sleep_ms=1"]);
    told(&world, 3).await;
    // A machine that stood still makes a hold of another signal, which passes.
    watch::until(&world, "nothing to hold the copy", |s| {
        let hold = &s["operation"]["live"]["throttle"]["hold"];
        assert_ne!(hold["signal"], "delay", "it yields to nobody: {s:#}");
        hold.is_null()
    })
    .await;
    let pauses = Pauses::start();
    let halt = Arc::new(AtomicBool::new(false));
    let shop = {
        let (client, halt) = (world.open().await, halt.clone());
        tokio::spawn(async move {
            client
                .batch_execute("set application_name = 'shop'")
                .await
                .unwrap();
            while !halt.load(Ordering::Relaxed) {
                client.batch_execute("select").await.unwrap();
            }
        })
    };
    world
        .until(
            "others to be there",
            "select exists(select from pg_stat_activity where application_name = 'shop')",
        )
        .await;
    let since = now();
    let status = watch::until(&world, "the copy to yield", |s| {
        let throttle = &s["operation"]["live"]["throttle"];
        throttle["hold"]["signal"] == "delay" && throttle["pace"] == 0.25
    })
    .await;
    let hold = &status["operation"]["live"]["throttle"]["hold"];
    assert_prompt(hold, since, pauses.take());
    assert!(waits(&status).contains("others wait"), "{status:#}");
    // It goes on all the same.
    let before = chunks(&world).await;
    watch::until(&world, "more chunks", |s| {
        s["chunks_copied"].as_i64().unwrap() > before + 5
    })
    .await;
    // In smaller steps, a quarter of ten rows, and in whole ones again afterwards.
    let small = "select exists(select from crossfade.chunk_1 where rows = 3)";
    world.until("smaller chunks", small).await;
    halt.store(true, Ordering::Relaxed);
    shop.await.unwrap();
    recovers(&world, "delay").await;
    let whole =
        "select rows = 10 from crossfade.chunk_1 where state = 'copied' order by id desc limit 1";
    world.until("whole chunks", whole).await;
    assert_eq!(daemon.stop().await, 0);
}

/// Copiers are connections of a production server: an operator takes one away, or adds
/// some at night, without a restart; those that are not wanted hold none.
#[tokio::test]
async fn copiers_come_and_go_while_the_copy_runs() {
    let (world, _daemon) = copying(20_000, Options::default()).await;
    let copiers = |wanted: &str| {
        format!(
            "select coalesce(string_agg(substr(application_name, 11), ',' order by application_name), '') = '{wanted}'
             from pg_stat_activity where application_name ~ '^crossfade copy [0-9]+$'"
        )
    };
    for (workers, wanted) in [
        ("workers=3", "copy 1,copy 2,copy 3"),
        ("workers=2", "copy 1,copy 2"),
        ("workers=4", "copy 1,copy 2,copy 3,copy 4"),
        ("workers=1", "copy 1"),
        ("workers=2", "copy 1,copy 2"),
    ] {
        watch::throttle(&world, &[workers]);
        world.until(workers, &copiers(wanted)).await;
        // Whoever is there works.
        let before = chunks(&world).await;
        world
            .until(
                "three more chunks",
                &format!(
                    "select count(*) >= {before} + 3 from crossfade.chunk_1 where state = 'copied'"
                ),
            )
            .await;
    }
    // One that rests for an hour takes up that it need not.
    watch::throttle(&world, &["sleep_ms=600000"]);
    told(&world, 2).await;
    watch::throttle(&world, &["sleep_ms=0"]);
    world.settled().await;
    split::assert_equal(&world).await;
    world.until("no copier", &copiers("")).await;
}
