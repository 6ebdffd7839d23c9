//! A copier: takes chunks from the queue until none is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::chunk::{self, Copied, Outcome};
use super::planner::{Queue, Work};
use super::sizing::Sizing;
use super::slow;
use super::throttle::Throttle;
use crate::apply::Stats;
use crate::config::Live;
use crate::error::{Error, Kind, Result, Retry};
use crate::failpoint;
use crate::metrics::table;
use crate::pg::{ConnInfo, Lsn, slot};
use crate::state::ChunkTable;
use crate::transform::Plan;
use crate::write::session::Durability;
use crate::write::{CopyBarrier, Session};

/// Tries of one chunk before it is left for a later round.
const TRIES: u32 = 5;
/// How long a violation waits for the applier before the chunk is tried again.
const APPLIER: Duration = Duration::from_secs(30);

/// What a copier works with.
#[derive(Clone)]
pub struct Setup {
    pub conninfo: ConnInfo,
    pub sources: Vec<(Arc<Plan>, ChunkTable)>,
    pub queue: Queue,
    pub throttle: Throttle,
    pub barrier: CopyBarrier,
    pub stats: Arc<Stats>,
    /// Sleep and chunk size as they are set now.
    pub settings: watch::Receiver<Live>,
    pub sizing: Arc<Sizing>,
    pub stop: watch::Receiver<bool>,
}

/// Why a copier has ended its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// No work is left, or the daemon stops.
    Over,
    /// Fewer copiers are wanted than there are.
    Surplus,
}

pub struct Worker {
    setup: Setup,
    /// Among the copiers, from 1.
    number: u32,
    session: Session,
}

impl Worker {
    /// # Errors
    /// Connection errors.
    pub async fn new(setup: Setup, number: u32) -> Result<Self> {
        let purpose = format!("copy {number}");
        let session = Session::open(&setup.conninfo, &purpose, Durability::Off).await?;
        Ok(Self {
            setup,
            number,
            session,
        })
    }

