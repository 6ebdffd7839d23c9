//! The reverse applier: one task that follows the targets' changes and rebuilds the
//! old table's rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::Client;

use super::touched::{Collector, Touched};
use crate::apply::Stats;
use crate::apply::batch::End;
use crate::apply::pump::{Sink, pump};
use crate::error::Result;
use crate::failpoint;
use crate::metrics::table;
use crate::pg::{ConnInfo, Lsn, connect};
use crate::state::ChunkTable;
use crate::state::checkpoint::{self, Advance, Leg};
use crate::transform::Plan;
use crate::wal::pgoutput::Message;
use crate::wal::reader::{Event, Frame, Stream};
use crate::write::Session;
use crate::write::session::Durability;

/// A batch ends at the first transaction end beyond this many changes, or bytes of
/// keys; a larger transaction is written in pieces of this size.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 4 << 20;
/// A transaction is cut only when it has become this many times larger.
const CUT: usize = 4;
/// How often an idle stream's position is written to the checkpoint.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(1);
/// How often rows that were set aside are tried again.
const RETRY_SET_ASIDE: Duration = Duration::from_secs(1);

/// What a reverse applier needs to begin.
pub struct Setup {
    pub conninfo: ConnInfo,
    pub migration: i32,
    /// Of the replication origin that crossfade's own writes carry.
    pub origin: String,
    pub checkpoint: Lsn,
    pub sources: Vec<(Arc<Plan>, ChunkTable)>,
    pub stats: Arc<Stats>,
}

/// Applies one stream until it ends, fails, or is asked to stop.
pub struct Applier {
    pub(super) session: Session,
    /// For snapshots of the release gate.
    pub(super) gate: Client,
    pub(super) migration: i32,
    pub(super) sources: Vec<(Arc<Plan>, ChunkTable)>,
    pub(super) stats: Arc<Stats>,
    collector: Collector,
    /// Committed.
    pub(super) checkpoint: Lsn,
    idle_since: Instant,
    retried: Instant,
}

impl Applier {
    /// # Errors
    /// Connection errors.
    pub async fn new(setup: Setup) -> Result<Self> {
        let session = Session::open(&setup.conninfo, "apply back", Durability::Local).await?;
        session.mark_origin(&setup.origin).await?;
        let gate = connect(&setup.conninfo, "apply back gate").await?;
        // It reads tables that a switch may hold, which in its turn waits for this applier.
        gate.batch_execute("set lock_timeout = '200ms'").await?;
        let plans = setup.sources.iter().map(|(plan, _)| plan.clone()).collect();
        setup.stats.set_applied(setup.checkpoint);
        Ok(Self {
            session,
            gate,
            migration: setup.migration,
            sources: setup.sources,
            stats: setup.stats,
            collector: Collector::new(plans, setup.origin, setup.checkpoint),
            checkpoint: setup.checkpoint,
            idle_since: Instant::now(),
            retried: Instant::now(),
        })
    }

    /// Runs until `stop` turns true.
    ///
    /// # Errors
    /// The stream's or a database's error. Nothing that was confirmed is lost, and a
    /// new applier goes on from the stored checkpoint.
    pub async fn run(&mut self, stream: &mut Stream, stop: watch::Receiver<bool>) -> Result<()> {
        pump(self, stream, stop).await
    }
}

impl Sink for Applier {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn in_transaction(&self) -> bool {
        self.collector.in_transaction()
    }

    fn lingers(&self) -> bool {
        let batch = &self.collector.batch;
        !self.collector.in_transaction() && !batch.is_empty() && !batch.urgent
    }

