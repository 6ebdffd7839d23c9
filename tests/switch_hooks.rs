//! Hooks around the switch: told the truth, run in pairs, at least once, never in a
//! rehearsal.

mod support;
mod switching;
mod workload;

use std::path::PathBuf;

use serde_json::Value;
use support::{Daemon, World, json};
use switching::{assert_switched, crossfade, fingerprint, streaming, switch};
use workload::ledger::Ledger;

/// Appends what it was told to a file.
const TELL: &str = "echo \"$CROSSFADE_HOOK $CROSSFADE_NAME $CROSSFADE_DIRECTION $CROSSFADE_PHASE ${CROSSFADE_OUTCOME-none} ${PGPASSWORD-nothing}${CROSSFADE_SOURCE_URL-nothing}\" >> told";

struct Hooks {
    world: World,
    daemon: Daemon,
    writers: Ledger,
    told: PathBuf,
}

impl Hooks {
    async fn new() -> Self {
        let (world, daemon, writers) = streaming("").await;
        let told = world.dir.join("told");
        let hooks = Self {
            world,
            daemon,
            writers,
            told,
        };
        hooks.set(TELL, TELL, "");
        hooks
    }

    fn set(&self, before: &str, after: &str, extra: &str) {
        // Far longer than a shell takes, however busy the machine.
        self.set_within(60, before, after, extra);
    }

    fn set_within(&self, seconds: u32, before: &str, after: &str, extra: &str) {
        let file = self.told.display().to_string();
        let command = |text: &str| text.replace(">> told", &format!(">> '{file}'"));
        self.world.config(
            &["ledger"],
            &format!(
                "{extra}\n[hooks]\ntimeout_seconds = {seconds}\nbefore_switch = '''{}'''\nafter_switch = '''{}'''",
                command(before),
                command(after)
            ),
        );
    }

    /// What was told since the last time.
    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.told).unwrap_or_default();
        let _ = std::fs::remove_file(&self.told);
        text.lines().map(str::to_owned).collect()
    }

    async fn switch(&self, arguments: &[&str]) -> std::process::Output {
        // A password in crossfade's environment is not for hooks.
        let url = self.world.server.url("postgres");
        let environment = [("PGPASSWORD", "hunter2"), ("CROSSFADE_SOURCE_URL", &url)];
        switch(&self.world, arguments, &environment).await
    }
}

const BEFORE: &str = "before_switch test forward streaming none nothingnothing";
const NOT: &str = "after_switch test forward streaming not_switched nothingnothing";
const DONE: &str = "after_switch test forward switched switched nothingnothing";

async fn pending(world: &World) -> Value {
    json(&crossfade(world, &["status"], &[]).await)["switch"]["after_switch_pending"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_around_a_switch_and_not_in_rehearsals_nor_when_a_gate_refuses() {
    let mut hooks = Hooks::new().await;
    hooks.switch(&["--rehearse"]).await;
    assert_eq!(hooks.told(), [""; 0]);
    let refused = crossfade(&hooks.world, &["switch"], &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(hooks.told(), [""; 0]);
    hooks.set(
        &format!("{TELL}; echo hello from a hook; echo and from here >&2"),
        &format!("{TELL}; test \"$CROSSFADE_STALL_MS\" != 0.0"),
        "",
    );
    let output = hooks.switch(&[]).await;
    assert_eq!(hooks.told(), [BEFORE, DONE]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("hello from a hook"), "{log}");
    assert!(log.contains("and from here"), "{log}");
    assert_eq!(json(&output)["notes"], Value::Array(Vec::new()));
    assert_switched(&hooks.world, &mut hooks.daemon, hooks.writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_or_hangs_before_the_switch_stops_it_and_the_other_still_runs() {
    let mut hooks = Hooks::new().await;
    let before = fingerprint(&hooks.world).await;
    // The second is to hang, and to have told before it is killed: long enough for that.
    for (command, seconds, word) in [
        ("exit 7", 60, "exit status: 7"),
        ("sleep 300", 15, "within 15 s"),
    ] {
        hooks.set_within(seconds, &format!("{TELL}; {command}"), TELL, "");
        let output = hooks.switch(&[]).await;
        let report = json(&output);
        assert_eq!(output.status.code(), Some(1), "{report}");
        assert!(
            report["reason"].as_str().unwrap().contains(word),
            "{report}"
        );
        assert_eq!(hooks.told(), [BEFORE, NOT]);
        assert_eq!(fingerprint(&hooks.world).await, before);
    }
    hooks.set("", "", "");
    let output = hooks.switch(&[]).await;
    assert_switched(&hooks.world, &mut hooks.daemon, hooks.writers, &output).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_gets_no_lock_ends_with_its_hook() {
    let hooks = Hooks::new().await;
    hooks.set(TELL, TELL, "[switch]\nattempts = 1");
    let reader = hooks.world.open().await;
    reader
        .batch_execute("begin; select from s.orders limit 1")
        .await
        .unwrap();
    assert_eq!(hooks.switch(&[]).await.status.code(), Some(1));
    assert_eq!(hooks.told(), [BEFORE, NOT]);
    assert_eq!(pending(&hooks.world).await, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_after_the_switch_is_a_note_and_runs_again_with_the_next_run() {
    let mut hooks = Hooks::new().await;
    hooks.set(TELL, &format!("{TELL}; exit 1"), "");
    let output = hooks.switch(&[]).await;
    let note = json(&output)["notes"][0].as_str().unwrap().to_owned();
    assert!(note.contains("after_switch failed"), "{note}");
    assert_eq!(hooks.told(), [BEFORE, DONE]);
    assert_eq!(pending(&hooks.world).await, true);
    hooks.set(TELL, TELL, "");
    assert_eq!(hooks.switch(&[]).await.status.code(), Some(0));
    assert_eq!(hooks.told(), [DONE]);
    assert_eq!(pending(&hooks.world).await, false);
    hooks.switch(&[]).await;
    assert_eq!(hooks.told(), [""; 0], "what is done is done");
    assert_switched(&hooks.world, &mut hooks.daemon, hooks.writers, &output).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_switch_owes_the_next_run_pays_first() {
    use crossfade::state::switchover::Step;

    let mut hooks = Hooks::new().await;
    let steps = [
        (Step::PreDrain, vec![BEFORE]),
        (Step::Committing, vec![NOT, BEFORE]),
        (Step::Ended, vec![NOT, BEFORE]),
    ];
    for (step, told) in steps {
        let point = support::Point::new(&hooks.world, step.failpoint());
        let mut child = hooks
            .world
            .command(&["switch", "--unverified"])
            .env("CROSSFADE_FAILPOINTS", point.spec())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        point.reached().await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(hooks.told(), told, "{step:?}");
        assert_eq!(pending(&hooks.world).await, true);
    }
    let output = hooks.switch(&[]).await;
    assert_eq!(hooks.told(), [DONE]);
    assert_eq!(json(&output)["attempts"], 0, "it was switched already");
    assert_switched(&hooks.world, &mut hooks.daemon, hooks.writers, &output).await;
}
