//! Commands of the user's around the switch, run by `sh -c`: take the application's
//! pool off the database before, put it back after.
//!
//! They run in a process group of their own, without a terminal's input and without
//! the passwords that crossfade itself may have been given in its environment. What
//! they print goes to the log.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Hooks;

/// What of one stream of a hook's output reaches the log, in bytes.
const LOGGED: u64 = 64 << 10;

/// How long more output is waited for after the hook's shell has ended: a process that it
/// left in the background may hold the pipe for ever.
const REST: Duration = Duration::from_millis(500);

/// The same in all, where such a process goes on printing.
const LAST: Duration = Duration::from_secs(10);

/// Variables by which crossfade itself may have been given a password.
const SECRETS: &[&str] = &["PGPASSWORD", "CROSSFADE_SOURCE_URL", "CROSSFADE_TARGET_URL"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Before,
    After,
}

impl Hook {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before_switch",
            Self::After => "after_switch",
        }
    }

    fn command(self, hooks: &Hooks) -> Option<&str> {
        match self {
            Self::Before => hooks.before_switch.as_deref(),
            Self::After => hooks.after_switch.as_deref(),
        }
    }
}

/// What a hook is told, as `CROSSFADE_…` in its environment.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The migration.
    pub name: String,
    /// `forward` or `back`.
    pub direction: &'static str,
    /// The migration's phase as the hook is started.
    pub phase: String,
    /// After the switch: `switched`, `not_switched` or `unknown`.
    pub outcome: Option<String>,
    /// After the switch: for how long writers waited at most, in milliseconds.
    pub stall_ms: Option<f64>,
}

/// Runs a hook, if there is one.
///
/// # Errors
/// Why it counts as failed, in words: it could not be started, ended with another
/// exit code than 0, by a signal, or not in time (then its process group is killed).
pub async fn run(hooks: &Hooks, hook: Hook, told: &Told) -> Result<(), String> {
    let Some(command) = hook.command(hooks) else {
        return Ok(());
    };
    let name = hook.name();
    tracing::info!(hook = name, "started");
    let mut child =
        start(command, hook, told).map_err(|e| format!("hook {name} cannot be started: {e}"))?;
    let (over, until) = watch::channel(false);
    let mut readers = Vec::new();
    readers.extend(child.stdout.take().map(|p| log(name, p, until.clone())));
    readers.extend(child.stderr.take().map(|p| log(name, p, until.clone())));
    let bound = Duration::from_secs(hooks.timeout_seconds);
    let ended = tokio::time::timeout(bound, child.wait()).await;
    if ended.is_err() {
        kill_group(&mut child).await;
    }
    over.send_replace(true);
    for reader in &mut readers {
        if tokio::time::timeout(LAST, &mut *reader).await.is_err() {
            reader.abort();
        }
    }
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("hook {name} failed: {status}")),
        Ok(Err(e)) => Err(format!("hook {name} cannot be waited for: {e}")),
        Err(_) => Err(format!(
            "hook {name} did not end within {} s (hooks.timeout_seconds) and was killed",
            hooks.timeout_seconds
        )),
    }
}

fn start(command: &str, hook: Hook, told: &Told) -> std::io::Result<Child> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("CROSSFADE_NAME", &told.name)
        .env("CROSSFADE_HOOK", hook.name())
        .env("CROSSFADE_DIRECTION", told.direction)
        .env("CROSSFADE_PHASE", &told.phase)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    for secret in SECRETS {
        shell.env_remove(secret);
    }
    for (name, value) in [
        ("CROSSFADE_OUTCOME", told.outcome.clone()),
        (
            "CROSSFADE_STALL_MS",
            told.stall_ms.map(|ms| format!("{ms:.1}")),
        ),
    ] {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.spawn()
}

/// The shell leads a group of its own, so that what it has started goes with it.
async fn kill_group(child: &mut Child) {
    if let Some(pid) = child.id() {
        let group = format!("-{pid}");
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status()
            .await;
    }
    let _ = child.kill().await;
}

