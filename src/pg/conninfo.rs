//! Where a server is and how to log in: one connection string, completed from
//! the service file, the environment and libpq's defaults, in that order.
//!
//! One host only: a list would let the copy and the stream end up on different
//! servers, so it is refused. The password is looked up when a connection is
//! made, so a rotated password file is taken up without a restart.

mod files;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use files::{Environment, Login, below_home};

/// The keywords that are understood, with the environment variable of each.
const KEYWORDS: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("passfile", "PGPASSFILE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("options", "PGOPTIONS"),
    // Taken so that one URL serves several programs; ours is set per session.
    ("application_name", "PGAPPNAME"),
    ("service", "PGSERVICE"),
];

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of the server's socket.
    Unix(PathBuf),
}

/// What TLS must achieve; libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server insists.
    Allow,
    /// TLS if the server offers it.
    Prefer,
    /// TLS; the certificate is checked only if a root file exists.
    Require,
    /// TLS, and the certificate's chain is checked.
    VerifyCa,
    /// TLS, and the chain and the host's name are checked.
    VerifyFull,
}

/// Whether SCRAM must be bound to the TLS channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// TLS settings; files may be absent unless a mode needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssl {
    pub mode: SslMode,
    /// `sslrootcert`, default `~/.postgresql/root.crt`; `system` means the
    /// operating system's bundle.
    pub root: Option<PathBuf>,
    /// `sslcert`, default `~/.postgresql/postgresql.crt`.
    pub certificate: Option<PathBuf>,
    /// `sslkey`, default `~/.postgresql/postgresql.key`.
    pub key: Option<PathBuf>,
    pub channel_binding: ChannelBinding,
}

#[derive(Clone)]
enum Password {
    Given(String),
    File(PathBuf),
    None,
}

/// Everything needed to connect. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct ConnInfo {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub ssl: Ssl,
    /// Bound on one attempt to connect and log in.
    pub connect_timeout: Duration,
    /// The user's own `options`; crossfade's pinned settings come after it.
    pub options: String,
    password: Password,
}

impl ConnInfo {
    /// Reads a `postgres://` URL or `keyword=value` pairs.
    ///
    /// # Errors
    /// [`Kind::Config`] for text that cannot be read, unknown parameters,
    /// several hosts, an unknown service or a missing user.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_in(text, &files::process_environment)
    }

    /// As [`ConnInfo::parse`], with variables from `env` instead of the process.
    ///
    /// # Errors
    /// As [`ConnInfo::parse`].
    pub fn parse_in(text: &str, env: Environment<'_>) -> Result<Self> {
        let mut given = BTreeMap::new();
        fill(&mut given, text::split(text)?)?;
        if let Some(name) = given.get("service").cloned().or_else(|| env("PGSERVICE")) {
            fill(&mut given, files::service(&name, env)?)?;
        }
        for (key, variable) in KEYWORDS {
            if let Some(value) = env(variable) {
                given.entry(key).or_insert(value);
            }
        }
        complete(given, env)
    }

    /// The same login for another database of the server.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self {
            database: name.to_owned(),
            ..self.clone()
        }
    }

    /// `user@host:port/database`, for messages.
    #[must_use]
    pub fn display(&self) -> String {
        self.to_string()
    }

    /// The password, from the string, `PGPASSWORD` or the password file.
    #[must_use]
    pub fn password(&self) -> Option<String> {
        match &self.password {
            Password::Given(password) => Some(password.clone()),
            Password::File(path) => self.password_from(path),
            Password::None => None,
        }
    }

    /// The socket's file, when the server is reached through one.
    #[must_use]
    pub fn socket_file(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(dir) => Some(dir.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) => None,
        }
    }

    /// The effective mode: a socket never speaks TLS, whatever `sslmode` says.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        match self.host {
            Host::Unix(_) => SslMode::Disable,
            Host::Tcp(_) => self.ssl.mode,
        }
    }

    fn password_from(&self, path: &Path) -> Option<String> {
        let dir;
        let hosts: &[&str] = match &self.host {
            Host::Tcp(host) => &[host.as_str()],
            Host::Unix(path) => {
                dir = path.to_string_lossy();
                &[&dir, "localhost"]
            }
        };
        files::password(
            path,
            &Login {
                hosts,
                port: self.port,
                database: &self.database,
                user: &self.user,
            },
        )
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, port, database) = (&self.user, self.port, &self.database);
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "{user}@[{host}]:{port}/{database}"),
            Host::Tcp(host) => write!(f, "{user}@{host}:{port}/{database}"),
            Host::Unix(dir) => write!(f, "{user}@{}:{port}/{database}", dir.display()),
        }
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo({self}, sslmode {:?})", self.ssl.mode)
    }
}

fn config(message: impl Into<String>) -> Error {
    Error::new(Kind::Config, message)
}

