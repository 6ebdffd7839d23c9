//! The switch and the end of the world: whatever dies at whatever step, the database
//! is wholly old or wholly new, a further run finishes or says so, nothing is lost.
#![cfg(feature = "failpoints")]

mod support;
mod switching;
mod workload;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::state::switchover::Step;
use serde_json::Value;
use support::pauses::{Control, Pauses};
use support::{Daemon, Point, World, json, until};
use switching::proxy::{Cut, Proxy};
use switching::{
    PATIENT, SLACK, assert_switched, assert_switches, assert_waits, crossfade, fingerprint,
    patient, stall, streaming, streaming_with, switch, writes,
};
use workload::ledger;

/// For tests that stand at a point under the lock: they may take their time there.
const STANDING: &str = "[switch]\nmax_stall_ms = 30000";

/// Starts `switch` and waits for it to stand at the point.
async fn standing_at(world: &World, point: &Point) -> Child {
    let child = world
        .command(&["--output", "json", "switch", "--unverified"])
        .env("CROSSFADE_FAILPOINTS", point.spec())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    point.reached().await;
    child
}

/// The newest run, as `status` shows it.
async fn last(world: &World) -> Value {
    json(&crossfade(world, &["status"], &[]).await)["switch"].clone()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    Command::new("kill").args([name, &pid]).status().unwrap();
}

