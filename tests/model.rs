//! The protocol by which copy and stream agree, explored state by state.
//!
//! The fence's verdicts are the real ones (`apply::fence::decide`); around it
//! are a source with a visibility gap, copiers, an applier, crashes and what they
//! leave behind. The protocol must hold in every state of every run; with any
//! one part taken out the checker must find the loss.
//!
//! `cargo test --test model -- --nocapture` prints the counts and the shortest
//! way to each loss.

#[path = "model/applier.rs"]
mod applier;
#[path = "model/batch.rs"]
mod batch;
#[path = "model/copier.rs"]
mod copier;
#[path = "model/daemon.rs"]
mod daemon;
#[path = "model/mutant.rs"]
mod mutant;
#[path = "model/properties.rs"]
mod properties;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/runs.rs"]
mod runs;
#[path = "model/source.rs"]
mod source;
#[path = "model/target.rs"]
mod target;

use std::time::Instant;

use stateright::{Checker, Model};

use mutant::Mutant;
use properties::{Damage, Watch};
use protocol::{Action, Protocol};

#[test]
fn copy_and_stream_agree_in_every_reachable_state() {
    for (label, run) in runs::ALL {
        let started = Instant::now();
        let checker = run.checker().threads(2).spawn_bfs().join();
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        println!(
            "{label}: {states} states, depth {depth}, {:?}",
            started.elapsed()
        );
        checker.assert_properties();
    }
}

/// The shortest way to a state in which the damage shows.
fn way_to(damage: Damage, run: Protocol) -> Option<Vec<Action>> {
    let watched = Protocol {
        watch: Watch::Only(damage),
        ..run
    };
    let checker = watched.checker().spawn_bfs().join();
    checker
        .discovery(damage.property())
        .map(|path| path.into_actions())
}

/// Takes one part out of a run that holds with it: the damage must be found.
fn is_caught(mutant: Mutant, run: Protocol, damage: Damage) {
    let way = way_to(
        damage,
        Protocol {
            mutant: Some(mutant),
            ..run
        },
    );
    println!("{mutant:?}: {way:?}");
    assert!(way.is_some(), "{mutant:?} went unnoticed");
}

/// Takes one part out and does no damage of this kind: said so that nobody
/// believes this test to guard what it does not.
fn is_harmless(mutant: Mutant, run: Protocol, damage: Damage) {
    let way = way_to(
        damage,
        Protocol {
            mutant: Some(mutant),
            ..run
        },
    );
    assert_eq!(way, None, "{mutant:?} is not harmless");
}

#[test]
fn without_the_start_gate_a_commit_in_the_gap_is_lost() {
    is_caught(Mutant::NoStartGate, runs::HOT_KEY, Damage::Values);
}

#[test]
fn without_the_release_gate_a_dropped_change_is_missed_by_the_snapshot() {
    is_caught(Mutant::NoReleaseGate, runs::HOT_KEY, Damage::Values);
}

#[test]
fn the_release_gate_must_check_every_transaction_of_the_batch() {
    is_caught(Mutant::GateOnFirstOnly, runs::HOT_KEY, Damage::Values);
}

#[test]
fn the_claim_must_come_before_the_snapshot() {
    is_caught(Mutant::SnapshotBeforeClaim, runs::HOT_KEY, Damage::Values);
}

#[test]
fn the_applier_must_wait_for_a_claimed_chunk() {
    is_caught(Mutant::NoWait, runs::HOT_KEY, Damage::Values);
}

#[test]
fn the_claim_must_be_kept_until_the_commit() {
    is_caught(Mutant::ReleaseBeforeCommit, runs::HOT_KEY, Damage::Values);
}

#[test]
fn the_claim_must_live_and_die_with_the_session_that_writes() {
    is_caught(Mutant::ClaimOnOtherSession, runs::CUT, Damage::Values);
}

#[test]
fn a_successor_needs_the_dead_daemons_claims_too() {
    is_caught(Mutant::ClaimOnOtherSession, runs::CRASH, Damage::Values);
}

#[test]
fn the_state_must_be_read_after_the_wait() {
    is_caught(Mutant::StaleLookup, runs::HOT_KEY, Damage::Values);
}

#[test]
fn visibility_must_decide_and_not_positions() {
    is_caught(
        Mutant::LsnInsteadOfVisibility,
        runs::HOT_KEY,
        Damage::Values,
    );
}