    async fn on_frame(&mut self, frame: Frame, last: bool, stream: &Stream) -> Result<()> {
        match frame.event {
            Event::Message(message) => {
                // Whether it has an origin comes after its beginning.
                if !matches!(message, Message::Begin(_) | Message::Origin { .. })
                    && let Some(time) = self.collector.commit_time()
                {
                    self.stats.received(time);
                }
                self.collector.on(message)?;
                let times = if self.collector.in_transaction() {
                    CUT
                } else {
                    1
                };
                let batch = &self.collector.batch;
                if batch.rows >= times * BATCH_ROWS || batch.bytes >= times * BATCH_BYTES {
                    self.flush(stream).await?;
                }
                Ok(())
            }
            Event::Keepalive if last => self.keepalive(frame.wal_end, stream).await,
            Event::Keepalive => Ok(()),
        }
    }

    async fn drained(&mut self, stream: &Stream) -> Result<()> {
        if self.collector.in_transaction() {
            return Ok(());
        }
        let batch = &self.collector.batch;
        if !batch.is_empty() || batch.urgent {
            self.flush(stream).await?;
        }
        self.stats.caught_up();
        Ok(())
    }

    async fn idle(&mut self, stream: &Stream) -> Result<()> {
        if self.collector.in_transaction() {
            return Ok(());
        }
        if self.collector.batch.end.is_some() && self.idle_since.elapsed() >= IDLE_CHECKPOINT {
            self.flush(stream).await?;
        }
        if self.retried.elapsed() >= RETRY_SET_ASIDE {
            self.retried = Instant::now();
            self.retry_set_aside().await?;
        }
        Ok(())
    }
}

impl Applier {
    /// As in the other direction: a position beyond which there is nothing for us is
    /// stored, then confirmed, so that other tables' WAL does not pin the slot.
    async fn keepalive(&mut self, wal_end: Lsn, stream: &Stream) -> Result<()> {
        self.drained(stream).await?;
        if !self.collector.in_transaction()
            && wal_end > self.checkpoint
            && self.idle_since.elapsed() >= IDLE_CHECKPOINT
        {
            self.collector.take();
            let to = Advance {
                to: wal_end,
                ..Advance::default()
            };
            self.advance(&to).await?;
            self.committed(wal_end, 0);
            stream.confirm(wal_end);
        }
        Ok(())
    }

    pub(super) async fn advance(&self, by: &Advance) -> Result<()> {
        checkpoint::advance(
            &self.session.client,
            self.migration,
            Leg::Reverse,
            self.checkpoint,
            by,
        )
        .await
    }

    fn committed(&mut self, lsn: Lsn, rows: usize) {
        self.checkpoint = lsn;
        self.idle_since = Instant::now();
        self.stats.set_applied(lsn);
        self.stats.add_rows(rows);
    }

    /// Writes the batch. The checkpoint moves when it ends at a transaction's end; a
    /// piece of a transaction is committed without: it rebuilds rows from what is
    /// committed, so that nothing is half there, and it comes again after a crash.
    async fn flush(&mut self, stream: &Stream) -> Result<()> {
        let batch = self.collector.take();
        let started = Instant::now();
        let (rows, end, transactions) = (batch.rows, batch.end, batch.transactions);
        let partial = self.collector.in_transaction();
        let by = match end {
            // What ended before the piece's transaction is covered by the same rows.
            Some(End { lsn, time }) if !partial => Some(Advance {
                to: lsn,
                commit_time: time,
                rows: i64::try_from(rows).unwrap_or(i64::MAX),
                transactions: i64::try_from(transactions).unwrap_or(i64::MAX),
            }),
            _ => None,
        };
        self.write_batch(batch, by.as_ref()).await?;
        let Some(by) = by else {
            self.collector.batch = Touched {
                end,
                transactions,
                // Its end is written when it comes, even if it touches nothing more.
                urgent: true,
                ..Touched::default()
            };
            return Ok(());
        };
        failpoint::hit("reverse.committed").await;
        self.committed(by.to, rows);
        self.stats.committed(by.commit_time);
        stream.confirm(by.to);
        table::APPLY_BATCH_SECONDS.record(started.elapsed().as_secs_f64());
        table::APPLY_TRANSACTIONS_TOTAL.add(transactions as u64);
        Ok(())
    }
}