async fn ends(mut child: Child) -> std::process::Output {
    until("the switch to end", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_killed_at_any_step_leaves_one_world_and_the_next_run_completes() {
    let (world, mut daemon, writers) = streaming(STANDING).await;
    let before = fingerprint(&world).await;
    for step in Step::ALL {
        let point = Point::new(&world, step.failpoint());
        let mut child = standing_at(&world, &point).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let stood = last(&world).await;
        assert_eq!(stood["step"], step.name());
        if step == Step::Ended {
            assert_eq!(stood["outcome"], "switched");
            assert_ne!(fingerprint(&world).await, before);
        } else {
            assert_eq!(stood["outcome"], Value::Null, "{step:?}");
            assert_eq!(fingerprint(&world).await, before, "{step:?}");
            assert_eq!(writers.in_new_form(), 0);
            writes(&writers, 20).await;
        }
    }
    let output = switch(&world, &[], &[]).await;
    assert_eq!(json(&output)["attempts"], 0, "it was switched already");
    let left = world
        .get("select count(*) from crossfade.switchover where outcome is null")
        .await;
    assert_eq!(left, "0", "every run that died has been given its outcome");
    assert_switched(&world, &mut daemon, writers, &output).await;
}

/// Runs `switch` through a proxy that cuts at COMMIT.
async fn through(world: &World, proxy: &Proxy) -> std::process::Output {
    let url = proxy.url(&world.server.url("postgres"), world.server.port());
    let output = switch(world, &[], &[("CROSSFADE_SOURCE_URL", &url)]).await;
    assert_eq!(proxy.cuts(), 1, "{}", json(&output));
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_answer_to_commit_is_lost_the_switch_finds_out_that_it_happened() {
    let (world, mut daemon, writers) = streaming_with(patient().await, PATIENT).await;
    let proxy = Proxy::start(world.server.port(), Cut::Answered).await;
    let output = through(&world, &proxy).await;
    assert_eq!(json(&output)["attempts"], 1);
    assert_switched(&world, &mut daemon, writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_commit_never_arrives_nothing_has_changed_and_another_attempt_is_made() {
    let limits = |attempts: u32| format!("{PATIENT}\nattempts = {attempts}");
    let (world, mut daemon, writers) = streaming_with(patient().await, &limits(1)).await;
    let before = fingerprint(&world).await;
    let proxy = Proxy::start(world.server.port(), Cut::Before).await;
    let output = through(&world, &proxy).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "not_switched");
    assert_eq!(output.status.code(), Some(1));
    let why = report["reason"].as_str().unwrap();
    assert!(why.contains("before COMMIT"), "{why}");
    assert_eq!(fingerprint(&world).await, before);
    writes(&writers, 20).await;
    let proxy = Proxy::start(world.server.port(), Cut::Before).await;
    world.config(&["ledger"], &limits(5));
    let output = through(&world, &proxy).await;
    assert_eq!(json(&output)["attempts"], 2);
    assert_switched(&world, &mut daemon, writers, &output).await;
}

/// A quiet migration whose server waits for a standby that will never come. (Writers
/// would wait for it too.)
async fn without_its_standby() -> (World, Daemon) {
    let mut world = World::new().await;
    ledger::install(&world, "").await;
    let daemon = world.daemon(&[]);
    world.settled().await;
    world
        .sql("alter role postgres set synchronous_commit = on; alter database postgres set synchronous_commit = on")
        .await;
    standby(&mut world, "nobody").await;
    commits_wait(&world).await;
    (world, daemon)
}

/// A setting is told before it holds: it is another process of the server that has those
/// who commit wait.
async fn commits_wait(world: &World) {
    until("commits to wait for the standby", async || {
        let client = world.open().await;
        let pid: i32 = client
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let commit = tokio::spawn(async move {
            let sql = "select pg_logical_emit_message(true, 'crossfade', 'test')";
            client.batch_execute(sql).await
        });
        let waiting = format!(
            "select count(*) from pg_stat_activity where pid = {pid} and wait_event = 'SyncRep'"
        );
        let mut waits = false;
        until("the commit to end or to wait", async || {
            waits = world.get(&waiting).await == "1";
            waits || commit.is_finished()
        })
        .await;
        if waits {
            // It has committed, and is told that it waits no longer.
            world.sql(&format!("select pg_cancel_backend({pid})")).await;
        }
        commit.await.unwrap().unwrap();
        waits
    })
    .await;
}

async fn standby(world: &mut World, name: &str) {
    world.server.set("synchronous_standby_names", name).unwrap();
    let sql = format!("select current_setting('synchronous_standby_names') = '{name}'");
    world.until("the setting", &sql).await;
}

/// Waiting for a standby, COMMIT would hold the lock for as long as the standby is
/// away. No role's or database's setting makes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_hangs_does_not_keep_the_lock() {
    let (mut world, mut daemon) = without_its_standby().await;
    let pauses = Pauses::start();
    let output = switch(&world, &[], &[]).await;
    let machine = pauses.take();
    let report = json(&output);
    assert_eq!(report["outcome"], "switched", "{report}");
    assert!(
        stall(&report) < Duration::from_millis(800) + SLACK + machine,
        "{report}, {machine:?}"
    );
    standby(&mut world, "").await;
    assert_eq!(daemon.exit().await, 0);
}

/// With that protection taken out: the COMMIT is in the log and not visible, its client
/// is gone. Neither "switched" nor "not switched" would be true yet.
#[tokio::test(flavor = "multi_thread")]
async fn while_commit_waits_for_a_standby_no_outcome_is_claimed() {
    let (mut world, mut daemon) = without_its_standby().await;
    let proxy = Proxy::start(world.server.port(), Cut::Sent).await;
    let url = proxy.url(&world.server.url("postgres"), world.server.port());
    let mut child = world
        .command(&["--output", "json", "switch", "--unverified"])
        .env("CROSSFADE_SOURCE_URL", &url)
        .env("CROSSFADE_OMIT", "switch_local_commit")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("COMMIT to wait", async || {
        world
            .get("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'crossfade switch'")
            .await
            == "1"
    })
    .await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        assert!(child.try_wait().unwrap().is_none(), "it cannot know yet");
        assert_eq!(
            world.get("select phase from crossfade.migration").await,
            "streaming"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let locked = world
        .client
        .batch_execute("set lock_timeout = 100; select from s.orders limit 1")
        .await;
    assert!(
        locked.is_err(),
        "the lock is still there, as it must not be"
    );
    standby(&mut world, "").await;
    let output = ends(child).await;
    assert_eq!(json(&output)["outcome"], "switched", "{}", json(&output));
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(daemon.exit().await, 0);
}

/// Takes as long as the switch asks for the outcome before it gives up, twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cannot_be_learned_is_exit_code_3_until_a_run_learns_it() {
    let (mut world, mut daemon) = without_its_standby().await;
    let told = world.dir.join("told");
    let after = format!("echo $CROSSFADE_OUTCOME >> '{}'", told.display());
    world.config(&["ledger"], &format!("[hooks]\nafter_switch = \"{after}\""));
    let proxy = Proxy::start(world.server.port(), Cut::Sent).await;
    let url = proxy.url(&world.server.url("postgres"), world.server.port());
    let environment = [
        ("CROSSFADE_SOURCE_URL", url.as_str()),
        ("CROSSFADE_OMIT", "switch_local_commit"),
    ];
    for _ in 0..2 {
        let output = switch(&world, &[], &environment).await;
        assert_eq!(json(&output)["outcome"], "unknown", "{}", json(&output));
        assert_eq!(output.status.code(), Some(3));
        // The hook was told, and will be told again when it is known.
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "unknown\n");
        let shown = last(&world).await;
        assert_eq!(shown["outcome"], "unknown");
        assert_eq!(shown["after_switch_pending"], true);
    }
    standby(&mut world, "").await;
    let output = switch(&world, &[], &[]).await;
    assert_eq!(json(&output)["outcome"], "switched", "{}", json(&output));
    assert_eq!(json(&output)["attempts"], 0);
    assert_eq!(
        std::fs::read_to_string(&told).unwrap(),
        "unknown\nswitched\n"
    );
    assert_eq!(last(&world).await["outcome"], "switched");
    assert_eq!(daemon.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_switches_at_once_one_switches_and_the_other_says_that_it_is_done() {
    let (world, mut daemon, writers) = streaming("").await;
    let (a, b) = tokio::join!(switch(&world, &[], &[]), switch(&world, &[], &[]));
    let attempts: Vec<u64> = [&a, &b]
        .iter()
        .map(|o| json(o)["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(
        attempts.iter().filter(|a| **a > 0).count(),
        1,
        "{attempts:?}"
    );
    assert_eq!(json(&b)["outcome"], "switched");
    assert_switched(&world, &mut daemon, writers, &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_comes_to_a_switch_under_lock_comes_too_late() {
    let (world, mut daemon, writers) = streaming(STANDING).await;
    let point = Point::new(&world, Step::Locked.failpoint());
    let child = standing_at(&world, &point).await;
    let (abort, ()) = tokio::join!(crossfade(&world, &["abort"], &[]), async {
        world
            .until(
                "abort to wait for the switch",
                "select exists(select from pg_stat_activity where application_name = 'crossfade finish' and wait_event_type = 'Lock')",
            )
            .await;
        point.release();
    });
    let output = ends(child).await;
    assert_eq!(abort.status.code(), Some(2));
    assert_switched(&world, &mut daemon, writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_comes_after_an_abort_changes_nothing() {
    let (world, mut daemon, writers) = streaming(STANDING).await;
    let point = Point::new(&world, Step::LockAsked.failpoint());
    let child = standing_at(&world, &point).await;
    let abort = crossfade(&world, &["abort"], &[]).await;
    assert_eq!(abort.status.code(), Some(0));
    point.release();
    let output = ends(child).await;
    assert_eq!(json(&output)["outcome"], "not_switched");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(daemon.exit().await, 0);
    writes(&writers, 20).await;
    assert_eq!(writers.in_new_form(), 0);
    assert_eq!(
        world
            .get(
                "select to_regclass('s.orders') is not null and to_regclass('s.orders_old') is null"
            )
            .await,
        "true"
    );
}

/// Nothing of this process can give the lock back: the server must.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_frozen_under_lock_stops_writers_for_a_bounded_time_and_goes_on_later() {
    let (world, mut daemon, writers) = streaming("[switch]\nmax_stall_ms = 500").await;
    let point = Point::new(&world, Step::Locked.failpoint());
    let child = standing_at(&world, &point).await;
    signal(&child, "-STOP");
    let control = Control::start(&world).await;
    writers.longest();
    writes(&writers, 20).await;
    let longest = writers.longest();
    println!("longest transactions beside a frozen switch: {longest:?}");
    let limit = Duration::from_millis(300 + 500 + 1000);
    assert_waits(longest, limit, control.take());
    assert_eq!(writers.in_new_form(), 0);
    signal(&child, "-CONT");
    point.release();
    let output = ends(child).await;
    assert_switched(&world, &mut daemon, writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_is_shown_by_status_with_its_reason_until_the_next() {
    let (world, mut daemon, writers) = streaming("").await;
    assert_eq!(last(&world).await, Value::Null);
    let refused = crossfade(&world, &["switch"], &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    let shown = last(&world).await;
    assert_eq!(shown["outcome"], "not_switched");
    assert_eq!(shown["direction"], "forward");
    assert!(shown["reason"].as_str().unwrap().contains("certificate"));
    // A rehearsal is no attempt.
    switch(&world, &["--rehearse"], &[]).await;
    assert_eq!(last(&world).await["started_at"], shown["started_at"]);
    let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(text.contains("switch      forward at "), "{text}");
    assert_switches(&world, &mut daemon, writers).await;
    let shown = last(&world).await;
    assert_eq!(shown["outcome"], "switched");
    assert!(shown["write_stall_ms"].as_f64().unwrap() > 0.0);
}
