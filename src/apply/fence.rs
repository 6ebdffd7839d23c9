//! The fence: which changes of the stream belong on top of a copied chunk.
//!
//! A change of transaction *x* to key *k* is applied **iff** *k*'s chunk has been
//! copied and *x* is not visible in that chunk's snapshot. Everything here is a
//! pure decision; looking chunks up and waiting for claims is the caller's.
//!
//! Two promises of the caller make it exact:
//! - the release gate: *x* is visible in a fresh snapshot before its changes are
//!   decided, so a dropped change is seen by every snapshot taken later;
//! - a chunk's state is read in a statement of its own after the wait for its
//!   claim has ended, never in the statement that waited.

use crate::pg::Lsn;
pub use crate::state::chunk::ChunkState;

/// What to do with one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The copy did not see it: write it.
    Apply,
    /// The chunk's snapshot has seen it, or its later snapshot will.
    Drop,
    /// Wait until nobody claims the chunk, then look it up again.
    Wait,
}

/// Decides one change of transaction `xid` (64 bits) that committed at
/// `commit_lsn` (the end of its commit record).
///
/// `unclaimed` says that, before the statement that read `state`, this chunk's
/// claim was seen to be free: a chunk still pending after that is claimed only by
/// copiers whose snapshot is yet to be taken.
#[must_use]
pub fn decide(state: &ChunkState, unclaimed: bool, xid: u64, commit_lsn: Lsn) -> Verdict {
    match state {
        ChunkState::Unplanned => Verdict::Drop,
        ChunkState::Pending if unclaimed => Verdict::Drop,
        ChunkState::Pending => Verdict::Wait,
        ChunkState::Copied { high_lsn, .. } if commit_lsn > *high_lsn => Verdict::Apply,
        ChunkState::Copied { snapshot, .. } if snapshot.sees(xid) => Verdict::Drop,
        ChunkState::Copied { .. } => Verdict::Apply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied() -> ChunkState {
        ChunkState::Copied {
            snapshot: "10:20:12".parse().unwrap(),
            high_lsn: Lsn(1000),
        }
    }

    #[test]
    fn what_no_copier_can_have_read_is_left_to_the_copier() {
        assert_eq!(
            decide(&ChunkState::Unplanned, false, 5, Lsn(1)),
            Verdict::Drop
        );
        assert_eq!(decide(&ChunkState::Pending, true, 5, Lsn(1)), Verdict::Drop);
    }

    #[test]
    fn a_chunk_that_may_be_claimed_is_waited_for() {
        assert_eq!(
            decide(&ChunkState::Pending, false, 5, Lsn(1)),
            Verdict::Wait
        );
    }

    #[test]
    fn on_a_copied_chunk_visibility_decides_and_not_the_order_of_positions() {
        assert_eq!(decide(&copied(), false, 11, Lsn(900)), Verdict::Drop);
        // In the gap: its commit lies before high_lsn, yet the snapshot missed it.
        assert_eq!(decide(&copied(), false, 12, Lsn(900)), Verdict::Apply);
        assert_eq!(decide(&copied(), false, 25, Lsn(900)), Verdict::Apply);
    }

    #[test]
    fn beyond_high_lsn_nothing_can_have_been_seen() {
        assert_eq!(decide(&copied(), false, 19, Lsn(1001)), Verdict::Apply);
    }
}