#[test]
fn the_checkpoint_must_not_come_before_the_rows() {
    is_caught(Mutant::CheckpointBeforeRows, runs::CRASH, Damage::Values);
}

#[test]
fn the_rows_must_not_come_before_the_checkpoint() {
    is_caught(Mutant::RowsBeforeCheckpoint, runs::CRASH, Damage::Values);
}

#[test]
fn rows_before_the_checkpoint_take_effect_twice() {
    is_caught(Mutant::RowsBeforeCheckpoint, runs::CRASH, Damage::Effects);
}

#[test]
fn the_checkpoint_must_be_a_compare_and_swap() {
    is_caught(Mutant::NoCompareAndSwap, runs::CRASH, Damage::Values);
}

#[test]
fn only_what_is_durable_may_be_confirmed() {
    is_caught(Mutant::ConfirmReceived, runs::CRASH, Damage::Values);
}

#[test]
fn a_keepalive_must_not_overtake_the_batch_in_hand() {
    is_caught(Mutant::KeepaliveOvertakes, runs::CRASH, Damage::Values);
}

#[test]
fn the_highest_key_must_be_read_after_the_slot_exists() {
    is_caught(
        Mutant::HighestKeyBeforeSlot,
        runs::KEY_CHANGE,
        Damage::Values,
    );
}

#[test]
fn only_the_first_chunk_table_may_be_stored() {
    is_caught(Mutant::FirstTableOverwritten, runs::CRASH, Damage::Values);
}

#[test]
fn a_range_must_be_split_in_one_transaction() {
    is_caught(
        Mutant::SplitInTwoSteps,
        runs::CRASH_TWO_COPIERS,
        Damage::Values,
    );
}

#[test]
fn a_key_without_a_chunk_must_be_looked_up_again() {
    is_caught(Mutant::NoRowMeansDrop, runs::THREE_WRITERS, Damage::Values);
}

#[test]
fn a_copier_must_look_at_the_chunk_again_under_its_claim() {
    is_caught(Mutant::NoLookAfterClaim, runs::DELETES, Damage::Values);
}

#[test]
fn the_table_must_be_locked_before_the_snapshot() {
    is_caught(
        Mutant::TableLockAfterSnapshot,
        runs::REWRITE,
        Damage::Values,
    );
}

#[test]
fn a_row_must_be_read_again_by_its_new_key() {
    is_caught(Mutant::RereadByOldKey, runs::TOAST, Damage::Values);
}

#[test]
fn a_row_with_a_new_key_must_not_be_left_alone() {
    is_caught(
        Mutant::LeaveAloneAfterKeyChange,
        runs::TOAST_LEFT_ALONE,
        Damage::Values,
    );
}

#[test]
fn a_row_rebuilt_in_the_same_batch_must_not_be_left_alone() {
    is_caught(
        Mutant::CoalesceForgetsRebuild,
        runs::TOAST_LEFT_ALONE,
        Damage::Values,
    );
}

#[test]
fn a_row_must_be_repaired_by_the_applier_itself() {
    is_caught(Mutant::RepairBesideApplier, runs::REPAIR, Damage::Values);
}

/// Changes that the snapshot saw are applied again, all that follow too: rows end
/// up right, but go back in time meanwhile and take effect twice.
#[test]
fn the_bound_must_be_read_after_the_snapshot() {
    is_caught(
        Mutant::HighLsnBeforeSnapshot,
        runs::HOT_KEY,
        Damage::Effects,
    );
    is_harmless(Mutant::HighLsnBeforeSnapshot, runs::HOT_KEY, Damage::Values);
}

/// It is a rewriting ALTER TABLE, of which the stream says nothing, that the lock
/// keeps out. An empty read because of TRUNCATE is what the stream's TRUNCATE
/// leaves anyway.
#[test]
fn a_late_table_lock_does_no_harm_to_a_truncated_table() {
    is_harmless(
        Mutant::TableLockAfterSnapshot,
        runs::TRUNCATION,
        Damage::Values,
    );
}

/// A row that was read again may be newer than the checkpoint. Whoever compares
/// rows at a checkpoint (verify) has to know which keys were read again, and when.
#[test]
fn a_row_read_again_can_be_ahead_of_the_checkpoint() {
    let way = way_to(Damage::Ahead, runs::TOAST);
    println!("read again: {way:?}");
    assert!(way.is_some());
    assert_eq!(way_to(Damage::Ahead, runs::CRASH_TWO_COPIERS), None);
}
