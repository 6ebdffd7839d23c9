//! A workload of concurrent writers for the tests that copy and stream at once: four
//! modules with every shape that is hard, and writers that never repeat themselves
//! and yet can be steered by one seed.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod changes;
pub mod ledger;
pub mod schema;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::support::World;

/// Writers at work.
pub struct Workload {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    writers: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Starts `writers` sessions, each with a seed of its own drawn from `seed`.
    pub fn start(world: &World, seed: u64, writers: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for number in 0..writers {
            let writer = writer::Writer::new(
                world.server.url("postgres"),
                seed.wrapping_mul(1000).wrapping_add(number),
                stop.clone(),
                committed.clone(),
            );
            tasks.push(tokio::spawn(writer.run()));
        }
        Self {
            stop,
            committed,
            writers: tasks,
        }
    }

    /// Transactions committed so far.
    ///
    /// # Panics
    /// When a writer has ended, which only an unexpected error makes it do.
    pub fn committed(&self) -> u64 {
        assert!(
            !self.writers.iter().any(JoinHandle::is_finished),
            "a writer met an error that it must not meet"
        );
        self.committed.load(Ordering::Relaxed)
    }

    /// Ends every writer after its present transaction; returns how many committed.
    ///
    /// # Panics
    /// When a writer met an error that it must not meet.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer
                .await
                .expect("a writer met an error that it must not meet");
        }
        self.committed.load(Ordering::Relaxed)
    }
}

/// The seeds of this run: `CROSSFADE_SEED` alone, or `CROSSFADE_SEEDS` many (or
/// `default`), different in every run.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|e| panic!("{name}={text}: {e}")),
        )
    };
    if let Some(seed) = number("CROSSFADE_SEED") {
        return vec![seed];
    }
    let count = number("CROSSFADE_SEEDS").unwrap_or(default);
    (0..count).map(|_| fastrand::u64(..1_000_000_000)).collect()
}

/// Says on a panic which seed to give for another run like it.
pub struct Told(pub u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- failed with CROSSFADE_SEED={}", self.0);
        }
    }
}
