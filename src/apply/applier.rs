//! The applier: one task, transactions in commit order, several in one target
//! transaction.

mod aside;
mod group;
mod log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::Client;

use super::batch::Batch;
use super::collect::Collector;
use super::fencing::Fencing;
use super::pump::{Sink, pump};
use super::resolve::{Quarantined, Resolver, Write};
use super::stats::Stats;
use crate::error::Result;
use crate::failpoint;
use crate::metrics::table;
use crate::pg::{ConnInfo, Lsn, connect};
use crate::state::checkpoint::{self, Advance, Leg};
use crate::state::quarantine::{self, Entry as SetAside, Reason};
use crate::wal::pgoutput::Message as WalMessage;
use crate::wal::reader::{Event, Frame, Stream};
use crate::write::session::Durability;
use crate::write::{CopyBarrier, Rejected, Session, barrier};

/// A batch ends at the first transaction end beyond this many changes, or bytes; a
/// transaction that is being written in pieces gets them of this size.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 4 << 20;
/// A transaction is cut into pieces only when the batch has become this many times
/// larger: pieces keep the copiers waiting.
const CUT: usize = 4;
/// How often an idle stream's position is written to the checkpoint.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(1);
/// How often rows that were set aside for a while are tried again.
const RETRY_SET_ASIDE: Duration = Duration::from_secs(1);

/// What an applier needs to begin.
pub struct Setup {
    pub conninfo: ConnInfo,
    pub migration: i32,
    /// Of the replication origin that crossfade's own writes carry.
    pub origin: String,
    pub checkpoint: Lsn,
    pub fences: Vec<Fencing>,
    pub stats: Arc<Stats>,
    pub barrier: CopyBarrier,
}

/// Applies one stream until it ends, fails, or is asked to stop.
pub struct Applier {
    session: Session,
    source: Client,
    migration: i32,
    fences: Vec<Fencing>,
    stats: Arc<Stats>,
    barrier: CopyBarrier,
    collector: Collector,
    /// Committed in the target.
    checkpoint: Lsn,
    /// A target transaction that holds the first pieces of a huge one.
    open: Option<OpenTransaction>,
    idle_since: Instant,
    retried: Instant,
}

struct OpenTransaction {
    rows: usize,
    _alone: barrier::Alone,
}

impl Applier {
    /// # Errors
    /// Connection errors.
    pub async fn new(setup: Setup) -> Result<Self> {
        let session = Session::open(&setup.conninfo, "apply", Durability::Local).await?;
        session.mark_origin(&setup.origin).await?;
        let source = connect(&setup.conninfo, "apply source").await?;
        let plans = setup.fences.iter().map(|f| f.plan.clone()).collect();
        setup.stats.set_applied(setup.checkpoint);
        Ok(Self {
            session,
            source,
            migration: setup.migration,
            fences: setup.fences,
            stats: setup.stats,
            barrier: setup.barrier,
            collector: Collector::new(plans, setup.checkpoint),
            checkpoint: setup.checkpoint,
            open: None,
            idle_since: Instant::now(),
            retried: Instant::now(),
        })
    }

