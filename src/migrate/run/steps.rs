//! A script whose steps each commit on their own, and go on where they stopped.

use std::time::{Duration, Instant};

use super::{Attempts, Failed, Run};
use crate::error::{Kind, Result};
use crate::failpoint;
use crate::migrate::batch::Batch;
use crate::migrate::event::{Event, Observer};
use crate::migrate::history::{Direction, State, StepRecord, conflict};
use crate::migrate::lock;
use crate::migrate::recover::{self, Fate};
use crate::migrate::script::Step;
use crate::migrate::walk::Walk;
use crate::pg::standby::Standbys;
use crate::sql::Statement;

/// How often standbys are looked at while one is waited for.
const STANDBYS_EVERY: Duration = Duration::from_millis(250);

impl Run<'_> {
    pub(super) async fn steps(&self, observer: Observer<'_>) -> Result<()> {
        let since = Instant::now();
        let client = &self.session.client;
        let number = self.migration.number;
        let done = self.history.steps(client, number, self.direction).await?;
        self.unchanged(&done)?;
        observer(Event::File {
            migration: self.migration,
            direction: self.direction,
            in_transaction: false,
            done: done.iter().filter(|s| s.done).count(),
        });
        match self.direction {
            // The text is that of this run: what remains of a file may be corrected.
            Direction::Up => {
                let state = State::Halfway(Direction::Up);
                self.history
                    .put(client, self.migration, state, None)
                    .await?;
            }
            Direction::Down => {
                let state = State::Halfway(Direction::Down);
                self.history.mark(client, number, state).await?;
            }
        }
        for (at, step) in self.script.steps.iter().enumerate() {
            let known = done.iter().find(|s| usize::try_from(s.step) == Ok(at));
            if known.is_some_and(|s| s.done) {
                continue;
            }
            failpoint::hit(&format!("migrate.step.{}", at + 1)).await;
            self.step(at, step, known, observer).await?;
            failpoint::hit(&format!("migrate.step_done.{}", at + 1)).await;
        }
        client.batch_execute("begin").await?;
        self.settle(since).await?;
        client.batch_execute("commit").await?;
        Ok(())
    }

    /// What is done must still be what the file says; what comes after may be edited.
    fn unchanged(&self, done: &[StepRecord]) -> Result<()> {
        for record in done {
            let step = usize::try_from(record.step)
                .ok()
                .and_then(|at| self.script.steps.get(at));
            if step.is_some_and(|s| s.hash() == record.hash) {
                continue;
            }
            // A step that has not taken effect may be written anew.
            if !record.done && record.last_key.is_none() && step.is_some() {
                continue;
            }
            return Err(conflict(
                format!(
                    "{}: step {} has been run already, and the file says something else there now",
                    self.script.file,
                    record.step + 1
                ),
                "change only what comes after the steps that are done; `crossfade migrate status` shows how many are",
            ));
        }
        Ok(())
    }

    async fn step(
        &self,
        at: usize,
        step: &Step,
        known: Option<&StepRecord>,
        observer: Observer<'_>,
    ) -> Result<()> {
        match step {
            Step::Batch(statement, batch) => {
                self.batched(at, step, (statement, batch), known, observer)
                    .await
            }
            Step::One(statement) if lock::needs_no_transaction(statement) => {
                self.outside(at, step, known, observer).await
            }
            Step::One(_) | Step::Block(_) => {
                // Begun outside of a transaction before, so not inside of one now.
                if known.is_some_and(|k| k.hash == step.hash()) {
                    return self.outside(at, step, known, observer).await;
                }
                let mut attempts = Attempts::first();
                let statements = self.with_locks(step.statements().iter()).await;
                loop {
                    let note = async || self.note(at, step, true).await;
                    match self.attempt(&statements, &attempts, observer, note).await {
                        Ok(()) => return Ok(()),
                        // 25001: not in a transaction block; 2D000: it ends transactions itself.
                        Err(failed)
                            if statements.len() == 1
                                && (failed.error.is_sqlstate("25001")
                                    || failed.error.is_sqlstate("2D000")) =>
                        {
                            self.session.client.batch_execute("rollback").await?;
                            return self.outside(at, step, None, observer).await;
                        }
                        Err(failed) => self.again(failed, &mut attempts, observer).await?,
                    }
                }
            }
        }
    }

    fn record(at: usize, step: &Step, done: bool) -> StepRecord {
        StepRecord {
            step: i32::try_from(at).unwrap_or(i32::MAX),
            hash: step.hash(),
            done,
            last_key: None,
            rows: 0,
        }
    }

    async fn note(&self, at: usize, step: &Step, done: bool) -> Result<()> {
        let record = Self::record(at, step, done);
        self.history
            .put_step(
                &self.session.client,
                self.migration.number,
                self.direction,
                &record,
            )
            .await
    }

    /// A statement that PostgreSQL refuses in a transaction.
    async fn outside(
        &self,
        at: usize,
        step: &Step,
        known: Option<&StepRecord>,
        observer: Observer<'_>,
    ) -> Result<()> {
        let client = &self.session.client;
        let Some(statement) = step.statements().first() else {
            return Ok(());
        };
        recover::unlimited(client).await?;
        if known.is_some_and(|k| k.hash == step.hash()) {
            match recover::fate(client, statement).await? {
                Fate::Done => return self.note(at, step, true).await,
                Fate::Again(mended) => mended
                    .iter()
                    .for_each(|what| observer(Event::Mended { what })),
                Fate::Unknown => {
                    let label = self.migration.label();
                    return Err(recover::undecided(&label, self.migration.number, statement));
                }
            }
        }
        if let Some(what) = recover::sweep(client, statement).await? {
            observer(Event::Mended { what: &what });
        }
        let mut attempts = Attempts::first();
        loop {
            self.note(at, step, false).await?;
            failpoint::hit(&format!("migrate.begun.{}", at + 1)).await;
            let foreseen = self.foreseen(statement, observer).await;
            self.look_before(observer).await?;
            // Its locks keep no reader and no writer waiting: it may take its time.
            let Err(failed) = self.statement(statement, Duration::MAX, observer).await else {
                failpoint::hit(&format!("migrate.ran.{}", at + 1)).await;
                self.look_after(statement, &foreseen, observer).await?;
                return self.note(at, step, true).await;
            };
            // It has failed for certain: nothing of it may stay, neither the index nor
            // the note that it may have taken effect.
            let swept = recover::sweep(client, statement).await;
            if let Ok(Some(what)) = &swept {
                observer(Event::Mended { what });
            }
            if failed.error.kind != Kind::Connection {
                self.unnote(at).await?;
            }
            self.again(failed, &mut attempts, observer).await?;
        }
    }

    /// Tells of a statement that has no company, and returns the locks that it should take.
    async fn foreseen(&self, statement: &Statement, observer: Observer<'_>) -> Vec<lock::Lock> {
        let mut statements = self.with_locks(std::iter::once(statement)).await;
        let locks = statements.pop().map(|(_, locks)| locks).unwrap_or_default();
        observer(Event::Statement {
            statement,
            locks: &locks,
        });
        locks
    }

    async fn unnote(&self, at: usize) -> Result<()> {
        self.session
            .client
            .execute(
                "delete from crossfade.schema_step
                 where chain = $1 and number = $2 and direction = $3 and step = $4",
                &[
                    &self.history.chain,
                    &self.migration.number,
                    &self.direction.name(),
                    &i32::try_from(at).unwrap_or(i32::MAX),
                ],
            )
            .await?;
        Ok(())
    }

    /// Waits, in no transaction, while a standby is further behind than the batch allows:
    /// whoever reads from it would see ever older rows. One that has gone away is not
    /// waited for.
    async fn standbys(
        &self,
        standbys: &mut Standbys,
        batch: &Batch,
        observer: Observer<'_>,
    ) -> Result<()> {
        let Some(limit) = batch.lag_seconds.map(f64::from) else {
            return Ok(());
        };
        let mut told = false;
        while let Some((name, seconds)) = standbys
            .slowest(&self.session.client, 2 * STANDBYS_EVERY)
            .await?
            && seconds > limit
        {
            if !std::mem::replace(&mut told, true) {
                observer(Event::Standby {
                    name: &name,
                    seconds,
                });
            }
            tokio::time::sleep(STANDBYS_EVERY).await;
        }
        Ok(())
    }

    /// One range of keys after the other; each commits with the key that it ends at.
    async fn batched(
        &self,
        at: usize,
        step: &Step,
        (statement, batch): (&Statement, &Batch),
        known: Option<&StepRecord>,
        observer: Observer<'_>,
    ) -> Result<()> {
        let client = &self.session.client;
        let walk = Walk::begin(client, batch).await.map_err(|e| {
            self.script
                .error(statement.range.start, &e.message)
                .remedy(e.what_to_do())
        })?;
        let foreseen = self.foreseen(statement, observer).await;
        self.look_before(observer).await?;
        let since = Instant::now();
        let mut record = match known {
            Some(known) if known.hash == step.hash() => known.clone(),
            _ => Self::record(at, step, false),
        };
        let before = record.rows;
        let mut standbys = Standbys::default();
        let mut attempts = Attempts::first();
        loop {
            let mut held = None;
            let outcome = walk
                .next(self.session, statement, &mut record, async |record| {
                    held = self.held().await?;
                    self.history
                        .put_step(client, self.migration.number, self.direction, record)
                        .await
                })
                .await;
            match outcome {
                Ok(last) => {
                    if let Some(held) = &held {
                        observer(Event::Held {
                            statement,
                            foreseen: &foreseen,
                            held,
                        });
                    }
                    observer(Event::Batch {
                        step,
                        rows: record.rows,
                        total: walk.estimate,
                        elapsed: since.elapsed(),
                        own: record.rows - before,
                        last,
                    });
                    if last {
                        return Ok(());
                    }
                    attempts = Attempts::first();
                    failpoint::hit(&format!("migrate.batch.{}", at + 1)).await;
                    tokio::time::sleep(Duration::from_millis(batch.pause_ms)).await;
                    self.standbys(&mut standbys, batch, observer).await?;
                }
                Err((error, seen)) => {
                    let error = error.context(format!("{}:{}", self.script.file, statement.place));
                    self.again(Failed { error, seen }, &mut attempts, observer)
                        .await?;
                }
            }
        }
    }
}
