//! The protocol with one part taken out: each must be caught.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The first snapshot is taken as soon as the slot exists.
    NoStartGate,
    /// A transaction is decided as soon as it arrives.
    NoReleaseGate,
    /// Only the first transaction of a batch is known to be visible.
    GateOnFirstOnly,
    /// The copier's snapshot is older than its claim.
    SnapshotBeforeClaim,
    /// The applier takes a pending chunk for one that nobody reads.
    NoWait,
    /// The copier lets go of its claim, then commits.
    ReleaseBeforeCommit,
    /// The claim is held by another session than the one that writes.
    ClaimOnOtherSession,
    /// What the waiting statement read is used after the wait.
    StaleLookup,
    /// Positions decide instead of visibility.
    LsnInsteadOfVisibility,
    /// The bound that spares the snapshot check is read before the snapshot.
    HighLsnBeforeSnapshot,
    /// Two target transactions: the checkpoint's, then the rows'.
    CheckpointBeforeRows,
    /// Two target transactions: the rows', then the checkpoint's.
    RowsBeforeCheckpoint,
    /// The checkpoint is written whatever it was before.
    NoCompareAndSwap,
    /// The slot is told what was received, not what is durable.
    ConfirmReceived,
    /// A keepalive's position is written while a batch is in hand.
    KeepaliveOvertakes,
    /// The highest key is read, with its snapshot, before the slot exists.
    HighestKeyBeforeSlot,
    /// A first chunk table is stored even if there is one.
    FirstTableOverwritten,
    /// A range shrinks in one transaction, its chunk appears in the next.
    SplitInTwoSteps,
    /// A key whose chunk is not found is dropped.
    NoRowMeansDrop,
    /// A copier does not look at the chunk again once it has the claim.
    NoLookAfterClaim,
    /// LOCK TABLE comes after the snapshot.
    TableLockAfterSnapshot,
    /// An unchanged large value is read from the source by the key's old value.
    RereadByOldKey,
    /// Unchanged means: the target has it, even after a change of key.
    LeaveAloneAfterKeyChange,
    /// A row rebuilt from the source, then changed in the same batch by what
    /// leaves the large column alone: only the latter is written.
    CoalesceForgetsRebuild,
    /// A row is rebuilt from the source by a session beside the applier.
    RepairBesideApplier,
}
