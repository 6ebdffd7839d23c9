//! What the tests of the switch share.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod proxy;

use std::process::Output;
use std::time::Duration;

use crossfade::server::Options;
use serde_json::Value;

use crate::support::{Daemon, World, json, until};
use crate::workload::ledger::{self, Ledger, Longest};

/// What the machine may add to a wait that crossfade bounds, besides what was measured of
/// it meanwhile: to all processes alike by being busy, and to one of them by stopping it.
const BUSY: Duration = Duration::from_millis(700);
pub const SLACK: Duration = Duration::from_secs(5);

/// Writers waited for `limit` at most, which crossfade promises. `machine` is what was
/// measured of it over the same time.
#[track_caller]
pub fn assert_waits(longest: Longest, limit: Duration, machine: Duration) {
    let said = format!("{longest:?}, {machine:?} of it the machine's at most");
    // A lock keeps all of them waiting alike.
    assert!(longest.every < limit + BUSY + machine, "{said}");
    assert!(longest.any < limit + SLACK + machine, "{said}");
}

/// No failure of the machine's: an attempt whose server or daemon it has stopped for a
/// while is no attempt more, and a test may stand under the lock. For what does not ask
/// for these limits; the server must not look for deadlocks before ([`patient`]).
pub const PATIENT: &str = "[switch]\nlock_timeout_ms = 20000\nmax_stall_ms = 30000";

/// A server whose look for deadlocks is later than any `lock_timeout_ms` of the tests.
pub async fn patient() -> World {
    World::with(Options::default().setting("deadlock_timeout", "30s")).await
}

/// A migration that streams, with writers at work.
pub async fn streaming(extra: &str) -> (World, Daemon, Ledger) {
    streaming_with(World::new().await, extra).await
}

pub async fn streaming_with(world: World, extra: &str) -> (World, Daemon, Ledger) {
    ledger::install(&world, extra).await;
    let daemon = world.daemon(&[]);
    let writers = Ledger::start(&world, 4);
    world
        .until(
            "the copy to be complete",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    writes(&writers, 100).await;
    (world, daemon, writers)
}

/// Waits for so many more writes.
pub async fn writes(ledger: &Ledger, count: u64) {
    let before = ledger.written();
    until("writes", async || ledger.written() >= before + count).await;
}

/// Runs `switch --unverified` off the runtime's threads, so that the writers go on.
pub async fn switch(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let arguments = [&["switch", "--unverified"], arguments].concat();
    crossfade(world, &arguments, environment).await
}

pub async fn crossfade(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = world.command(&["--output", "json"]);
    command.args(arguments).envs(environment.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn stall(report: &Value) -> Duration {
    Duration::from_secs_f64(report["write_stall_ms"].as_f64().unwrap() / 1000.0)
}

/// Everything that a switch changes and a rollback takes back, as one text.
pub async fn fingerprint(world: &World) -> String {
    world
        .get(
            "select concat_ws(' ',
                 (select string_agg(format('%s.%s', relnamespace::regnamespace, relname), ' ' order by relnamespace, relname)
                  from pg_class where relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
                    and relpersistence <> 't'),
                 (select string_agg(format('%s on %s', tgname, tgrelid::regclass), ' ' order by tgrelid, tgname)
                  from pg_trigger where not tgisinternal),
                 (select phase from crossfade.migration))",
        )
        .await
}

/// The last word of a test: the switch works, and the ledger is kept.
pub async fn assert_switches(world: &World, daemon: &mut Daemon, writers: Ledger) {
    let output = switch(world, &[], &[]).await;
    assert_switched(world, daemon, writers, &output).await;
}

pub async fn assert_switched(world: &World, daemon: &mut Daemon, writers: Ledger, output: &Output) {
    let report = json(output);
    assert_eq!(report["outcome"], "switched", "{report}");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.exit().await, 0);
    until("writes in the new form", async || {
        writers.in_new_form() > 200
    })
    .await;
    let written = writers.written();
    let longest = writers.assert_kept(world).await;
    println!(
        "write stall {:.1} ms by the report, {:.1} ms the longest transaction; {written} transactions",
        stall(&report).as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3
    );
}
