//! Carries the fence out for one source: looks chunks up, waits for claims, keeps
//! the entries that are to be applied.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::batch::Entry;
use super::fence::{ChunkState, Verdict, decide};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::pg::Lsn;
use crate::state::ChunkTable;
use crate::transform::Plan;
use crate::transform::sql::Range;
use crate::write::rows::key_arrays;

/// How long a chunk's tiling may look incomplete before that is an error.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The fence of one source.
pub struct Fencing {
    pub plan: Arc<Plan>,
    pub chunks: ChunkTable,
    /// Set once every chunk is copied: changes beyond need no look-up.
    end: Option<Lsn>,
    checked: Instant,
}

impl Fencing {
    #[must_use]
    pub fn new(plan: Arc<Plan>, chunks: ChunkTable) -> Self {
        Self {
            plan,
            chunks,
            end: None,
            checked: Instant::now(),
        }
    }

    /// Keeps the entries to apply. `wide` holds every transaction's 64-bit id, each
    /// of them visible to snapshots taken from now on.
    ///
    /// # Errors
    /// Connection errors; a tiling that stays incomplete.
    pub async fn keep(
        &mut self,
        target: &Client,
        entries: Vec<Entry>,
        wide: &HashMap<u32, u64>,
    ) -> Result<Vec<Entry>> {
        self.find_end(target).await?;
        let beyond = |lsn: Lsn| self.end.is_some_and(|end| lsn > end);
        let mut apply: Vec<bool> = entries.iter().map(|e| beyond(e.lsn)).collect();
        let mut open: Vec<usize> = (0..entries.len()).filter(|&i| !apply[i]).collect();
        // Chunks whose claim was free at some time after the gate was passed.
        let mut unclaimed = HashSet::new();
        let since = Instant::now();
        while !open.is_empty() {
            let keys = key_arrays(
                open.iter().map(|&i| entries[i].key.as_slice()),
                self.plan.key.len(),
            )?;
            let found = self.chunks.lookup(target, &self.plan, &keys).await?;
            let mut left = Vec::new();
            let mut claims = HashSet::new();
            for (&i, chunk) in open.iter().zip(found) {
                let Some((id, state)) = chunk else {
                    left.push(i);
                    continue;
                };
                let free = unclaimed.contains(&id) || failpoint::omitted("claim_wait");
                match self.verdict(&state, free, wide[&entries[i].xid], entries[i].lsn) {
                    Verdict::Apply => apply[i] = true,
                    Verdict::Drop => {}
                    Verdict::Wait => {
                        left.push(i);
                        claims.insert(id);
                    }
                }
            }
            if left.len() > claims.len() && since.elapsed() > LOOK_AGAIN && claims.is_empty() {
                return Err(Error::new(
                    Kind::Protocol,
                    format!("{} does not cover every key", self.chunks.name()),
                ));
            }
            if !claims.is_empty() {
                failpoint::hit("apply.before_claim_wait").await;
                let ids: Vec<i32> = claims.iter().copied().collect();
                if self.seen_free(target, &ids).await? {
                    unclaimed.extend(ids);
                }
            } else if !left.is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            open = left;
        }
        let mut apply = apply.into_iter();
        Ok(entries
            .into_iter()
            .filter(|_| apply.next().unwrap_or(false))
            .collect())
    }

    /// The ranges in which a TRUNCATE of transaction `xid` is to be applied.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn truncated(&mut self, target: &Client, xid: u64, lsn: Lsn) -> Result<Vec<Range>> {
        self.find_end(target).await?;
        if self.end.is_some_and(|end| lsn > end) {
            return Ok(vec![Range::default()]);
        }
        // What is pending after its claim was free will be copied by a snapshot
        // that sees the TRUNCATE; so will what is not planned yet.
        let pending = self.chunks.pending_ids(target).await?;
        while !self.seen_free(target, &pending).await? {}
        let copied = self.chunks.copied(target).await?;
        Ok(copied
            .into_iter()
            .filter(|(_, state)| self.verdict(state, true, xid, lsn) == Verdict::Apply)
            .map(|(chunk, _)| chunk.range)
            .collect())
    }

    /// Waits until nobody claims these chunks; whether that was seen. A large chunk outlasts
    /// one `lock_timeout`: then they are to be waited for again.
    async fn seen_free(&self, target: &Client, ids: &[i32]) -> Result<bool> {
        match self.chunks.wait_unclaimed(target, ids).await {
            Ok(()) => Ok(true),
            Err(e) if e.is_sqlstate("55P03") => {
                // A lock that was granted just as the time was up outlives the statement, and
                // would keep copiers from that chunk for as long as this session lives.
                target
                    .batch_execute("select pg_advisory_unlock_all()")
                    .await?;
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    fn verdict(&self, state: &ChunkState, unclaimed: bool, xid: u64, lsn: Lsn) -> Verdict {
        if failpoint::omitted("fence_by_visibility")
            && let ChunkState::Copied { high_lsn, .. } = state
        {
            return if lsn < *high_lsn {
                Verdict::Drop
            } else {
                Verdict::Apply
            };
        }
        decide(state, unclaimed, xid, lsn)
    }

    /// Learns, at most twice a second, whether the copy is complete.
    async fn find_end(&mut self, target: &Client) -> Result<()> {
        if self.end.is_none() && self.checked.elapsed() > Duration::from_millis(500) {
            self.end = self.chunks.fence_end(target).await?;
            self.checked = Instant::now();
        }
        Ok(())
    }
}
