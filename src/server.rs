//! A throwaway `PostgreSQL` server: for `crossfade demo` and for every test that
//! needs a real one.
//!
//! The interface is synchronous on purpose, so that a test can stop, crash and
//! restart its server from anywhere, and so that dropping it always works.

pub mod binaries;
mod place;
mod process;
mod template;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::binaries::Binaries;
use self::place::{Port, directory, free_port, socket_directory};
use self::process::{Places, Postmaster, StartFailure};
pub use self::template::SUPERUSER;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::ident::literal;

const START_ATTEMPTS: usize = 10;
const STOP_BOUND: Duration = Duration::from_secs(60);
const RELOAD_BOUND: Duration = Duration::from_secs(30);
/// What the server asks of its clients, over TCP and over the socket alike.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    #[default]
    Trust,
    /// SCRAM-SHA-256 with this password for the superuser.
    Scram { password: String },
}

/// How to start a [`Server`].
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where everything is kept; by default a new private directory under the
    /// temp directory.
    pub dir: Option<PathBuf>,
    /// Lines of `postgresql.conf`, name and unquoted value, after (and so over)
    /// the defaults.
    pub settings: Vec<(String, String)>,
    /// Leave the directory behind when the server is dropped. See also
    /// [`Server::leave`].
    pub keep: bool,
    /// Flush to disk as a production server does. Off, the cluster survives the
    /// crash of every process, but not of the machine.
    pub durable: bool,
    pub auth: Auth,
}

impl Options {
    /// Adds one setting.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How to stop a [`Server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Ends every session, writes a checkpoint, ends.
    Fast,
    /// Drops everything, as in a crash: the next start recovers from the WAL.
    Immediate,
}

/// A running or stopped server in a directory of its own. Dropping it stops it
/// and, unless it is to be kept, removes the directory.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    dir: PathBuf,
    places: Places,
    port: Port,
    auth: Auth,
    keep: bool,
    running: Option<Postmaster>,
}

impl Server {
    /// Makes a fresh cluster and returns once it accepts connections.
    ///
    /// # Errors
    /// When there is no `PostgreSQL` installed, the directory is in use or out of
    /// the server account's reach, or the server does not come up (with the last
    /// lines of its log).
    pub fn start(options: Options) -> Result<Self> {
        let binaries = Binaries::find()?;
        let (dir, created) = directory(&binaries, options.dir.as_deref())?;
        let socket_dir = socket_directory(&binaries, &dir)?;
        let mut places = Places {
            data: dir.join("data"),
            log: dir.join("postgres.log"),
            socket_dir,
            doomed: Vec::new(),
        };
        if places.socket_dir != dir {
            places.doomed.push(places.socket_dir.clone());
        }
        if !options.keep {
            if created {
                places.doomed.push(dir.clone());
            } else {
                places
                    .doomed
                    .extend([places.data.clone(), places.log.clone()]);
            }
        }
        // From here on the value exists, so every error path cleans up by drop.
        let mut server = Self {
            binaries,
            dir,
            places,
            port: Port::default(),
            auth: options.auth.clone(),
            keep: options.keep,
            running: None,
        };
        template::create(&server.binaries, &server.places.data)?;
        server.configure(&options)?;
        if let Auth::Scram { password } = &options.auth {
            server.set_password(password)?;
        }
        server.start_on_free_port()?;
        Ok(server)
    }

