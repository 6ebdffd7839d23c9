//! What a run tells while it goes on.

use std::time::Duration;

use super::folder::Migration;
use super::history::Direction;
use super::lock::Lock;
use super::script::Step;
use super::trace::{Held, Relation};
use super::watch::Seen;
use crate::sql::Statement;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Another run has the lock.
    Waiting { holder: &'a str },
    File {
        migration: &'a Migration,
        direction: Direction,
        in_transaction: bool,
        /// Steps that an earlier run has committed.
        done: usize,
    },
    Statement {
        statement: &'a Statement,
        locks: &'a [Lock],
    },
    /// The statement waits for a lock.
    Blocked { seen: &'a Seen },
    StatementDone {
        statement: &'a Statement,
        took: Duration,
        seen: &'a Seen,
    },
    /// A lock could not be had; everything of this transaction is undone.
    Retry {
        attempt: u32,
        of: u32,
        pause: Duration,
        seen: &'a Seen,
    },
    Batch {
        step: &'a Step,
        rows: i64,
        /// The table's estimate.
        total: i64,
        elapsed: Duration,
        /// Rows that this run has done.
        own: i64,
        last: bool,
    },
    /// The next range of a batch waits for a standby.
    Standby { name: &'a str, seconds: f64 },
    /// Something that the drop guard could not look at.
    Blind { what: &'a str },
    /// Something that an interrupted run had left behind.
    Mended { what: &'a str },
    /// Before a transaction or a statement that makes its own; like the next two only of a
    /// run that is traced.
    Begun { relations: &'a [Relation] },
    /// The locks after a statement, inside of its transaction.
    Held {
        statement: &'a Statement,
        foreseen: &'a [Lock],
        held: &'a [Held],
    },
    /// After a statement that has ended its own transactions.
    Outside {
        statement: &'a Statement,
        foreseen: &'a [Lock],
        relations: &'a [Relation],
    },
    FileDone {
        migration: &'a Migration,
        direction: Direction,
        took: Duration,
    },
}

/// Gets every event.
pub type Observer<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);
