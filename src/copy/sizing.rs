//! How many source rows a chunk gets.
//!
//! A chunk is the same set of rows whatever its size; only how much one transaction
//! does depends on it. So the size may change between any two chunks.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::chunk::Copied;
use crate::config::Copy;
use crate::metrics::table;

/// A chunk grows to at most this many times the size of the one before.
const STEP: f64 = 1.5;
/// While others wait for the copy, a chunk has this part of its rows: what they wait for
/// is a processor that a chunk's statement keeps busy, and the flush of the log that it
/// wrote, and both are over sooner. Measured in `docs/cost.md`.
const EASED: u32 = 4;

/// The present size, shared by the planner and the copiers.
#[derive(Debug)]
pub struct Sizing {
    adapts: bool,
    rows: AtomicU32,
    eased: AtomicBool,
}

impl Sizing {
    #[must_use]
    pub fn new(copy: &Copy) -> Self {
        let sizing = Self {
            adapts: copy.batch_rows_max.is_some(),
            rows: AtomicU32::new(copy.batch_rows),
            eased: AtomicBool::new(false),
        };
        table::COPY_BATCH_ROWS.set(f64::from(sizing.rows(copy)));
        sizing
    }

    /// Whether copiers are to measure their chunks.
    #[must_use]
    pub fn adapts(&self) -> bool {
        self.adapts
    }

    /// Whether the chunks to come are to be small, because others wait for the copy.
    pub fn ease(&self, eased: bool) {
        self.eased.store(eased, Ordering::Relaxed);
    }

    /// Rows of the next chunk.
    #[must_use]
    pub fn rows(&self, copy: &Copy) -> u32 {
        let rows = if self.adapts {
            self.rows.load(Ordering::Relaxed)
        } else {
            copy.batch_rows
        };
        if self.eased.load(Ordering::Relaxed) {
            rows.div_ceil(EASED)
        } else {
            rows
        }
    }

    /// Takes a copied chunk into account.
    pub fn saw(&self, copy: &Copy, copied: Copied, took: Duration) {
        if self.adapts {
            let rows = next(self.rows.load(Ordering::Relaxed), copy, copied, took);
            self.rows.store(rows, Ordering::Relaxed);
        }
        table::COPY_BATCH_ROWS.set(f64::from(self.rows(copy)));
    }
}

/// The size at which a chunk like this one would have taken what it may, in time and
/// in bytes, whichever is less; a step of the way there, within the bounds.
fn next(present: u32, copy: &Copy, copied: Copied, took: Duration) -> u32 {
    let most = copy.batch_rows_max.unwrap_or(copy.batch_rows);
    // The last chunk of a table, or one of a gap, says little of what a full one costs.
    #[allow(clippy::cast_precision_loss)]
    let rows = copied.rows as f64;
    if rows < f64::from(present) / 4.0 {
        return present;
    }
    let allowed = Duration::from_millis(copy.batch_ms).as_secs_f64();
    let mut wanted = rows * allowed / took.as_secs_f64().max(1e-6);
    if let Some(bytes) = copied.bytes.filter(|b| *b > 0) {
        #[allow(clippy::cast_precision_loss)]
        let by_bytes = rows * copy.batch_bytes as f64 / bytes as f64;
        wanted = wanted.min(by_bytes);
    }
    // Halves of the way down at least, small steps up: an outlier in time does little,
    // and a size that is too large is left at once.
    let stepped = wanted.min(f64::from(present) * STEP);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rows = stepped.round().clamp(1.0, f64::from(u32::MAX)) as u32;
    rows.clamp(copy.batch_rows_min.min(most), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> Copy {
        Copy {
            batch_rows_min: 100,
            batch_rows_max: Some(10_000),
            batch_ms: 200,
            batch_bytes: 1 << 20,
            ..Copy::default()
        }
    }

    /// The size after `chunks` chunks of rows that cost so much each.
    fn settled(chunks: usize, micros: u64, bytes: i64) -> u32 {
        let sizing = Sizing::new(&copy());
        for _ in 0..chunks {
            let rows = i64::from(sizing.rows(&copy()));
            let took = Duration::from_micros(micros * u64::try_from(rows).unwrap());
            let copied = Copied {
                rows,
                bytes: Some(rows * bytes),
            };
            sizing.saw(&copy(), copied, took);
        }
        sizing.rows(&copy())
    }

    #[test]
    fn the_size_settles_where_a_chunk_takes_the_time_it_may() {
        assert_eq!(settled(20, 100, 10), 2000);
        assert_eq!(settled(1, 100, 10), 1500);
        assert_eq!(settled(1, 1000, 10), 200);
    }

    #[test]
    fn bytes_bound_it_too_and_so_do_its_limits() {
        assert_eq!(settled(20, 100, 1024), 1024);
        assert_eq!(settled(20, 1, 1), 10_000);
        assert_eq!(settled(20, 100_000, 1 << 20), 100);
    }

    #[test]
    fn a_chunk_that_was_nearly_empty_changes_nothing() {
        let copied = Copied {
            rows: 200,
            bytes: Some(200),
        };
        assert_eq!(next(1000, &copy(), copied, Duration::from_millis(1)), 1000);
    }

    #[test]
    fn without_an_upper_bound_the_size_is_what_is_set() {
        let mut copy = Copy::default();
        let sizing = Sizing::new(&copy);
        sizing.saw(
            &copy,
            Copied {
                rows: 1000,
                bytes: None,
            },
            Duration::from_secs(9),
        );
        assert_eq!(sizing.rows(&copy), 1000);
        copy.batch_rows = 500;
        assert_eq!(sizing.rows(&copy), 500);
        sizing.ease(true);
        assert_eq!(sizing.rows(&copy), 125);
        sizing.ease(false);
        assert_eq!(sizing.rows(&copy), 500);
    }
}
