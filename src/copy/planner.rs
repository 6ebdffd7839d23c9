//! Splits the key space just ahead of the copiers and hands chunks out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio_postgres::Client;

use super::Throttle;
use super::sizing::Sizing;
use crate::config::Live;
use crate::error::Result;
use crate::state::ChunkTable;
use crate::state::chunk::Chunk;
use crate::transform::Plan;

/// Chunks split off in one transaction: few round trips, and soon enough used up that a
/// new size takes effect within a second.
const SPLIT: u32 = 32;
/// The same while the size of chunks adapts: what is split off keeps its size.
const SPLIT_ADAPTING: u32 = 8;
/// Chunks handed out ahead of the copiers.
const AHEAD: usize = 16;

/// One chunk of one source.
#[derive(Debug, Clone)]
pub struct Work {
    pub source: usize,
    pub chunk: Chunk,
}

/// The copiers' end of the queue.
#[derive(Debug, Clone)]
pub struct Queue {
    work: Arc<Mutex<mpsc::Receiver<Work>>>,
    /// Ends with the planner.
    planning: watch::Receiver<()>,
}

impl Queue {
    /// The next chunk; `None` when every chunk of every source is copied.
    pub async fn next(&self) -> Option<Work> {
        self.work.lock().await.recv().await
    }

    /// Resolves when there will be no more chunks: for a copier that stands while
    /// others work.
    pub async fn ended(&self) {
        let mut planning = self.planning.clone();
        while planning.changed().await.is_ok() {}
    }
}

/// The planner's end.
pub struct Planner {
    sender: mpsc::Sender<Work>,
    /// Dropped with the planner, whatever the channel still holds.
    _planning: watch::Sender<()>,
    settings: watch::Receiver<Live>,
    sizing: Arc<Sizing>,
    throttle: Throttle,
}

impl Planner {
    #[must_use]
    pub fn new(
        settings: watch::Receiver<Live>,
        sizing: Arc<Sizing>,
        throttle: Throttle,
    ) -> (Self, Queue) {
        let ahead = if sizing.adapts() { 1 } else { AHEAD };
        let (sender, receiver) = mpsc::channel(ahead);
        let (planning, view) = watch::channel(());
        (
            Self {
                sender,
                _planning: planning,
                settings,
                sizing,
                throttle,
            },
            Queue {
                work: Arc::new(Mutex::new(receiver)),
                planning: view,
            },
        )
    }

    /// Runs until every chunk of every source is copied, or the copiers are gone.
    ///
    /// A chunk is handed out once per round. Chunks that a copier gave up (a zombie
    /// held the claim, its connection broke) are still pending after a round, and
    /// the next round hands them out again.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn run(
        &self,
        client: &mut Client,
        sources: &[(Arc<Plan>, ChunkTable)],
    ) -> Result<()> {
        for (source, (plan, chunks)) in sources.iter().enumerate() {
            while !self.round(client, source, plan, chunks).await? {
                if self.sender.is_closed() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Plans the source to its end and hands every pending chunk out once; returns
    /// whether all are copied.
    async fn round(
        &self,
        client: &mut Client,
        source: usize,
        plan: &Plan,
        chunks: &ChunkTable,
    ) -> Result<bool> {
        let mut handed = HashSet::new();
        loop {
            self.sizing.ease(self.throttle.yielding());
            let rows = self.sizing.rows(&self.settings.borrow().copy);
            let count = if self.sizing.adapts() {
                SPLIT_ADAPTING
            } else {
                SPLIT
            };
            let more = chunks.plan_more(client, plan, rows, count).await?;
            for chunk in chunks.pending(client, i64::MAX).await? {
                if handed.insert(chunk.id)
                    && self.sender.send(Work { source, chunk }).await.is_err()
                {
                    return Ok(false);
                }
            }
            if !more {
                break;
            }
        }
        // The last chunks are still in work.
        loop {
            let progress = chunks.progress(client).await?;
            if progress.complete() {
                return Ok(true);
            }
            if self.sender.is_closed() {
                return Ok(false);
            }
            let idle = self.sender.capacity() == self.sender.max_capacity();
            tokio::time::sleep(Duration::from_millis(if idle { 20 } else { 100 })).await;
            // Nothing in the queue and still pending: in work, or given up. A second
            // copier that finds a claim held leaves at once, so asking again is cheap.
            if idle {
                return Ok(false);
            }
        }
    }
}
