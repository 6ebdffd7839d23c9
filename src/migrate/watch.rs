//! Who is in the way of a statement, and who waits behind it; seen from another session.
//! Never a query's text, which may hold values.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};

/// How often the server is asked while a statement runs.
const EVERY: Duration = Duration::from_millis(50);
/// Nobody reads more of them.
const MOST: usize = 5;

/// A session in the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocker {
    /// 0 for a prepared transaction.
    pub pid: i32,
    pub user: String,
    pub application: String,
    pub state: String,
    pub seconds: Option<f64>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction (pg_prepared_xacts)");
        }
        write!(f, "pid {}", self.pid)?;
        for word in [&self.user, &self.application, &self.state] {
            if !word.is_empty() {
                write!(f, ", {word}")?;
            }
        }
        if let Some(seconds) = self.seconds {
            write!(f, ", transaction for {seconds:.1} s")?;
        }
        Ok(())
    }
}

/// The sessions that wait for locks of the statement, held or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Queue {
    pub sessions: i64,
    /// Of the one that waits longest.
    pub seconds: f64,
}

/// What was seen while a statement ran.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub blockers: Vec<Blocker>,
    /// The most that waited at once, and the longest that one of them did.
    pub behind: Queue,
}

impl Seen {
    /// The blockers in words.
    #[must_use]
    pub fn blockers(&self) -> String {
        let list: Vec<String> = self.blockers.iter().map(ToString::to_string).collect();
        list.join("; ")
    }
}

/// The second session of a run.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    pid: i32,
}

impl Watcher {
    #[must_use]
    pub fn new(client: Client, pid: i32) -> Self {
        Self { client, pid }
    }

    /// Runs `work`, which is a statement of the watched session, and looks around
    /// meanwhile. When others have waited for longer than `max_stall`, the statement is
    /// cancelled. `blocked` is told of the first look that found somebody in the way.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Contention`] when it was cancelled.
    pub async fn during<T>(
        &self,
        max_stall: Duration,
        blocked: &mut (dyn FnMut(&Seen) + Send),
        work: impl Future<Output = Result<T>>,
    ) -> (Result<T>, Seen) {
        let mut seen = Seen::default();
        let mut cancelled = None;
        let mut told = false;
        let mut work = std::pin::pin!(work);
        let begun = Instant::now();
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        every.tick().await;
        let result = loop {
            // A look is let finish: a session in the middle of an answer cannot be asked
            // again.
            tokio::select! {
                biased;
                result = &mut work => break result,
                _ = every.tick() => {}
            }
            let look = self.look();
            let mut look = std::pin::pin!(look);
            let outcome = tokio::select! {
                biased;
                found = &mut look => Err(found),
                result = &mut work => Ok(result),
            };
            let found = match outcome {
                Ok(result) => break result,
                Err(found) => found,
            };
            let Ok((blockers, behind)) = found else {
                // To see is a courtesy; the statement does not fail for want of it.
                continue;
            };
            if !blockers.is_empty() {
                seen.blockers = blockers;
            }
            seen.behind.sessions = seen.behind.sessions.max(behind.sessions);
            seen.behind.seconds = seen.behind.seconds.max(behind.seconds);
            if !told && !seen.blockers.is_empty() {
                told = true;
                blocked(&seen);
            }
            if cancelled.is_none() && behind.seconds > max_stall.as_secs_f64() {
                cancelled = Some(behind);
                let _ = self
                    .client
                    .execute("select pg_cancel_backend($1)", &[&self.pid])
                    .await;
            }
        };
        let result = match (result, cancelled) {
            (Err(e), Some(behind)) if e.is_sqlstate("57014") => Err(Error::new(
                Kind::Contention,
                format!(
                    "cancelled after {:.1} s: {} sessions waited for its locks, one of them {:.1} s",
                    begun.elapsed().as_secs_f64(),
                    behind.sessions,
                    behind.seconds
                ),
            )
            .remedy("`crossfade migrate lint` says how to hold weaker or shorter locks; --max-stall allows more")),
            (result, _) => result,
        };
        (result, seen)
    }

    /// One look at both sides.
    async fn look(&self) -> Result<(Vec<Blocker>, Queue)> {
        let rows = self
            .client
            .query(
                "select b.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
                        coalesce(nullif(a.backend_type, 'client backend'), a.state, ''),
                        extract(epoch from clock_timestamp() - a.xact_start)::float8
                 from (select distinct unnest(pg_catalog.pg_blocking_pids($1))) b (pid)
                 left join pg_catalog.pg_stat_activity a on a.pid = b.pid
                 order by a.xact_start limit $2",
                &[&self.pid, &i64::try_from(MOST).unwrap_or(i64::MAX)],
            )
            .await?;
        let blockers = rows
            .iter()
            .map(|row| Blocker {
                pid: row.get(0),
                user: row.get(1),
                application: row.get(2),
                state: row.get(3),
                seconds: row.get(4),
            })
            .collect();
        let row = self
            .client
            .query_one(
                "select count(*), coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0)::float8
                 from (select pid, min(waitstart) as waitstart from pg_catalog.pg_locks
                       where not granted and pid <> $1 group by pid) w
                 where $1 = any (pg_catalog.pg_blocking_pids(pid))",
                &[&self.pid],
            )
            .await?;
        let behind = Queue {
            sessions: row.get(0),
            seconds: row.get(1),
        };
        Ok((blockers, behind))
    }
}