    /// Superuser connection over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let password = match &self.auth {
            Auth::Trust => String::new(),
            Auth::Scram { password } => format!(":{}", percent(password)),
        };
        let (port, database) = (self.port.number, percent(database));
        format!("postgres://{SUPERUSER}{password}@127.0.0.1:{port}/{database}")
    }

    /// Superuser connection over the Unix socket.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let password = match &self.auth {
            Auth::Trust => String::new(),
            Auth::Scram { password } => format!(":{}", percent(password)),
        };
        format!(
            "postgres://{SUPERUSER}{password}@{}:{}/{}",
            percent(&self.places.socket_dir.to_string_lossy()),
            self.port.number,
            percent(database)
        )
    }

    /// The same for the whole life of the server, over restarts too.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.places.data
    }

    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.places.log
    }

    #[must_use]
    pub fn log_tail(&self) -> String {
        self.places.log_tail()
    }

    /// What `postgres --version` says.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The directory of `initdb`, `postgres` and their companions.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.binaries.dir
    }

    /// The main process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Postmaster::pid)
    }

    /// Stops the server; stopping a stopped one is nothing.
    ///
    /// # Errors
    /// When it did not end within a minute; it is killed then.
    pub fn stop(&mut self, mode: Mode) -> Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        if running.is_running() {
            running.signal(match mode {
                Mode::Fast => "INT",
                Mode::Immediate => "QUIT",
            })?;
        }
        running.wait(STOP_BOUND)
    }

    /// Leaves the server running with all its files; returns the number of its main
    /// process. A stopped one leaves its files alone.
    #[must_use]
    pub fn leave(mut self) -> Option<u32> {
        // From here on dropping this value removes nothing.
        self.places.doomed.clear();
        let pid = self.pid();
        if let Some(running) = self.running.take() {
            running.let_go();
        }
        pid
    }

    /// Starts a stopped (or crashed) server on its old port.
    ///
    /// # Errors
    /// When it does not come up, or its port was taken and not given back.
    pub fn start_again(&mut self) -> Result<()> {
        if let Some(running) = &mut self.running {
            if running.is_running() {
                return Ok(());
            }
            self.stop(Mode::Immediate)?;
        }
        for _ in 0..START_ATTEMPTS {
            match Postmaster::start(&self.binaries, &self.places, self.port.number) {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err(StartFailure::PortTaken) => std::thread::sleep(Duration::from_millis(300)),
                Err(StartFailure::Other(e)) => return Err(e),
            }
        }
        Err(Error::new(
            Kind::Io,
            format!("port {} was taken by another process", self.port.number),
        ))
    }

    /// A fast stop, then a start on the same port.
    ///
    /// # Errors
    /// As [`Server::stop`] and [`Server::start_again`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop(Mode::Fast)?;
        self.start_again()
    }

    /// Makes the server read its configuration again. When this returns, new
    /// sessions have it; those that exist take it with their next command.
    ///
    /// # Errors
    /// When the server is not running or does not react.
    pub fn reload(&mut self) -> Result<()> {
        let from = fs::metadata(&self.places.log).map_or(0, |m| m.len());
        let running = self
            .running
            .as_mut()
            .ok_or_else(|| Error::new(Kind::Server, "postgres is not running"))?;
        running.signal("HUP")?;
        let deadline = Instant::now() + RELOAD_BOUND;
        while !process::log_since(&self.places.log, from).contains("received SIGHUP") {
            if Instant::now() > deadline {
                return Err(Error::new(
                    Kind::Server,
                    "postgres did not reload its configuration",
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // The main process handles one thing after the other: a connection made
        // now is answered after it has read the files and told its children.
        while !process::accepts_connections(&self.places.socket(self.port.number)) {
            if Instant::now() > deadline {
                return Err(Error::new(
                    Kind::Server,
                    "postgres did not answer after a reload",
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Writes a setting (unquoted value) and reloads. A setting that needs a
    /// restart takes effect with the next [`Server::restart`].
    ///
    /// # Errors
    /// As [`Server::reload`]; a stopped server only gets the line.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.append(&[(name.to_owned(), value.to_owned())])?;
        if self.running.is_some() {
            self.reload()
        } else {
            Ok(())
        }
    }

    fn append(&self, settings: &[(String, String)]) -> Result<()> {
        let path = self.places.data.join("postgresql.conf");
        let mut text = String::new();
        for (name, value) in settings {
            // Values are the file's literals: a doubled quote is the only escape
            // that is needed once backslashes are doubled too.
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            let _ = writeln!(text, "{name} = '{value}'");
        }
        fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .context(format!("writing {}", path.display()))
    }

    fn configure(&self, options: &Options) -> Result<()> {
        let sockets = self.places.socket_dir.to_string_lossy().into_owned();
        let flush = if options.durable { "on" } else { "off" };
        let defaults = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &format!("\"{sockets}\"")),
            ("wal_level", "logical"),
            ("max_replication_slots", "20"),
            ("max_wal_senders", "20"),
            ("fsync", flush),
            ("full_page_writes", flush),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %a "),
        ];
        let defaults: Vec<_> = defaults
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.append(&defaults)?;
        self.append(&options.settings)?;
        let method = match options.auth {
            Auth::Trust => "trust",
            Auth::Scram { .. } => "scram-sha-256",
        };
        let hba = format!(
            "local all,replication all {method}\nhost all,replication all 127.0.0.1/32 {method}\n"
        );
        let path = self.places.data.join("pg_hba.conf");
        fs::write(&path, hba).context(format!("writing {}", path.display()))
    }

    /// In single-user mode, so that no moment exists in which anybody could come
    /// in without the password. What is sent is the SCRAM verifier.
    fn set_password(&self, password: &str) -> Result<()> {
        let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
        let sql = format!("alter role {SUPERUSER} password {}\n", literal(&verifier));
        let mut child = self
            .binaries
            .command("postgres", &self.places.data)
            .args(["--single", "-D"])
            .arg(&self.places.data)
            .arg("postgres")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .context("starting postgres in single-user mode")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(sql.as_bytes())
                .context("setting the superuser's password")?;
        }
        let status = child.wait().context("setting the superuser's password")?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(
                Kind::Server,
                format!("setting the superuser's password failed ({status})"),
            ))
        }
    }

    fn start_on_free_port(&mut self) -> Result<()> {
        for _ in 0..START_ATTEMPTS {
            self.port = free_port()?;
            match Postmaster::start(&self.binaries, &self.places, self.port.number) {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err(StartFailure::PortTaken) => {}
                Err(StartFailure::Other(e)) => return Err(e),
            }
        }
        Err(Error::new(
            Kind::Io,
            format!("{START_ATTEMPTS} free ports were all taken before the server got them"),
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mode = if self.keep {
            Mode::Fast
        } else {
            Mode::Immediate
        };
        let _ = self.stop(mode);
        for path in &self.places.doomed {
            let _ = if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
        }
    }
}

/// Percent-encodes what a URL's parts may not hold.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The last `count` lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