    /// Copies until the queue ends, `stop` turns true, or fewer copiers are wanted; a
    /// chunk that was begun is finished first.
    ///
    /// # Errors
    /// What trying again on this connection cannot mend; the chunk stays pending.
    pub async fn run(&mut self) -> Result<Leave> {
        let mut worked = Duration::ZERO;
        let mut settings = self.setup.settings.clone();
        loop {
            let workers = settings.borrow_and_update().copy.workers;
            if self.number > workers {
                return Ok(Leave::Surplus);
            }
            self.setup.throttle.of_copier(self.number, workers);
            let mut stop = self.setup.stop.clone();
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return Ok(Leave::Over),
                () = self.setup.queue.ended() => return Ok(Leave::Over),
                // Among more or fewer of them, this one's share is another.
                () = changed(&mut settings, |live| live.copy.workers != workers) => continue,
                () = self.setup.throttle.pass(worked) => {}
            }
            let work = tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return Ok(Leave::Over),
                () = changed(&mut settings, |live| live.copy.workers != workers) => continue,
                work = self.setup.queue.next() => work,
            };
            let Some(work) = work else {
                return Ok(Leave::Over);
            };
            let began = Instant::now();
            self.work(&work).await?;
            worked = began.elapsed();
            tokio::select! {
                _ = stop.wait_for(|s| *s) => return Ok(Leave::Over),
                () = rest(&mut settings) => {}
            }
        }
    }

    async fn work(&mut self, work: &Work) -> Result<()> {
        let (plan, chunks) = self.setup.sources[work.source].clone();
        let mut violations = 0;
        for _ in 0..TRIES {
            let started = Instant::now();
            // From before the claim until after the release: see `CopyBarrier`.
            let copying = self.setup.barrier.copying().await;
            let outcome = self.claimed(&plan, &chunks, work, violations > 1).await;
            drop(copying);
            match outcome {
                Ok(Outcome::Copied(copied)) => {
                    table::COPY_CHUNKS_TOTAL.add(1);
                    table::COPY_ROWS_TOTAL.add(u64::try_from(copied.rows).unwrap_or(0));
                    table::COPY_CHUNK_SECONDS.record(started.elapsed().as_secs_f64());
                    let copy = &self.setup.settings.borrow().copy;
                    self.setup.sizing.saw(copy, copied, started.elapsed());
                    return Ok(());
                }
                Ok(Outcome::NotOurs) => return Ok(()),
                // A unique value that another row holds may be freed by a change in
                // the stream that our snapshot has seen and the applier has not.
                Err(e) if e.is_sqlstate("23505") || e.is_sqlstate("23P01") => {
                    violations += 1;
                    self.wait_for_applier().await?;
                }
                Err(e) if e.is_bad_row() => violations = 2,
                Err(e) if e.retry() == Retry::Soon => {
                    table::RETRIES_TOTAL.add_for("soon", 1);
                    tracing::debug!(error = %e, chunk = work.chunk.id, "chunk tried again");
                }
                Err(e) => return Err(e.context(format!("copying a chunk of {}", plan.source.name))),
            }
        }
        Ok(())
    }

    async fn claimed(
        &mut self,
        plan: &Arc<Plan>,
        chunks: &ChunkTable,
        work: &Work,
        one_by_one: bool,
    ) -> Result<Outcome> {
        let early = failpoint::omitted("claim_before_snapshot");
        if early {
            // The mutant: a snapshot exists before the claim.
            chunk::begin(&self.session, plan).await?;
            self.session
                .client
                .query_one("select pg_current_snapshot()::text", &[])
                .await?;
        }
        failpoint::hit("copy.before_claim").await;
        if !chunk::claim(&self.session, chunks, work.chunk.id).await? {
            return Ok(Outcome::NotOurs);
        }
        failpoint::hit("copy.after_claim").await;
        let done = if one_by_one {
            slow::copy(&mut self.session, plan, chunks, &work.chunk).await.map(|(rows, bad)| {
                if bad > 0 {
                    tracing::warn!(rows = bad, table = %plan.source.name, "rows went to quarantine");
                }
                Copied { rows, bytes: None }
            })
        } else {
            let measured = self.setup.sizing.adapts();
            chunk::copy(&mut self.session, plan, chunks, &work.chunk, measured).await
        };
        chunk::release(&self.session, chunks, work.chunk.id).await?;
        Ok(Outcome::Copied(done?))
    }

    /// Waits until the applier has passed the present end of the log.
    async fn wait_for_applier(&self) -> Result<()> {
        failpoint::hit("copy.waits_for_applier").await;
        let row = self
            .session
            .client
            .query_one("select pg_current_wal_insert_lsn()", &[])
            .await?;
        let end: Lsn = row.get::<_, tokio_postgres::types::PgLsn>(0).into();
        // So that the applier's position gets there soon.
        slot::mark(&self.session.client).await?;
        let since = Instant::now();
        let mut stop = self.setup.stop.clone();
        while self.setup.stats.applied() < end && since.elapsed() < APPLIER {
            if *stop.borrow_and_update() {
                return Err(Error::new(
                    Kind::Contention,
                    "stopped while waiting for the applier",
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Returns when the settings are as `wanted`. Their sender's end means that the daemon
/// ends: its stop signal ends whoever waits here.
pub async fn changed(settings: &mut watch::Receiver<Live>, wanted: impl Fn(&Live) -> bool) {
    if settings.wait_for(|live| wanted(live)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The pause after a chunk; one that is shortened while it lasts ends when the shorter one
/// would have.
async fn rest(settings: &mut watch::Receiver<Live>) {
    let began = Instant::now();
    loop {
        let sleep_ms = settings.borrow_and_update().copy.sleep_ms;
        let left = Duration::from_millis(sleep_ms).saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = changed(settings, |live| live.copy.sleep_ms != sleep_ms) => {}
            () = tokio::time::sleep(left) => return,
        }
    }
}