/// Adds what is not there yet; the last of equal keywords in one source wins.
fn fill(given: &mut BTreeMap<&str, String>, pairs: Vec<(String, String)>) -> Result<()> {
    let mut own = BTreeMap::new();
    for (key, value) in pairs {
        let known = KEYWORDS.iter().find(|(name, _)| *name == key);
        let (name, _) = known.ok_or_else(|| {
            let names: Vec<_> = KEYWORDS.iter().map(|(name, _)| *name).collect();
            config(format!("unknown connection parameter `{key}`"))
                .remedy(format!("the parameters are {}", names.join(", ")))
        })?;
        if !value.is_empty() {
            own.insert(*name, value);
        }
    }
    for (name, value) in own {
        given.entry(name).or_insert(value);
    }
    Ok(())
}

fn complete(mut given: BTreeMap<&str, String>, env: Environment<'_>) -> Result<ConnInfo> {
    let mut take = |key: &str| given.remove(key);
    let port = match take("port") {
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            config(format!(
                "`{text}` is not a port (one number from 1 to 65535)"
            ))
        })?,
        None => 5432,
    };
    let user = take("user")
        .or_else(|| env("USER"))
        .or_else(|| env("LOGNAME"))
        .ok_or_else(|| {
            config("the connection string names no user")
                .remedy("write postgres://user@host/database, or set PGUSER")
        })?;
    let password = match (take("password"), take("passfile")) {
        (Some(password), _) => Password::Given(password),
        (None, Some(path)) => Password::File(path.into()),
        (None, None) => below_home(env, ".pgpass").map_or(Password::None, Password::File),
    };
    Ok(ConnInfo {
        host: host(take("host"), port)?,
        port,
        database: take("dbname").unwrap_or_else(|| user.clone()),
        user,
        connect_timeout: timeout(take("connect_timeout"))?,
        options: take("options").unwrap_or_default(),
        ssl: ssl(&mut take, env)?,
        password,
    })
}

fn host(given: Option<String>, port: u16) -> Result<Host> {
    match given {
        Some(list) if list.contains(',') => {
            Err(config("the connection string lists several hosts")
                .remedy("name the primary alone: copy and stream must work on one server"))
        }
        Some(path) if path.starts_with('/') => Ok(Host::Unix(path.into())),
        Some(name) => Ok(Host::Tcp(name)),
        // Packages differ in the directory that is compiled into libpq.
        None => Ok(["/var/run/postgresql", "/tmp"]
            .into_iter()
            .map(Path::new)
            .find(|dir| dir.join(format!(".s.PGSQL.{port}")).exists())
            .map_or_else(
                || Host::Tcp("localhost".to_owned()),
                |dir| Host::Unix(dir.to_owned()),
            )),
    }
}

/// libpq waits for ever when nothing is said; a daemon must not.
fn timeout(given: Option<String>) -> Result<Duration> {
    let Some(text) = given else {
        return Ok(Duration::from_secs(10));
    };
    match text.trim().parse::<i32>() {
        // Zero and less mean "no limit" to libpq: as long as a human would wait.
        Ok(seconds) if seconds <= 0 => Ok(Duration::from_secs(300)),
        // libpq never waits less than two seconds.
        Ok(seconds) => Ok(Duration::from_secs(
            u64::from(seconds.unsigned_abs()).max(2),
        )),
        Err(_) => Err(config(format!(
            "connect_timeout `{text}` is not a number of seconds"
        ))),
    }
}

fn ssl(take: &mut dyn FnMut(&str) -> Option<String>, env: Environment<'_>) -> Result<Ssl> {
    let mut file = |key: &str, default: &str| {
        take(key)
            .map(PathBuf::from)
            .or_else(|| below_home(env, default))
    };
    let root = file("sslrootcert", ".postgresql/root.crt");
    let certificate = file("sslcert", ".postgresql/postgresql.crt");
    let key = file("sslkey", ".postgresql/postgresql.key");
    let system = root.as_deref() == Some(Path::new("system"));
    let mode = match take("sslmode").as_deref() {
        None if system => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(other) => {
            return Err(config(format!("sslmode `{other}` does not exist"))
                .remedy("use disable, allow, prefer, require, verify-ca or verify-full"));
        }
    };
    if system && mode != SslMode::VerifyFull {
        // Anybody can get a publicly signed certificate for a name of their own.
        return Err(config("sslrootcert=system needs sslmode=verify-full")
            .remedy("set sslmode=verify-full"));
    }
    let channel_binding = match take("channel_binding").as_deref() {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(other) => {
            return Err(config(format!("channel_binding `{other}` does not exist"))
                .remedy("use disable, prefer or require"));
        }
    };
    Ok(Ssl {
        mode,
        root,
        certificate,
        key,
        channel_binding,
    })
}

#[cfg(test)]
mod tests;
