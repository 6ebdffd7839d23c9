//! crossfade itself, run as a user would run it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};

use crate::error::{Context, Error, Kind, Result};
use crate::server::last_lines;

const STDERR_LINES: usize = 15;
/// How long the daemon may drain after SIGTERM: its copiers and its applier have 30 s each.
const DRAIN: Duration = Duration::from_secs(90);

/// The program and the directory with its configuration.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub dir: PathBuf,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .arg("--config")
            .arg(self.dir.join("crossfade.toml"))
            .current_dir(&self.dir)
            .env_remove("CROSSFADE_SOURCE_URL")
            .env_remove("CROSSFADE_TARGET_URL")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn ended(&self, verb: &[&str]) -> Result<Ended> {
        let output = self
            .command()
            .args(["--output", "json"])
            .args(verb)
            .output()
            .await
            .context(format!("running `crossfade {}`", verb.join(" ")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ended {
            status: output.status,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Starts `crossfade run` with its output in `run.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn daemon(&self) -> Result<Daemon> {
        let log = self.dir.join("run.log");
        let file = File::create(&log).context(format!("creating {}", log.display()))?;
        let child = self
            .command()
            .arg("run")
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("starting `crossfade run`")?;
        Ok(Daemon { child, log })
    }
}

impl Ended {
    /// The JSON on standard output.
    ///
    /// # Errors
    /// When there is none, with the end of what the command wrote instead.
    pub fn json<T: DeserializeOwned>(&self, verb: &str) -> Result<T> {
        serde_json::from_str(self.stdout.trim()).map_err(|e| {
            let how = format!("gave no answer that can be read ({e}; {})", self.status);
            failed(verb, &how, &last_lines(&self.stderr, STDERR_LINES))
        })
    }

    /// # Errors
    /// When the exit code is not 0, with the end of standard error.
    pub fn success(&self, verb: &str) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        let how = format!("failed ({})", self.status);
        Err(failed(verb, &how, &last_lines(&self.stderr, STDERR_LINES)))
    }
}

/// `crossfade run` in the background. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// # Errors
    /// When the daemon has ended, with the end of its log.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait().context("watching `crossfade run`")? {
            None => Ok(()),
            Some(status) => Err(failed(
                "run",
                &format!("ended ({status})"),
                &tail(&self.log),
            )),
        }
    }

    /// Lets the daemon drain and end, if it has not ended by itself.
    ///
    /// # Errors
    /// When it had to be killed, or its exit code is not 0.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            // The shell's own `kill`; the child is not reaped yet, so the number
            // is still its own.
            let asked = Command::new("sh")
                .args(["-c", "kill -s TERM \"$1\"", "sh", &pid.to_string()])
                .status()
                .await;
            asked.context("stopping `crossfade run`")?;
        }
        let Ok(status) = tokio::time::timeout(DRAIN, self.child.wait()).await else {
            let how = format!("did not end within {} s", DRAIN.as_secs());
            return Err(failed("run", &how, &tail(&self.log)));
        };
        let status = status.context("stopping `crossfade run`")?;
        if status.success() {
            return Ok(());
        }
        Err(failed(
            "run",
            &format!("failed ({status})"),
            &tail(&self.log),
        ))
    }
}

fn failed(verb: &str, how: &str, said: &str) -> Error {
    Error::new(Kind::Io, format!("`crossfade {verb}` {how}:\n{said}"))
        .remedy("see what it said above; with --keep, run.log and postgres.log stay in the demo's directory")
}

fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes), STDERR_LINES)
}
