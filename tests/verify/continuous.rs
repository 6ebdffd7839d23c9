//! The daemon's own verification.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossfade::verify;
use serde_json::Value;

use crate::world::{self, BOUND, World, execute};

const CERTIFIED: &str = "select exists(select from crossfade.certificate)";
/// Somebody holds the verification's lock.
const VERIFIES: &str = "select exists(select from crossfade.verification)
    and exists(select from pg_locks where locktype = 'advisory' and objsubid = 2 and granted
               and classid = 1667694592)";

/// The value of a metric, if it is served.
fn metric(port: u16, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Below the ports that the system gives to connections: one of those could be taken before
/// the daemon asks for it.
fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(15_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("no port is free")
}

/// Waits for a metric to say so: it is told now and then, not at once.
async fn says(port: u16, name: &str, value: f64) {
    let since = std::time::Instant::now();
    while metric(port, name) != Some(value) {
        assert!(
            since.elapsed() < BOUND,
            "{name} is {:?}",
            metric(port, name)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_verifies_by_itself_and_a_difference_is_told_and_does_not_end_it() {
    let port = free_port();
    let extra = format!("[metrics]\nlisten = '127.0.0.1:{port}'\n");
    let mut world = World::configured(300, &extra).await.streams().await;
    let client = world.client().await;
    world.until("a certificate", CERTIFIED).await;
    // It moves on with what changes, and the log is short again.
    execute(&client, "update prices set cents = '7' where k < 4").await;
    world.applied().await;
    world
        .until(
            "the changed keys to be verified",
            "select not exists(select from crossfade.changed_2 where k0 < 4)",
        )
        .await;
    assert_eq!(
        world.status()["verification"]["certificate"]["changed_keys"],
        0
    );
    assert!(metric(port, "crossfade_verify_rows_total").unwrap() >= 600.0);
    assert!(metric(port, "crossfade_verify_ranges_total").unwrap() >= 6.0);
    assert!(metric(port, "crossfade_verify_clean_age_seconds").unwrap() < 60.0);
    says(port, "crossfade_verify_changed_keys", 0.0).await;
    says(port, "crossfade_verify_differences", 0.0).await;
    // A full pass is due.
    execute(
        &client,
        "update new_prices set cents = 0 where k = 5;
         update crossfade.certificate set verified_at = verified_at - interval '25 h'",
    )
    .await;
    world
        .until(
            "the certificate to be removed",
            "select not exists(select from crossfade.certificate)",
        )
        .await;
    // Known with the certificate's end: that there is one. Which rows, when the pass ends.
    let status = world.status();
    assert_eq!(
        status["verification"]["last"]["outcome"], "different",
        "{status}"
    );
    world
        .until(
            "the difference to be named",
            "select differences = '{\"public.new_prices\": 1}' from crossfade.verified",
        )
        .await;
    says(port, "crossfade_verify_differences", 1.0).await;
    assert!(world.daemon.as_mut().unwrap().try_wait().unwrap().is_none());
    assert!(world.log().contains("public.new_prices"), "{}", world.log());
    // Mended and verified by an operator, it goes on from there.
    execute(&client, "update new_prices set cents = 5 where k = 5").await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    execute(&client, "update prices set cents = '9' where k = 9").await;
    world.applied().await;
    world
        .until(
            "the changed keys to be verified",
            "select not exists(select from crossfade.changed_2 where k0 = 9)",
        )
        .await;
}

/// While it waits for the throttle it is between ranges: no snapshot is open, and it
/// gives way to an operator, who goes on with the same pass.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_like_the_copy_holds_no_snapshot_meanwhile_and_gives_way() {
    let mut world = World::configured(300, "").await;
    let client = world.client().await;
    // No pass begins before the reason is known: one that was at its end by then would
    // wait for nothing. The first migration of a database has the number 1.
    execute(&client, "select pg_advisory_lock(1667694592, 1)").await;
    world.start();
    world
        .until(
            "phase streaming",
            "select phase = 'streaming' from crossfade.migration where id = 1",
        )
        .await;
    execute(&client, "update crossfade.migration set paused = true").await;
    world
        .until(
            "the reason to be known",
            "select throttled is not null from crossfade.daemon",
        )
        .await;
    execute(&client, "select pg_advisory_unlock_all()").await;
    world.until("a pass", VERIFIES).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let quiet = "select not exists(select from pg_stat_activity
        where application_name like 'crossfade verify%' and (backend_xmin is not null or xact_start is not null))";
    world.until("no snapshot to be open", quiet).await;
    let holder: i32 = client
        .query_one("select pid from pg_locks where locktype = 'advisory' and granted and classid = 1667694592", &[])
        .await
        .unwrap()
        .get(0);
    let operator = world.spawn(&["verify"], &[]);
    world
        .until(
            "the operator to have the lock",
            &format!("select exists(select from pg_locks where locktype = 'advisory' and granted and classid = 1667694592 and pid <> {holder})"),
        )
        .await;
    // It waits for the same reason.
    assert!(world.status()["verification"]["pass"].is_object());
    execute(&client, "update crossfade.migration set paused = false").await;
    let done = operator.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["sources"][0]["rows"], 300);
    assert!(report["resumed"].is_object(), "{report}");
}

/// An application may be slow for reasons of its own, for good: what waits there slows a
/// verification as it slows the copy, and stops neither.
#[tokio::test(flavor = "multi_thread")]
async fn others_that_never_stop_waiting_slow_a_verification_and_do_not_stop_it() {
    let throttle = "[verify]\ncontinuous = false\n[throttle]\nmax_delay_ms = 0.001\n";
    let world = World::configured(300, throttle).await.streams().await;
    let halt = Arc::new(AtomicBool::new(false));
    let shop = {
        let (client, halt) = (world.client().await, halt.clone());
        tokio::spawn(async move {
            execute(&client, "set application_name = 'shop'").await;
            while !halt.load(Ordering::Relaxed) {
                execute(&client, "select").await;
            }
        })
    };
    world
        .until(
            "the delay to be told",
            "select live #>> '{throttle,verification,hold,signal}' = 'delay' from crossfade.daemon",
        )
        .await;
    let (sender, mut progress) = tokio::sync::watch::channel(verify::Progress::default());
    // At any time: what is measured comes and goes.
    let slowed = tokio::spawn(async move {
        let for_others = |p: &verify::Progress| {
            let waiting = p.waiting.as_ref();
            waiting.is_some_and(|w| w.reason.contains("others wait"))
        };
        let slowed = progress.wait_for(for_others).await;
        slowed.expect("it was slowed").waiting.clone().unwrap()
    });
    let (info, subject, options) = (world.info(), world.subject().await, world::options());
    let pass = verify::verify_all(&info, &subject, &options, &sender);
    let report = tokio::time::timeout(BOUND, pass)
        .await
        .expect("the verification never ends")
        .unwrap();
    assert_eq!(report.outcome(), verify::Outcome::Identical);
    drop(sender);
    let waiting = slowed.await.unwrap();
    assert!(waiting.share >= 0.25, "{waiting:?}");
    halt.store(true, Ordering::Relaxed);
    shop.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_gets_the_lock_from_the_daemons_verification() {
    let world = World::configured(300, "[switch]\nstrategy = 'rename'\n")
        .await
        .streams()
        .await;
    world.until("a certificate", CERTIFIED).await;
    let done = world
        .spawn(&["switch", "--rehearse"], &[])
        .wait_with_output()
        .unwrap();
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["outcome"], "rehearsed", "{report}");
}
