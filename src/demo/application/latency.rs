//! Latencies in a fixed amount of memory.

use std::time::Duration;

/// Steps between two powers of two: a value is known to within 1/16.
const STEPS: usize = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = 40 * STEPS;

/// A histogram of durations with logarithmic buckets, from 1 µs to days.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.longest = self.longest.max(duration);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The duration that `percent` per cent of the recorded ones do not exceed,
    /// to within one bucket; zero when nothing was recorded.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_edge(at)).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

/// Values below `STEPS` have a bucket each, later ones `STEPS` per power of two.
fn bucket(micros: u64) -> usize {
    let bits = u64::BITS - micros.leading_zeros();
    let shift = bits.saturating_sub(STEP_BITS + 1);
    let within = usize::try_from(micros >> shift).unwrap_or(BUCKETS);
    (shift as usize * STEPS + within).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_edge(at: usize) -> u64 {
    let shift = (at / STEPS).saturating_sub(1);
    let within = (at - shift * STEPS) as u64;
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_a_sixteenth_below_its_buckets_edge() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 86_400_000_000]) {
            let edge = upper_edge(bucket(micros));
            assert!(
                edge >= micros && edge - micros <= micros / 16,
                "{micros} in {edge}"
            );
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), Duration::ZERO);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        let p50 = histogram.percentile(50).as_micros();
        assert!((50_000..54_000).contains(&p50), "{p50}");
        assert_eq!(histogram.percentile(100), Duration::from_millis(100));
        assert_eq!(histogram.longest(), Duration::from_millis(100));
    }
}
