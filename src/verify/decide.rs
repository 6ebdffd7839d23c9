//! Decides keys that differed at a look: a difference, or only a change under way.
//!
//! The applier follows the source with a delay, and a row it reads again from the
//! source can be ahead of the stream. So two sides that differ in one snapshot may
//! both be right. The rule, for snapshots S₁ before S₂ of the one database that
//! holds both sides, with positions L₁, L₂ read after each was taken:
//!
//! 1. S₁ is taken; then wait until everything below L₁ is applied.
//! 2. In S₂ the key's two sides are compared. Equal: fine.
//! 3. Wait until everything below L₂ is applied; then read the key's entry in the
//!    change log. None, or its transaction is visible in S₁: **a difference**.
//!    Otherwise: inconclusive, again with S₂ in the place of S₁.
//!
//! One side is the truth, which the application writes, and the other is the copy,
//! which the applier makes of it: before the switch the truth is the source, after it
//! the targets, and the copy is the source, rebuilt by the reverse. The change log has
//! the source's key either way, in the transaction that writes the copy, with the
//! newest change (by position) of the truth's rows of that key.
//!
//! Why 3 is exact. By L₂ everything that S₂ sees is applied and logged. Suppose the
//! entry is visible in S₁, or there is none. What S₁ sees committed below L₁, so the
//! newest change of the key that committed below L₂ lies below L₁; and changes beyond
//! L₂ are not visible in S₂. So every change of the key that S₂ sees lies below L₁ and
//! was applied before S₂ was taken. Nothing else can show in the copy: what the
//! applier wrote by S₂, from the stream or by reading the truth anew (unsent values,
//! and every row of the reverse), was visible before (its release gate, and its own
//! commit), hence is visible in S₂ too. So in S₂ the copy must be what is made of the
//! truth. In other words: a change in (L₁, L₂) is logged with a position above L₁, and
//! what commits above L₁ is not visible in S₁.
//!
//! Nothing in this asks which side the truth is on. So the same pairs are compared
//! before and after the switch: the module's rows with the targets', and where there
//! is a reverse the source's rows with the rebuilt ones. After the switch a difference
//! of the first kind says that the old table cannot hold what was written since.
//!
//! The two waits are both needed. Without the first the change may just not be
//! applied. Without the second a row that was read again may be ahead of the log:
//! the change it saw is logged only when the stream gets there.
//!
//! The rule needs every entry that the applier wrote since S₁; so entries are
//! removed only by a verification, and there is one at a time (`VERIFY_LOCK`).
//!
//! A key that changes all the time may be inconclusive at every look. It is left then,
//! as *moving*, and nothing is claimed of it that is not so: the entry that says so is
//! of a transaction that S₁ does not see. Whatever lies below a checkpoint was visible
//! before it was applied, so the entry lies at or after every checkpoint that was read
//! before S₁, thus at or after the certificate that this verification writes. There
//! the switch finds it and decides it under its lock, where nothing moves
//! (`state::certificate`).

use std::time::Duration;

use tokio_postgres::Client;

use super::applied::{self, Instantaneous};
use super::compare::{self, Detail, Pair, Seen};
use super::report::{Digest, Tally};
use super::sql::Statements;
use super::{Key, Prepared, Source};
use crate::error::{Result, Retry};
use crate::pg::Snapshot;
use crate::state::checkpoint::{self, Leg};
use crate::transform::Target;

/// Looks at a key before it is left as it is.
const ATTEMPTS: u32 = 30;
/// The pause after each attempt grows by this, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(100);
/// Tries of one look.
const TRIES: u32 = 5;

/// What is to be said of a key whose sides differed in S₂.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Difference,
    /// It changed meanwhile.
    Moving,
}

/// Rule 3 above: `logged` is the key's entry once everything S₂ sees is applied,
/// `before` is S₁.
#[must_use]
pub fn judge(logged: Option<u64>, before: &Snapshot) -> Verdict {
    match logged {
        Some(xid) if !before.sees(xid) => Verdict::Moving,
        _ => Verdict::Difference,
    }
}

/// A key that is not decided yet.
struct Pending {
    key: Key,
    /// What the copy would have had to be at each look.
    history: Vec<Vec<Digest>>,
    /// At the last look its entry in the change log was newer than the one before.
    moving: bool,
}