    /// Runs until `stop` turns true: what was received in whole transactions is
    /// then committed; a transaction that is only partly there is rolled back and
    /// comes again.
    ///
    /// # Errors
    /// The stream's or a database's error. Nothing that was confirmed is lost, and
    /// a new applier goes on from the stored checkpoint.
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
        let whole = !self.collector.in_transaction() && self.open.is_none();
        whole && batch.rows > 0 && !batch.urgent
    }

    async fn on_frame(&mut self, frame: Frame, last: bool, stream: &Stream) -> Result<()> {
        match frame.event {
            Event::Message(message) => {
                // Whether it has an origin comes after its beginning.
                if !matches!(message, WalMessage::Begin(_) | WalMessage::Origin { .. })
                    && let Some(time) = self.collector.commit_time()
                {
                    self.stats.received(time);
                }
                match &message {
                    // What comes after is settled by what the rows before it left in
                    // quarantine, so those are written first.
                    WalMessage::Truncate { .. } if self.collector.batch.rows > 0 => {
                        self.flush(stream).await?;
                    }
                    _ => {}
                }
                self.collector.on(message)?;
                if self.is_full() {
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
        if batch.rows > 0 || batch.urgent || self.open.is_some() {
            self.flush(stream).await?;
        }
        self.stats.caught_up();
        Ok(())
    }

    async fn idle(&mut self, stream: &Stream) -> Result<()> {
        if self.open.is_some() || self.collector.in_transaction() {
            return Ok(());
        }
        // Transactions without rows for us still move the checkpoint.
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
    fn is_full(&self) -> bool {
        let ended = !self.collector.in_transaction();
        if ended && self.open.is_some() {
            // The end of one that was written in pieces: copiers wait for its commit,
            // and a stream that is never drained would not bring it about.
            return true;
        }
        let times = if ended || self.open.is_some() { 1 } else { CUT };
        let batch = &self.collector.batch;
        batch.rows >= times * BATCH_ROWS || batch.bytes >= times * BATCH_BYTES
    }

    /// Everything up to `wal_end` has been decoded and nothing is unapplied: the
    /// position goes to the checkpoint first and is confirmed after, so that WAL of
    /// unpublished tables does not pin the slot.
    async fn keepalive(&mut self, wal_end: Lsn, stream: &Stream) -> Result<()> {
        self.drained(stream).await?;
        let quiet = self.open.is_none() && !self.collector.in_transaction();
        if quiet && wal_end > self.checkpoint && self.idle_since.elapsed() >= IDLE_CHECKPOINT {
            self.collector.take();
            self.advance(Advance {
                to: wal_end,
                ..Advance::default()
            })
            .await?;
            stream.confirm(self.checkpoint);
        }
        Ok(())
    }

    /// Writes the batch; commits when it ends at a transaction's end.
    async fn flush(&mut self, stream: &Stream) -> Result<()> {
        let partial = self.collector.in_transaction();
        let batch = self.collector.take();
        if batch.rows == 0 && self.open.is_none() && partial {
            return Ok(());
        }
        let started = Instant::now();
        let (rows, end, transactions) = (batch.rows, batch.end, batch.transactions);
        if partial && self.open.is_none() {
            // No copier may hold a claim while a transaction with writes waits.
            let alone = self.barrier.alone().await;
            self.open = Some(OpenTransaction {
                rows: 0,
                _alone: alone,
            });
            self.write(batch, true).await?;
        } else {
            let begin = self.open.is_none();
            self.write(batch, begin).await?;
        }
        if partial {
            if let Some(open) = &mut self.open {
                open.rows += rows;
            }
            // The whole of it is committed with its end; the checkpoint waits.
            self.collector.batch.end = end;
            self.collector.batch.transactions = transactions;
            return Ok(());
        }
        let Some(end) = end else { return Ok(()) };
        let total = rows + self.open.as_ref().map_or(0, |o| o.rows);
        let advance = Advance {
            to: end.lsn,
            commit_time: end.time,
            rows: i64::try_from(total).unwrap_or(i64::MAX),
            transactions: i64::try_from(transactions).unwrap_or(i64::MAX),
        };
        if total > 0 {
            failpoint::hit("apply.before_commit").await;
        }
        checkpoint::advance(
            &self.session.client,
            self.migration,
            Leg::Forward,
            self.checkpoint,
            &advance,
        )
        .await?;
        let commit = Instant::now();
        self.session.client.batch_execute("commit").await?;
        let done = Instant::now();
        self.stats.commit_took(done, done - commit);
        self.open = None;
        self.committed(end.lsn, total);
        self.stats.committed(end.time);
        stream.confirm(end.lsn);
        table::APPLY_BATCH_SECONDS.record(started.elapsed().as_secs_f64());
        table::APPLY_BATCH_ROWS.record(crate::metrics::value(total));
        table::APPLY_TRANSACTIONS_TOTAL.add(transactions as u64);
        Ok(())
    }

    fn committed(&mut self, lsn: Lsn, rows: usize) {
        self.checkpoint = lsn;
        self.idle_since = Instant::now();
        self.stats.set_applied(lsn);
        self.stats.add_rows(rows);
    }

    /// Moves the checkpoint in a transaction of its own.
    async fn advance(&mut self, advance: Advance) -> Result<()> {
        checkpoint::advance(
            &self.session.client,
            self.migration,
            Leg::Forward,
            self.checkpoint,
            &advance,
        )
        .await?;
        self.committed(advance.to, 0);
        Ok(())
    }

    /// Resolves everything first, then writes; `begin` opens the transaction
    /// between the two.
    async fn write(&mut self, batch: Batch, begin: bool) -> Result<()> {
        let resolver = Resolver {
            source: &self.source,
            target: &self.session.client,
            migration: self.migration,
            stats: &self.stats,
        };
        let (writes, quarantined) = resolver.resolve(&mut self.fences, batch).await?;
        if !writes.is_empty() {
            failpoint::hit("apply.before_write").await;
        }
        if begin {
            self.session.begin().await?;
        }
        for write in writes {
            match write {
                Write::Rows {
                    source,
                    groups,
                    logged,
                    locked,
                    renamed,
                } => {
                    let id = self.fences[source].chunks.source_id;
                    for key in &renamed {
                        quarantine::clear(&self.session.client, id, key).await?;
                    }
                    for group in groups {
                        self.write_group(source, &group.active, &group.changes, &quarantined)
                            .await?;
                    }
                    for key in &locked {
                        self.set_aside_locked(source, key).await?;
                    }
                    self.log(source, &logged).await?;
                }
                Write::Truncate {
                    source,
                    ranges,
                    xid,
                    lsn,
                } => {
                    self.truncate(source, &ranges, xid, lsn).await?;
                }
            }
        }
        Ok(())
    }
}

/// What is remembered of a refused row: no values, only the server's code and the
/// constraint or column it names.
#[must_use]
pub fn rejection(source_id: i32, leg: Leg, row: Rejected) -> SetAside {
    let reason = if row.error.may_pass_later() {
        Reason::Unique
    } else {
        Reason::Bad
    };
    let sqlstate = row.error.sqlstate.unwrap_or_default();
    // What a function raises may quote the value that it does not like.
    let own_words = ["P0", "38", "39"]
        .iter()
        .any(|class| sqlstate.starts_with(class));
    let message = if own_words {
        format!("SQLSTATE {sqlstate}, raised by a function")
    } else {
        row.error.message
    };
    SetAside {
        source_id,
        leg,
        key: row.key,
        reason,
        sqlstate,
        message,
        retry: false,
    }
}
