//! Runs the script of one migration, one way, and writes it down.
//!
//! A script in a transaction and its line in the history commit together. Of a script
//! without one each step commits together with the note that it is done; what
//! PostgreSQL refuses in a transaction is noted before and after, and an interrupted one
//! is looked up in the catalog. So a run that is killed at any point goes on where it
//! stopped, and nothing is done twice.

mod measure;
mod steps;
mod vacuum;

use std::time::{Duration, Instant};

use super::event::{Event, Observer};
use super::facts::Facts;
use super::folder::Migration;
use super::history::{self, Direction, History, State};
use super::lock;
use super::script::Script;
use super::session::Session;
use super::syntax::byte_of;
use super::watch::Seen;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::pg::ident::literal;
use crate::sql::Statement;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One migration, one way.
pub struct Run<'a> {
    pub session: &'a Session,
    pub history: &'a History,
    pub migration: &'a Migration,
    pub direction: Direction,
    pub script: &'a Script,
    /// Names given with `--accept`, for the log.
    pub accepted: &'a [String],
    /// Whether the locks of each statement are looked at, for a [`Trace`](super::trace::Trace).
    pub traced: bool,
}

/// A failed attempt, and what was seen meanwhile.
struct Failed {
    error: Error,
    seen: Seen,
}

/// How often something was tried.
struct Attempts {
    /// Of the one that is made now.
    number: u32,
    /// Who was in the way when that was seen last: an attempt can end before anybody has
    /// looked.
    blockers: String,
    /// Tables that autovacuum worked on when it was in the way.
    vacuumed: Vec<String>,
}

impl Attempts {
    fn first() -> Self {
        Self {
            number: 1,
            blockers: String::new(),
            vacuumed: Vec::new(),
        }
    }
}