/// One look at the pending keys that are not fine.
struct Look {
    at: Instantaneous,
    /// Position in the pending keys, the two sides, and the rows where the log of
    /// the same snapshot already makes a difference likely.
    differs: Vec<(usize, Pair, Option<Detail>)>,
    failed: Vec<usize>,
}

/// Decides keys of one source on a session of its own.
pub struct Decider<'a> {
    pub client: &'a Client,
    pub migration: i32,
    pub sources: &'a [Source],
    pub limit: usize,
    pub prepared: Prepared,
}

impl Decider<'_> {
    /// Decides every key; differences, moving and unsettled keys are counted in `tally`.
    /// Returns the unsettled ones, of which nothing is known and which may not be in the
    /// change log.
    ///
    /// # Errors
    /// Connection errors; those of [`applied::wait`].
    pub async fn decide(
        &self,
        source: usize,
        keys: Vec<Key>,
        tally: &mut Tally,
    ) -> Result<Vec<Key>> {
        tally.suspects += keys.len() as u64;
        let mut pending: Vec<Pending> = keys
            .into_iter()
            .map(|key| Pending {
                key,
                history: Vec::new(),
                moving: false,
            })
            .collect();
        let mut before = applied::now(self.client).await?;
        applied::wait(self.client, self.migration, before.end).await?;
        let mut pause = Duration::ZERO;
        for _ in 0..ATTEMPTS {
            let look = self.look(source, &pending, &before.snapshot).await?;
            if look.differs.is_empty() && look.failed.is_empty() {
                return Ok(Vec::new());
            }
            applied::wait(self.client, self.migration, look.at.end).await?;
            let next = look.at.clone();
            pending = self
                .judge_all(source, pending, look, &before.snapshot, tally)
                .await?;
            before = next;
            if pending.is_empty() {
                return Ok(Vec::new());
            }
            tokio::time::sleep(pause).await;
            pause = (pause + PAUSE).min(LONGEST);
        }
        let (moving, unsettled): (Vec<_>, Vec<_>) = pending.into_iter().partition(|p| p.moving);
        tally.moving += moving.len() as u64;
        tally.unsettled += unsettled.len() as u64;
        Ok(unsettled.into_iter().map(|p| p.key).collect())
    }

    /// Rule 2: compares the pending keys in one snapshot. A look that a lock or a
    /// cancellation has cut short is made again, in a new one.
    async fn look(&self, source: usize, pending: &[Pending], before: &Snapshot) -> Result<Look> {
        let (plan, chunks) = &self.sources[source];
        let lock = Statements::new(plan, chunks).lock();
        let mut tries = 0;
        loop {
            let look = match super::begin(self.client, &lock).await {
                Ok(()) => self.look_in(source, pending, before).await,
                Err(e) => Err(e),
            };
            let ended = self.client.batch_execute("rollback").await;
            tries += 1;
            match look {
                Err(e) if e.retry() == Retry::Soon && tries < TRIES => {
                    tokio::time::sleep(LONGEST).await;
                }
                Err(e) => return Err(e),
                Ok(look) => {
                    ended?;
                    return Ok(look);
                }
            }
        }
    }

    async fn look_in(&self, source: usize, pending: &[Pending], before: &Snapshot) -> Result<Look> {
        let of = &self.sources[source];
        let keys: Vec<Key> = pending.iter().map(|p| p.key.clone()).collect();
        let at = applied::now(self.client).await?;
        let seen = compare::keys(self.client, &self.prepared, of, &keys).await?;
        let mut failed = Vec::new();
        let mut differs = Vec::new();
        for (i, seen) in seen.into_iter().enumerate() {
            match seen {
                Seen::SetAside => {}
                Seen::Failed => failed.push(i),
                Seen::Pair(pair) if pair.equal() => {}
                Seen::Pair(pair) => differs.push((i, pair, None)),
            }
        }
        let list: Vec<Key> = differs.iter().map(|(i, ..)| keys[*i].clone()).collect();
        let logged = compare::logged(self.client, of, &list).await?;
        // The rows are named in this very snapshot, for the few keys worth it.
        let likely: Vec<usize> = (0..differs.len())
            .filter(|&n| judge(logged[n], before) == Verdict::Difference)
            .collect();
        let pairs: Vec<(Key, Pair)> = likely
            .iter()
            .map(|&n| (list[n].clone(), differs[n].1.clone()))
            .collect();
        let details = compare::details(self.client, of, &pairs, self.limit).await?;
        for (n, detail) in likely.into_iter().zip(details) {
            differs[n].2 = Some(detail);
        }
        Ok(Look {
            at,
            differs,
            failed,
        })
    }

    /// Rule 3 for every key that differed; returns those to look at again.
    async fn judge_all(
        &self,
        source: usize,
        pending: Vec<Pending>,
        look: Look,
        before: &Snapshot,
        tally: &mut Tally,
    ) -> Result<Vec<Pending>> {
        let mut pending: Vec<Option<Pending>> = pending.into_iter().map(Some).collect();
        let mut again: Vec<Pending> = look
            .failed
            .iter()
            .filter_map(|&i| pending[i].take())
            .map(|key| Pending {
                moving: false,
                ..key
            })
            .collect();
        let keys: Vec<Key> = look
            .differs
            .iter()
            .filter_map(|(i, ..)| pending[*i].as_ref().map(|p| p.key.clone()))
            .collect();
        let logged = compare::logged(self.client, &self.sources[source], &keys).await?;
        let leg = checkpoint::leg(self.client, self.migration).await?;
        for ((i, pair, detail), logged) in look.differs.into_iter().zip(logged) {
            let Some(mut key) = pending[i].take() else {
                continue;
            };
            key.moving = false;
            match (judge(logged, before), detail) {
                (Verdict::Difference, Some(detail)) => add(tally, source, detail),
                // Its entry in the snapshot was newer than the one now: somebody
                // else removes entries. Look again.
                (Verdict::Difference, None) => again.push(key),
                (Verdict::Moving, _) => {
                    if self.was_so(source, &key, &pair, leg) {
                        continue;
                    }
                    key.history.push(self.truth(source, &pair, leg));
                    key.moving = true;
                    again.push(key);
                }
            }
        }
        Ok(again)
    }

    /// Whether the copy holds what the truth was at an earlier look: a key that changes
    /// all the time is fine if it follows. Used only for a key that the log shows to be
    /// changing.
    fn was_so(&self, source: usize, pending: &Pending, pair: &Pair, leg: Leg) -> bool {
        let plan = &self.sources[source].0;
        let lookups = plan
            .targets
            .iter()
            .zip(&pair.module)
            .all(|(t, d)| !t.is_lookup() || d.rows == 0);
        let copy = match leg {
            Leg::Forward => pair.target.clone(),
            Leg::Reverse => self.rows_only(source, &pair.module),
        };
        lookups && pending.history.contains(&copy)
    }

    /// What the copy has to be for this look's truth. In both directions one side of
    /// every pair is made of the truth and the other of the copy.
    fn truth(&self, source: usize, pair: &Pair, leg: Leg) -> Vec<Digest> {
        match leg {
            Leg::Forward => self.rows_only(source, &pair.module),
            Leg::Reverse => pair.target.clone(),
        }
    }

    fn rows_only(&self, source: usize, digests: &[Digest]) -> Vec<Digest> {
        let plan = &self.sources[source].0;
        let lookup = |i: usize| plan.targets.get(i).is_some_and(Target::is_lookup);
        digests
            .iter()
            .enumerate()
            .map(|(i, d)| if lookup(i) { Digest::default() } else { *d })
            .collect()
    }
}

/// Counts the rows of a key that was decided.
pub fn add(tally: &mut Tally, source: usize, detail: Detail) {
    for (target, &count) in detail.counts.iter().enumerate() {
        if count > 0 {
            let examples = detail
                .examples
                .iter()
                .filter(|(t, _)| *t == target)
                .map(|(_, d)| d.clone())
                .collect();
            tally.add(source, target, count, examples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_did_not_change_since_the_first_snapshot_is_a_difference() {
        let before: Snapshot = "10:20:12".parse().unwrap();
        assert_eq!(judge(None, &before), Verdict::Difference);
        assert_eq!(judge(Some(11), &before), Verdict::Difference);
        assert_eq!(judge(Some(12), &before), Verdict::Moving);
        assert_eq!(judge(Some(20), &before), Verdict::Moving);
    }
}
