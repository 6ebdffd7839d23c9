//! The runs that are explored: each small enough to be exhausted, and together
//! holding every part of the protocol.

use crate::properties::Watch;
use crate::protocol::Protocol;
use crate::source::{Op, Workload};
use Op::{Delete, Move, MoveSmall, Put, Rewrite, Touch, Truncate};

const PLAIN: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Put(0)], &[Move(0, 2)]],
    },
    width: 2,
    batch: 2,
    copiers: 1,
    crashes: 0,
    cuts: 0,
    repairs: 0,
    keepalives: false,
    stale_picks: false,
    leave_alone: false,
    mutant: None,
    watch: Watch::Everything,
};

/// A row changes its key from one chunk to another while two copiers are at work.
pub const KEY_CHANGE: Protocol = Protocol {
    width: 1,
    copiers: 2,
    ..PLAIN
};

/// Three writers; a key is deleted and comes back; new rows above the highest key.
pub const THREE_WRITERS: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Put(0), Put(2)], &[Move(0, 1)], &[Delete(1)]],
    },
    ..PLAIN
};

/// One key written three times.
pub const HOT_KEY: Protocol = Protocol {
    work: Workload {
        initial: &[0],
        script: &[&[Put(0)], &[Put(0)], &[Put(0)]],
    },
    ..PLAIN
};

/// One key written twice.
const PAIR: Protocol = Protocol {
    work: Workload {
        initial: &[0],
        script: &[&[Put(0)], &[Put(0)]],
    },
    ..PLAIN
};

/// The daemon dies once; its applier, its copiers and its first chunk table linger.
pub const CRASH: Protocol = Protocol { crashes: 1, ..PAIR };

pub const CRASH_TWO_COPIERS: Protocol = Protocol {
    copiers: 2,
    crashes: 1,
    ..PLAIN
};

pub const CRASH_TWICE: Protocol = Protocol { crashes: 2, ..PAIR };

pub const CRASH_IDLE: Protocol = Protocol {
    keepalives: true,
    ..CRASH
};

/// A copier loses its session while the applier lives on, and copiers go for
/// chunks on stale news.
pub const CUT: Protocol = Protocol {
    copiers: 2,
    cuts: 1,
    stale_picks: true,
    ..PLAIN
};

pub const DELETES: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Delete(0)], &[Put(1)]],
    },
    copiers: 2,
    stale_picks: true,
    ..PLAIN
};

/// The stream lacks the large column; the source is read again.
pub const TOAST: Protocol = Protocol {
    work: Workload {
        initial: &[0],
        script: &[&[Touch(0)], &[MoveSmall(0, 2)], &[Touch(2)]],
    },
    ..PLAIN
};

/// The same, and a target that does not depend on what changed is left alone.
pub const TOAST_LEFT_ALONE: Protocol = Protocol {
    leave_alone: true,
    ..TOAST
};

/// The row goes away and comes back while the applier reads it again.
pub const TOAST_THERE_AND_BACK: Protocol = Protocol {
    work: Workload {
        initial: &[0],
        script: &[
            &[Touch(0)],
            &[MoveSmall(0, 2), MoveSmall(2, 0)],
            &[Delete(0), Put(0)],
        ],
    },
    leave_alone: true,
    ..PLAIN
};

pub const TOAST_CRASH: Protocol = Protocol {
    work: Workload {
        initial: &[0],
        script: &[&[MoveSmall(0, 2)], &[Touch(2)]],
    },
    crashes: 1,
    leave_alone: true,
    ..PLAIN
};

/// A quarantined row is rebuilt from the source on request.
pub const REPAIR: Protocol = Protocol {
    repairs: 1,
    ..CRASH
};

pub const TRUNCATION: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Put(0)], &[Truncate, Put(2)], &[Put(1)]],
    },
    ..PLAIN
};

pub const TRUNCATION_CRASH: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Put(0)], &[Truncate, Put(2)]],
    },
    crashes: 1,
    ..PLAIN
};

pub const REWRITE: Protocol = Protocol {
    work: Workload {
        initial: &[0, 1],
        script: &[&[Put(0)], &[Rewrite]],
    },
    copiers: 2,
    ..PLAIN
};

pub const ALL: &[(&str, Protocol)] = &[
    ("key change", KEY_CHANGE),
    ("three writers", THREE_WRITERS),
    ("hot key", HOT_KEY),
    ("crash", CRASH),
    ("crash, two copiers", CRASH_TWO_COPIERS),
    ("two crashes", CRASH_TWICE),
    ("crash, keepalives", CRASH_IDLE),
    ("cut", CUT),
    ("deletes", DELETES),
    ("toast", TOAST),
    ("toast left alone", TOAST_LEFT_ALONE),
    ("toast there and back", TOAST_THERE_AND_BACK),
    ("toast, crash", TOAST_CRASH),
    ("repair", REPAIR),
    ("truncate", TRUNCATION),
    ("truncate, crash", TRUNCATION_CRASH),
    ("rewrite", REWRITE),
];
