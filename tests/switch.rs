//! `switch` under write load: nothing acknowledged is lost or doubled, whatever dies,
//! and a switch that does not happen changes nothing.

mod support;
mod switching;
mod workload;

use std::time::Duration;

use support::pauses::Control;
use support::{Daemon, json};
use switching::{
    assert_switched, assert_switches, assert_waits, crossfade, fingerprint, stall, streaming,
    switch, writes,
};

#[tokio::test(flavor = "multi_thread")]
async fn writers_lose_and_double_nothing_over_a_switch_and_wait_for_a_moment_only() {
    let (world, mut daemon, writers) = streaming("").await;
    assert_switches(&world, &mut daemon, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_what_changed_since_is_verified_in_the_switch_itself() {
    let (world, mut daemon, writers) = streaming("").await;
    let refused = crossfade(&world, &["switch"], &[]).await;
    assert_eq!(json(&refused)["outcome"], "not_switched");
    let verified = crossfade(&world, &["verify"], &[]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", json(&verified));
    writes(&writers, 100).await;
    let output = crossfade(&world, &["switch"], &[]).await;
    assert_switched(&world, &mut daemon, writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_changes_nothing_and_says_how_long_writers_would_have_waited() {
    let (world, mut daemon, writers) = streaming("").await;
    let before = fingerprint(&world).await;
    for _ in 0..3 {
        let output = switch(&world, &["--rehearse"], &[]).await;
        let report = json(&output);
        assert_eq!(report["outcome"], "rehearsed", "{report}");
        assert_eq!(output.status.code(), Some(0));
        assert!(stall(&report) > Duration::ZERO);
        // `setval` survives a rollback, so a rehearsal leaves sequences alone.
        assert_eq!(
            world.get("select last_value from t.orders_id_seq").await,
            "1"
        );
        assert_eq!(fingerprint(&world).await, before);
        writes(&writers, 20).await;
    }
    assert_eq!(writers.in_new_form(), 0);
    assert_switches(&world, &mut daemon, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_holds_the_table_stops_the_switch_and_not_the_writers() {
    let (world, mut daemon, writers) =
        streaming("[switch]\nattempts = 6\nlock_timeout_ms = 200").await;
    let before = fingerprint(&world).await;
    let control = Control::start(&world).await;
    writers.longest();
    control.take();
    let holder = world.open().await;
    holder
        .batch_execute("begin; select from s.orders limit 1")
        .await
        .unwrap();
    let output = switch(&world, &[], &[]).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "not_switched", "{report}");
    assert_eq!(report["attempts"], 6);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fingerprint(&world).await, before);
    // Whoever still waits for the last attempt's lock is counted too.
    writes(&writers, 20).await;
    holder.batch_execute("commit").await.unwrap();
    let stalled = writers.longest();
    println!("longest transactions beside a switch that cannot get its lock: {stalled:?}");
    assert_waits(stalled, Duration::from_millis(200), control.take());
    assert_switches(&world, &mut daemon, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_nothing_is_switched() {
    let (world, mut daemon, writers) = streaming("").await;
    let before = fingerprint(&world).await;
    daemon.kill();
    let gone = "select not exists(select from pg_stat_activity where application_name = 'crossfade daemon')";
    world.until("its session to be gone", gone).await;
    let output = switch(&world, &[], &[]).await;
    assert_eq!(json(&output)["outcome"], "not_switched");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fingerprint(&world).await, before);
    let mut daemon = world.daemon(&[]);
    world
        .until("the daemon to own the migration", &owned_by(&daemon))
        .await;
    assert_switches(&world, &mut daemon, writers).await;
}

/// It may be starting over, after an error or a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_there_a_moment_ago_is_waited_for() {
    let (world, mut daemon, writers) = streaming("").await;
    daemon.kill();
    let gone = "select not exists(select from pg_stat_activity where application_name = 'crossfade daemon')";
    world.until("its session to be gone", gone).await;
    let (output, mut daemon) = tokio::join!(switch(&world, &[], &[]), async {
        // Asks when it was last seen, which it does only where there is none.
        let looks = "select exists(select from pg_stat_activity where application_name = 'crossfade switch control'
            and query like '%seen_at > clock_timestamp()%')";
        world.until("the switch to miss it", looks).await;
        world.daemon(&[])
    });
    assert_switched(&world, &mut daemon, writers, &output).await;
}

fn owned_by(daemon: &Daemon) -> String {
    format!(
        "select exists(select from crossfade.daemon where pid = {})
            and exists(select from pg_replication_slots where active)",
        daemon.pid()
    )
}

#[cfg(feature = "failpoints")]
mod at_a_point {
    use super::*;
    use support::Point;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_switch_killed_before_its_commit_changes_nothing_and_the_next_one_succeeds() {
        let (world, mut daemon, writers) = streaming("").await;
        let before = fingerprint(&world).await;
        for name in ["switch.locked", "switch.committing"] {
            let point = Point::new(&world, name);
            let mut child = world
                .command(&["switch", "--unverified"])
                .env("CROSSFADE_FAILPOINTS", point.spec())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            point.reached().await;
            child.kill().unwrap();
            child.wait().unwrap();
            writes(&writers, 20).await;
            assert_eq!(fingerprint(&world).await, before, "{name}");
        }
        assert_eq!(writers.in_new_form(), 0);
        assert_switches(&world, &mut daemon, writers).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_killed_during_the_switch_leaves_everything_as_it_was() {
        let (world, mut daemon, writers) = streaming("").await;
        let before = fingerprint(&world).await;
        let point = Point::new(&world, "switch.locked");
        let spec = point.spec();
        let environment = [("CROSSFADE_FAILPOINTS", spec.as_str())];
        let (output, ()) = tokio::join!(switch(&world, &[], &environment), async {
            point.reached().await;
            daemon.kill();
            point.release();
        });
        let report = json(&output);
        assert_eq!(report["outcome"], "not_switched", "{report}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(fingerprint(&world).await, before);
        let mut daemon = world.daemon(&[]);
        world
            .until("the daemon to own the migration", &owned_by(&daemon))
            .await;
        assert_switches(&world, &mut daemon, writers).await;
    }

    /// The other side of the point of no return.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_switch_after_the_first_says_that_it_is_done() {
        let (world, mut daemon, writers) = streaming("").await;
        assert_switches(&world, &mut daemon, writers).await;
        let output = switch(&world, &[], &[]).await;
        assert_eq!(json(&output)["outcome"], "switched");
        assert_eq!(output.status.code(), Some(0));
    }
}