impl Run<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// The server's error, with file, line and caret; [`Kind::Contention`] when a lock
    /// could not be had in all attempts. What is committed stays committed, and the next
    /// run goes on from there.
    pub async fn go(&self, observer: Observer<'_>) -> Result<()> {
        let since = Instant::now();
        let outcome = if self.script.in_transaction {
            self.transaction(observer).await
        } else {
            self.steps(observer).await
        };
        if let Err(error) = outcome {
            self.note_failure(since, &error).await;
            return Err(error);
        }
        // What a script has SET is not for the next one.
        self.session.reset().await?;
        observer(Event::FileDone {
            migration: self.migration,
            direction: self.direction,
            took: since.elapsed(),
        });
        Ok(())
    }

    /// A failure is worth a line in the log, but not a second error.
    async fn note_failure(&self, since: Instant, error: &Error) {
        let first = error.message.lines().next().unwrap_or_default();
        let event = history::Event {
            outcome: "failed",
            note: Some(first),
            ..self.event(since)
        };
        let client = &self.session.client;
        let logged = async {
            client.batch_execute("rollback").await?;
            self.session.reset().await?;
            self.log(&event).await
        };
        if let Err(e) = logged.await {
            tracing::debug!("the failure could not be written down: {e}");
        }
    }

    fn event(&self, since: Instant) -> history::Event<'_> {
        history::Event {
            direction: self.direction.name(),
            outcome: "done",
            duration_ms: milliseconds(since.elapsed()),
            statements: i32::try_from(self.script.statements().count()).unwrap_or(i32::MAX),
            accepted: self.accepted,
            note: None,
        }
    }

    async fn log(&self, event: &history::Event<'_>) -> Result<()> {
        let (number, name) = (self.migration.number, &self.migration.name);
        self.history
            .log(&self.session.client, number, name, Some(self.script), event)
            .await
    }

    /// The last entry: in the transaction of the script, or in one of its own.
    async fn settle(&self, since: Instant) -> Result<()> {
        let client = &self.session.client;
        match self.direction {
            Direction::Up => {
                let took = Some(milliseconds(since.elapsed()));
                self.history
                    .put(client, self.migration, State::Applied, took)
                    .await?;
                self.history
                    .clear_steps(client, self.migration.number)
                    .await?;
            }
            Direction::Down => self.history.forget(client, self.migration.number).await?,
        }
        self.log(&self.event(since)).await
    }

    async fn transaction(&self, observer: Observer<'_>) -> Result<()> {
        observer(Event::File {
            migration: self.migration,
            direction: self.direction,
            in_transaction: true,
            done: 0,
        });
        let since = Instant::now();
        let statements = self.with_locks(self.script.statements()).await;
        let mut attempts = Attempts::first();
        loop {
            let note = async || self.settle(since).await;
            match self.attempt(&statements, &attempts, observer, note).await {
                Ok(()) => return Ok(()),
                Err(failed) => self.again(failed, &mut attempts, observer).await?,
            }
        }
    }

    /// BEGIN, the statements, what `note` writes, COMMIT.
    async fn attempt(
        &self,
        statements: &[(&Statement, Vec<lock::Lock>)],
        attempts: &Attempts,
        observer: Observer<'_>,
        note: impl AsyncFn() -> Result<()>,
    ) -> Result<(), Failed> {
        let client = &self.session.client;
        let plain = |error: Error| Failed {
            error,
            seen: Seen::default(),
        };
        self.look_before(observer).await.map_err(plain)?;
        let timeout = self.session.limits.lock_timeout.as_millis().to_string();
        let begin = format!("begin; set local lock_timeout = {}", literal(&timeout));
        client
            .batch_execute(&begin)
            .await
            .map_err(|e| plain(e.into()))?;
        self.displace(attempts).await.map_err(plain)?;
        let max_stall = self.session.limits.max_stall;
        for (at, (statement, locks)) in statements.iter().enumerate() {
            failpoint::hit(&format!("migrate.statement.{}", at + 1)).await;
            observer(Event::Statement { statement, locks });
            self.statement(statement, max_stall, observer).await?;
            self.look_inside(statement, locks, observer)
                .await
                .map_err(plain)?;
        }
        note().await.map_err(plain)?;
        failpoint::hit("migrate.before_commit").await;
        client
            .batch_execute("commit")
            .await
            .map_err(|e| plain(Error::from(e).context("commit")))?;
        failpoint::hit("migrate.after_commit").await;
        Ok(())
    }

    /// Statements with their locks, looked up before any transaction begins: the look
    /// itself must not hold or wait for anything in it. It only informs.
    async fn with_locks<'s>(
        &self,
        statements: impl Iterator<Item = &'s Statement>,
    ) -> Vec<(&'s Statement, Vec<lock::Lock>)> {
        let statements: Vec<&Statement> = statements.collect();
        let facts = Facts::gather(&self.session.client, statements.iter().copied()).await;
        let facts = facts.unwrap_or_default();
        statements
            .into_iter()
            .map(|s| (s, lock::locks(s, &facts)))
            .collect()
    }

    /// One statement, watched.
    async fn statement(
        &self,
        statement: &Statement,
        max_stall: Duration,
        observer: Observer<'_>,
    ) -> Result<(), Failed> {
        let since = Instant::now();
        let work = async {
            self.session
                .client
                .batch_execute(&statement.text)
                .await
                .map_err(|e| explain(self.script, statement, e))
        };
        let (result, seen) = self
            .session
            .watcher
            .during(
                max_stall,
                &mut |seen| observer(Event::Blocked { seen }),
                work,
            )
            .await;
        match result {
            Ok(()) => {
                observer(Event::StatementDone {
                    statement,
                    took: since.elapsed(),
                    seen: &seen,
                });
                Ok(())
            }
            Err(error) => Err(Failed { error, seen }),
        }
    }

    /// Undoes a failed attempt; returns where another one may help.
    async fn again(
        &self,
        failed: Failed,
        attempts: &mut Attempts,
        observer: Observer<'_>,
    ) -> Result<()> {
        let Failed { error, seen } = failed;
        // The last is how PostgreSQL says that two sessions change one row of the catalog, a
        // GRANT beside another one, say.
        let retry = ["55P03", "40P01", "40001"]
            .iter()
            .any(|c| error.is_sqlstate(c))
            || error.is_sqlstate("XX000") && error.message.contains("tuple concurrently");
        if !retry {
            return Err(error);
        }
        self.session.client.batch_execute("rollback").await?;
        let of = self.session.limits.attempts;
        if !seen.blockers.is_empty() {
            attempts.blockers = seen.blockers();
            attempts.vacuumed = self.vacuumed(&seen).await?;
        }
        if attempts.number >= of {
            let who = match attempts.blockers.as_str() {
                "" => String::new(),
                who => format!("; last in the way: {who}"),
            };
            return Err(Error::new(
                Kind::Contention,
                format!("{}\ngiven up after {of} attempts{who}", error.message),
            )
            .remedy("end what is in the way, or run it again at a quieter time; --attempts and --lock-timeout allow more"));
        }
        let pause = pause(attempts.number);
        observer(Event::Retry {
            attempt: attempts.number,
            of,
            pause,
            seen: &seen,
        });
        tokio::time::sleep(pause).await;
        attempts.number += 1;
        Ok(())
    }
}

/// Doubles from 100 ms, and spreads by a half so that two who collide part.
fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(100) * 2u32.saturating_pow(attempt.min(8) - 1);
    base.min(LONGEST_PAUSE)
        .mul_f64(0.75 + fastrand::f64() / 2.0)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The server's error at its place in the file.
#[must_use]
pub fn explain(script: &Script, statement: &Statement, e: tokio_postgres::Error) -> Error {
    let offset = match e.as_db_error().and_then(|db| db.position()) {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => byte_of(&statement.text, *at),
        _ => 0,
    };
    let server = Error::from(e);
    let mut error = script.error(statement.range.start + offset, &server.message);
    error.kind = server.kind;
    error.sqlstate = server.sqlstate;
    error.remedy = server.remedy.or_else(|| {
        Some(
            "correct the file and run `crossfade migrate up` again: it goes on from here"
                .to_owned(),
        )
    });
    error
}
