//! Counters that all clients of the application share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::script::End;
use crate::error::Error;

/// Errors of one SQLSTATE (or of one kind, where the server gave none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorSample {
    pub count: u64,
    /// The first one's message; it holds no values.
    pub first: String,
}

/// What the application has done so far.
#[derive(Debug, Default)]
pub struct Tally {
    committed: AtomicU64,
    rolled_back: AtomicU64,
    retried: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    /// One a client.
    longest_micros: Vec<AtomicU64>,
    errors: Mutex<BTreeMap<String, ErrorSample>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions whose COMMIT was acknowledged, or found in the tables.
    pub committed: u64,
    /// Rolled back because the script says so.
    pub rolled_back: u64,
    /// How often a transaction met a switch, or a switch back, and was played again
    /// in the other form, whatever came of it.
    pub retried: u64,
    /// COMMITs without an answer, resolved by reading.
    pub unknown: u64,
    /// Transactions that ended in an error the application cannot explain.
    pub failed: u64,
}

impl Tally {
    #[must_use]
    pub fn new(clients: u32) -> Self {
        Self {
            longest_micros: (0..clients).map(|_| AtomicU64::new(0)).collect(),
            ..Self::default()
        }
    }

    pub fn done(&self, end: End) {
        let counter = match end {
            End::Commit => &self.committed,
            End::Rollback => &self.rolled_back,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub fn unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failed(&self, error: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let code = error
            .sqlstate
            .clone()
            .unwrap_or_else(|| error.kind.row().name.to_owned());
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(code)
            .or_insert_with(|| ErrorSample {
                count: 0,
                first: error.message.clone(),
            })
            .count += 1;
    }

    /// A transaction of the client of that number has ended.
    pub fn took(&self, client: usize, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(longest) = self.longest_micros.get(client) {
            longest.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// The longest transaction that ended since this was last asked.
    pub fn take_longest(&self) -> Duration {
        self.take_longest_of_each()
            .into_iter()
            .max()
            .unwrap_or_default()
    }

    /// Each client's longest transaction, retries included, of those that ended since
    /// this was last asked.
    pub fn take_longest_of_each(&self) -> Vec<Duration> {
        self.longest_micros
            .iter()
            .map(|micros| Duration::from_micros(micros.swap(0, Ordering::Relaxed)))
            .collect()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            committed: read(&self.committed),
            rolled_back: read(&self.rolled_back),
            retried: read(&self.retried),
            unknown: read(&self.unknown),
            failed: read(&self.failed),
        }
    }

    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, ErrorSample> {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
