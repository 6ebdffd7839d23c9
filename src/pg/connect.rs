//! Sessions for SQL: one place that connects, so that every session is pinned to
//! the same settings, bounded by the same limits and named alike.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding as Binding, SslMode as Tls};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::{ChannelBinding, ConnInfo, Host};
use super::tls::{self, Encryption};
use crate::error::{Error, Kind, Result};

/// Settings that decide how values look as text. Every session has them, the
/// replication session too: the same value must have the same text everywhere.
pub const PINNED: &[(&str, &str)] = &[
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("timezone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
];

/// What a transaction is where nothing else is said, whatever the role's own setting:
/// each of its statements has to see what was committed meanwhile, and all of it. Where
/// row security would hide rows from the role the server refuses the statement: a policy
/// that is put in force while rows are copied or compared must not look like their absence.
const TRANSACTIONS: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("row_security", "off"),
];

/// No bound on a whole transaction, nor on a session that waits for work: a copier's or
/// a verification's transactions take as long as their statements, a walsender is in one
/// while it decodes a large one, and the owner's session holds a lock by being there.
/// `PostgreSQL` 17 brought the first; an older server starts no session that asks for a
/// setting which it does not know, so it is said after the login.
pub(crate) const UNBOUNDED: &str = "select pg_catalog.set_config('transaction_timeout', '0', false)
     where pg_catalog.current_setting('transaction_timeout', true) is not null";

/// How long a session may wait or work before the server ends it. `None` means
/// no limit, whatever the role's or the database's own setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    pub lock: Option<Duration>,
    pub statement: Option<Duration>,
    pub idle_in_transaction: Option<Duration>,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            lock: Some(Duration::from_secs(10)),
            statement: Some(Duration::from_secs(300)),
            idle_in_transaction: Some(Duration::from_secs(300)),
        }
    }
}

/// Connects with the default [`SessionLimits`].
///
/// # Errors
/// As [`connect_with`].
pub async fn connect(info: &ConnInfo, purpose: &str) -> Result<Client> {
    connect_with(info, purpose, SessionLimits::default()).await
}

/// Opens a session named `crossfade <purpose>`. Its I/O runs on a task of the
/// current runtime and ends when the client is dropped.
///
/// # Errors
/// [`Kind::Connection`] when the server cannot be reached in `connect_timeout`,
/// [`Kind::Privilege`] when it refuses the login, [`Kind::Precondition`] when
/// TLS cannot be had as `sslmode` demands, [`Kind::Config`] for an unknown
/// database or unusable certificate files. Each names `user@host:port/database`.
pub async fn connect_with(info: &ConnInfo, purpose: &str, limits: SessionLimits) -> Result<Client> {
    let mut config = base(info, purpose, limits);
    let ways = tls::attempts(info.ssl_mode());
    let mut failed = None;
    for way in ways {
        match attempt(info, &mut config, *way).await {
            Ok(client) => return Ok(client),
            Err(error) if may_try_next(&error) => {
                // libpq reports the last; the first says more when both fail alike.
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(Kind::Connection, format!("cannot connect to {info}"))))
}

/// Whether another [`Encryption`] can change the outcome: a refused handshake,
/// or no matching line in `pg_hba.conf` (which can depend on TLS).
pub(crate) fn may_try_next(error: &Error) -> bool {
    error.kind == Kind::Precondition || error.is_sqlstate("28000")
}

async fn attempt(info: &ConnInfo, config: &mut Config, way: Encryption) -> Result<Client> {
    let settings = match way {
        Encryption::Plain => None,
        Encryption::Offered | Encryption::Required => Some(tls::client_config(info)?),
    };
    config.ssl_mode(match way {
        Encryption::Plain => Tls::Disable,
        Encryption::Offered => Tls::Prefer,
        Encryption::Required => Tls::Require,
    });
    // The crate's own timeout covers only the TCP handshake.
    let outcome = tokio::time::timeout(info.connect_timeout, async {
        let client = match settings {
            None => {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                drive(connection, info);
                client
            }
            Some(settings) => {
                let (client, connection) = config.connect(MakeRustlsConnect::new(settings)).await?;
                drive(connection, info);
                client
            }
        };
        client.batch_execute(UNBOUNDED).await?;
        Ok(client)
    });
    match outcome.await {
        Ok(done) => done.map_err(|e| explain(info, e)),
        Err(_) => Err(timed_out(info)),
    }
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>, info: &ConnInfo)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let server = info.display();
    tokio::spawn(async move {
        match connection.await {
            Ok(()) => tracing::debug!(server, "session closed"),
            Err(error) => tracing::debug!(server, %error, "session ended"),
        }
    });
}

