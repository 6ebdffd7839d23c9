//! One run of the server process: start, readiness, signals, end.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::binaries::Binaries;
use super::template::SUPERUSER;
use crate::error::{Context, Error, Kind, Result};

const POLL: Duration = Duration::from_millis(5);
/// Crash recovery of a large cluster takes a while; a bound all the same.
const START_BOUND: Duration = Duration::from_secs(60);

/// How a start can end without a running server.
#[derive(Debug)]
pub enum StartFailure {
    /// Another process has the port.
    PortTaken,
    Other(Error),
}

/// A server process that accepts connections, and its watcher.
///
/// The server is our direct child (not `pg_ctl`'s), in a process group of its
/// own, so that Ctrl-C on the terminal reaches only us and we decide the order
/// in which things stop. If this process dies without running any destructor
/// (SIGKILL), the watcher, a shell that waits for the end of a pipe only we hold
/// open, stops the server and removes the directory.
#[derive(Debug)]
pub struct Postmaster {
    child: Child,
    watcher: Child,
    /// Never written: its closing is the message.
    _alive: Option<ChildStdin>,
}

/// Where one run keeps its things.
#[derive(Debug, Clone)]
pub struct Places {
    pub data: PathBuf,
    pub log: PathBuf,
    pub socket_dir: PathBuf,
    /// Removed by the watcher when this process dies.
    pub doomed: Vec<PathBuf>,
}

impl Places {
    #[must_use]
    pub fn socket(&self, port: u16) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{port}"))
    }

    /// The log's last lines, for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        super::last_lines(&String::from_utf8_lossy(&log), 12)
    }
}

impl Postmaster {
    /// Starts the server and returns once it accepts connections.
    pub fn start(binaries: &Binaries, places: &Places, port: u16) -> Result<Self, StartFailure> {
        let other = StartFailure::Other;
        let log_from = fs::metadata(&places.log).map_or(0, |m| m.len());
        let log = File::options()
            .create(true)
            .append(true)
            .open(&places.log)
            .context(format!("opening {}", places.log.display()))
            .map_err(other)?;
        let mut command = binaries.command("postgres", &places.data);
        command
            .arg("-D")
            .arg(&places.data)
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .context("starting postgres")
            .map_err(other)?;
        let mut watcher = match watch(child.id(), places) {
            Ok(watcher) => watcher,
            Err(e) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                return Err(other(e));
            }
        };
        let mut started = Self {
            child,
            _alive: watcher.stdin.take(),
            watcher,
        };
        started.until_ready(places, port, log_from)?;
        Ok(started)
    }

    fn until_ready(
        &mut self,
        places: &Places,
        port: u16,
        log_from: u64,
    ) -> Result<(), StartFailure> {
        let deadline = Instant::now() + START_BOUND;
        loop {
            let exited = self.child.try_wait().context("waiting for postgres");
            if let Some(status) = exited.map_err(StartFailure::Other)? {
                self.dismiss_watcher();
                if log_since(&places.log, log_from).contains("Address already in use") {
                    return Err(StartFailure::PortTaken);
                }
                return Err(StartFailure::Other(Error::new(
                    Kind::Server,
                    format!("postgres ended at once ({status}):\n{}", places.log_tail()),
                )));
            }
            if accepts_connections(&places.socket(port)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = self.kill();
                return Err(StartFailure::Other(Error::new(
                    Kind::Server,
                    format!(
                        "postgres was not ready after {} s:\n{}",
                        START_BOUND.as_secs(),
                        places.log_tail()
                    ),
                )));
            }
            std::thread::sleep(POLL);
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the server's main process. Through the shell, whose
    /// built-in `kill` is always there; the child is not reaped before we are
    /// told it ended, so the number cannot have become another process.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        if self
            .child
            .try_wait()
            .context("waiting for postgres")?
            .is_some()
        {
            return Err(Error::new(Kind::Server, "postgres is not running"));
        }
        super::binaries::output(
            Command::new("sh")
                .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
                .arg(self.child.id().to_string()),
        )
        .map(drop)
    }

    /// Whether the server's main process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the server's end after a signal; after `bound` it is killed and
    /// that is an error.
    pub fn wait(mut self, bound: Duration) -> Result<()> {
        let deadline = Instant::now() + bound;
        while self
            .child
            .try_wait()
            .context("waiting for postgres")?
            .is_none()
        {
            if Instant::now() > deadline {
                self.kill()?;
                return Err(Error::new(
                    Kind::Server,
                    format!(
                        "postgres did not stop within {} s and was killed",
                        bound.as_secs()
                    ),
                ));
            }
            std::thread::sleep(POLL);
        }
        self.dismiss_watcher();
        Ok(())
    }

    /// The server lives on after this process: nobody stops it, nobody waits for it.
    pub fn let_go(mut self) {
        self.dismiss_watcher();
    }

    fn kill(&mut self) -> Result<()> {
        // Immediate first: the main process then takes its children with it.
        let _ = self.signal("QUIT");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        self.child.wait().context("waiting for postgres")?;
        self.dismiss_watcher();
        Ok(())
    }

    fn dismiss_watcher(&mut self) {
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

/// Waits for the end of standard input, then stops the server that still owns
/// the data directory, waits for it, and removes what is doomed.
const WATCHER: &str = r#"
server=$1; shift
read -r _
kill -s QUIT "$server" 2>/dev/null
left=60
while [ $left -gt 0 ] && kill -s 0 "$server" 2>/dev/null; do
    sleep 1
    left=$((left - 1))
done
[ $# -eq 0 ] || rm -rf -- "$@"
"#;

fn watch(server: u32, places: &Places) -> Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHER, "crossfade-watch", &server.to_string()])
        .args(&places.doomed)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting the server's watcher")
}

/// What was written to the log after `from` bytes.
pub fn log_since(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

/// Sends a startup message, as a client would, and looks at the answer: any but
/// "cannot connect now" means that sessions can begin. Needs no `pg_isready`,
/// which minimal installations lack.
pub fn accepts_connections(socket: &Path) -> bool {
    answer(socket).is_ok_and(|answer| {
        let refused = answer.first() == Some(&b'E') && answer.windows(5).any(|w| w == b"57P03");
        !answer.is_empty() && !refused
    })
}

fn answer(socket: &Path) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut startup = BytesMut::new();
    let parameters = [
        ("user", SUPERUSER),
        ("database", "postgres"),
        ("client_encoding", "UTF8"),
    ];
    frontend::startup_message(parameters, &mut startup)?;
    stream.write_all(&startup)?;
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    let mut goodbye = BytesMut::new();
    frontend::terminate(&mut goodbye);
    let _ = stream.write_all(&goodbye);
    Ok(answer)
}