/// Logs the first lines of a stream and throws the rest away: a hook must neither
/// fill the log nor stand still because nobody reads what it prints. Ends with the stream,
/// or when nothing more comes once the hook is `over`.
fn log(
    hook: &'static str,
    pipe: impl AsyncRead + Unpin + Send + 'static,
    mut over: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut start = BufReader::new(pipe.take(LOGGED));
        let mut line = Vec::new();
        loop {
            let read = tokio::select! {
                biased;
                // First: this task may come to run long after the hook has ended, and
                // what was printed by then is not to be lost.
                read = start.read_until(b'\n', &mut line) => read,
                () = silence(&mut over) => Ok(0),
            };
            if !line.is_empty() {
                tracing::info!(hook, "{}", String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
            if !matches!(read, Ok(1..)) {
                break;
            }
        }
        let (mut rest, mut nowhere) = (start.into_inner().into_inner(), tokio::io::sink());
        tokio::select! {
            _ = tokio::io::copy(&mut rest, &mut nowhere) => {}
            _ = over.wait_for(|over| *over) => {}
        }
    })
}

/// Returns when the hook has been over for a while; begun anew with each line.
async fn silence(over: &mut watch::Receiver<bool>) {
    let _ = over.wait_for(|over| *over).await;
    tokio::time::sleep(REST).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Far longer than a shell takes, however busy the machine.
    const AMPLE: u64 = 60;

    fn hooks(command: &str, timeout_seconds: u64) -> Hooks {
        Hooks {
            before_switch: Some(command.to_owned()),
            after_switch: None,
            timeout_seconds,
        }
    }

    async fn before(command: &str) -> Result<(), String> {
        before_within(command, AMPLE).await
    }

    async fn before_within(command: &str, timeout_seconds: u64) -> Result<(), String> {
        let told = Told {
            name: "orders".to_owned(),
            direction: "forward",
            phase: "streaming".to_owned(),
            ..Told::default()
        };
        run(&hooks(command, timeout_seconds), Hook::Before, &told).await
    }

    #[tokio::test]
    async fn a_hook_is_told_what_happens_and_its_exit_code_counts() {
        let told = "test \"$CROSSFADE_NAME $CROSSFADE_HOOK $CROSSFADE_DIRECTION $CROSSFADE_PHASE ${CROSSFADE_OUTCOME-none}\" = 'orders before_switch forward streaming none'";
        before(told).await.unwrap();
        let failed = before("exit 3").await.unwrap_err();
        assert!(failed.contains("exit status: 3"), "{failed}");
        let killed = before("kill -TERM $$").await.unwrap_err();
        assert!(killed.contains("signal: 15"), "{killed}");
    }

    #[tokio::test]
    async fn a_hook_that_is_not_set_passes() {
        let told = Told::default();
        run(&hooks("exit 1", AMPLE), Hook::After, &told)
            .await
            .unwrap();
    }

    /// The process that the shell waits for must not outlive it.
    #[tokio::test]
    async fn a_hook_that_takes_too_long_is_killed_with_everything_it_started() {
        let file = std::env::temp_dir().join(format!("crossfade_hook_{:x}", fastrand::u64(..)));
        let since = Instant::now();
        let command = format!("sleep 300 & echo $! > {}; wait", file.display());
        // Long enough for the shell to have written the number, however busy the machine.
        let failed = before_within(&command, 15).await.unwrap_err();
        assert!(failed.contains("within 15 s"), "{failed}");
        assert!(since.elapsed() < Duration::from_secs(90));
        let pid = std::fs::read_to_string(&file).unwrap();
        let gone = || {
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        while !gone() {
            assert!(
                since.elapsed() < Duration::from_secs(180),
                "{pid} still runs"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn output_without_end_and_a_process_left_behind_do_not_stop_the_switch() {
        let since = Instant::now();
        before("head -c 3000000 /dev/zero; sleep 90 &")
            .await
            .unwrap();
        assert!(since.elapsed() < Duration::from_secs(60));
    }
}