fn base(info: &ConnInfo, purpose: &str, limits: SessionLimits) -> Config {
    let mut config = Config::new();
    match &info.host {
        Host::Tcp(host) => config.host(host),
        Host::Unix(dir) => config.host_path(dir),
    };
    config
        .port(info.port)
        .user(&info.user)
        .dbname(&info.database)
        .application_name(application_name(purpose))
        .options(options(info, Some(limits)))
        .connect_timeout(info.connect_timeout)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(4)
        .tcp_user_timeout(Duration::from_secs(30))
        .channel_binding(match info.ssl.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
    if let Some(password) = info.password() {
        config.password(password);
    }
    config
}

/// `crossfade <purpose>`, cut to what `pg_stat_activity` keeps.
pub(crate) fn application_name(purpose: &str) -> String {
    format!("crossfade {purpose}").chars().take(63).collect()
}

/// The startup packet's `options`: the user's own first, so that ours win. They
/// also win over `ALTER ROLE … SET` and `ALTER DATABASE … SET`.
pub(crate) fn options(info: &ConnInfo, limits: Option<SessionLimits>) -> String {
    let mut text = info.options.clone();
    let mut put = |name: &str, value: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        // A blank would end the value.
        let value = value.replace(' ', "\\ ");
        text.push_str(&format!("-c {name}={value}"));
    };
    for (name, value) in PINNED.iter().chain(TRANSACTIONS) {
        put(name, value);
    }
    put("idle_session_timeout", "0");
    if let Some(limits) = limits {
        for (name, limit) in [
            ("lock_timeout", limits.lock),
            ("statement_timeout", limits.statement),
            (
                "idle_in_transaction_session_timeout",
                limits.idle_in_transaction,
            ),
        ] {
            // Zero means "none" to the server: a limit below 1 ms is 1 ms.
            let milliseconds = limit.map_or(0, |limit| limit.as_millis().max(1));
            put(name, &milliseconds.min(i32::MAX as u128).to_string());
        }
    }
    text
}

pub(crate) fn timed_out(info: &ConnInfo) -> Error {
    Error::new(
        Kind::Connection,
        format!(
            "{info}: no session within {} s",
            info.connect_timeout.as_secs()
        ),
    )
    .remedy("check host, port and firewalls; connect_timeout=… allows more seconds")
}

fn explain(info: &ConnInfo, error: tokio_postgres::Error) -> Error {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inside = inner
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
        if let Some(tls) = inside.or_else(|| inner.downcast_ref()) {
            return tls::explain(info, tls);
        }
        cause = inner.source();
    }
    let error = Error::from(error);
    if error.message.contains("does not support TLS") {
        return tls::not_offered(info);
    }
    refused(info, error)
}

/// Names the server in a failed login and says what to do about it.
pub(crate) fn refused(info: &ConnInfo, mut error: Error) -> Error {
    let no_password = error.message.contains("password missing");
    let remedy = match error.sqlstate.as_deref() {
        Some("28P01") => {
            "check user and password (URL, PGPASSWORD, password file); the server's log says which did not match"
        }
        Some("28000") => {
            "check that the role exists and may log in, and that the server's pg_hba.conf has a line for this user, database and address"
        }
        Some("3D000") => {
            error.kind = Kind::Config;
            "check the database's name in the connection string"
        }
        Some("53300") => "raise max_connections or close idle sessions",
        Some("57P03") => "wait until the server has started",
        _ if no_password => {
            error.kind = Kind::Privilege;
            "give a password in the URL, in PGPASSWORD or in ~/.pgpass (mode 0600)"
        }
        _ if error.message.contains("channel binding") => {
            error.kind = Kind::Precondition;
            "use TLS and SCRAM at the server, or channel_binding=prefer"
        }
        None if error.kind == Kind::Connection => {
            "check that the server is up and listens on this host and port"
        }
        _ => return named(info, error),
    };
    named(info, error).remedy(remedy)
}

fn named(info: &ConnInfo, error: Error) -> Error {
    if error.message.starts_with(&info.display()) {
        return error;
    }
    error.context(format!("cannot connect to {info}"))
}
