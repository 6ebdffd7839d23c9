//! The sessions of a run: one that works and holds the chain's lock, one that watches.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::watch::Watcher;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{ConnInfo, SessionLimits, connect_with};

/// The first number of the advisory locks of migrations; the second is the chain's.
pub const LOCK_CLASS: i32 = 0x6372_666d;

/// How often a run that waits for another one looks again. It asks in short statements:
/// a session that waits inside of one holds a snapshot, and CREATE INDEX CONCURRENTLY of
/// the other run would wait for it in turn, for ever.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a run waits for another.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How statements are run and when they are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a statement may wait for a lock; everybody else queues behind it.
    pub lock_timeout: Duration,
    /// How often a file or step is tried when a lock cannot be had.
    pub attempts: u32,
    /// How long others may wait for a lock that a statement holds before it is cancelled.
    pub max_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(1),
            attempts: 20,
            max_stall: Duration::from_secs(10),
        }
    }
}

/// An open run.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    pub watcher: Watcher,
    pub limits: Limits,
}

impl Session {
    /// Connects both sessions.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn open(info: &ConnInfo, limits: Limits) -> Result<Self> {
        let session = SessionLimits {
            lock: Some(limits.lock_timeout),
            statement: None,
            idle_in_transaction: Some(Duration::from_secs(300)),
        };
        let client = connect_with(info, "migrate", session).await?;
        let pid = client
            .query_one("select pg_backend_pid()", &[])
            .await?
            .get(0);
        let watching = connect_with(info, "migrate watch", SessionLimits::default()).await?;
        let session = Self {
            client,
            watcher: Watcher::new(watching, pid),
            limits,
        };
        session.reset().await?;
        Ok(session)
    }

    /// The session's settings as they were at first, whatever a script has SET.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn reset(&self) -> Result<()> {
        self.client.batch_execute("reset all").await?;
        // A statement of a run that was killed ends soon then, and with it the lock. Not
        // every platform can see a closed connection.
        let watch = "set client_connection_check_interval = '2s'";
        match self.client.batch_execute(watch).await.map_err(Error::from) {
            Err(e) if !e.is_sqlstate("22023") => Err(e),
            _ => Ok(()),
        }
    }

    /// Takes the chain's lock, which ends with the session. While another run has it,
    /// `waiting` is told who, once.
    ///
    /// # Errors
    /// [`Kind::Ownership`] after an hour; connection errors.
    pub async fn lock(&self, chain: &str, waiting: &mut (dyn FnMut(String) + Send)) -> Result<()> {
        let since = Instant::now();
        let mut told = false;
        loop {
            let row = self
                .client
                .query_one(
                    "select pg_try_advisory_lock($1, hashtext($2))",
                    &[&LOCK_CLASS, &chain],
                )
                .await
                .context("taking the lock of the migrations")?;
            if row.get(0) {
                return Ok(());
            }
            if !told || since.elapsed() > PATIENCE {
                let holder = self.holder(chain).await?;
                if since.elapsed() > PATIENCE {
                    return Err(Error::new(
                        Kind::Ownership,
                        format!("another run has the lock since an hour: {holder}"),
                    )
                    .remedy("let it finish, or end that session with pg_terminate_backend"));
                }
                waiting(holder);
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn holder(&self, chain: &str) -> Result<String> {
        let row = self
            .client
            .query_opt(
                "select format('pid %s, user %s, %s, since %s s', a.pid, a.usename,
                               coalesce(host(a.client_addr), 'local'),
                               round(extract(epoch from clock_timestamp() - a.backend_start)))
                 from pg_locks l join pg_stat_activity a on a.pid = l.pid
                 where l.locktype = 'advisory' and l.granted and l.objsubid = 2
                   and l.classid::bigint = $1::bigint and l.objid::bigint = hashtext($2)::bigint & 4294967295
                   and l.database = (select oid from pg_database where datname = current_database())",
                &[&i64::from(LOCK_CLASS), &chain],
            )
            .await?;
        Ok(row.map_or_else(|| "a session that has just ended".to_owned(), |r| r.get(0)))
    }
}
