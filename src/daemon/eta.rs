//! How fast the copy goes, and when it will be done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the present rate is measured over.
const RECENT: Duration = Duration::from_secs(60);
/// What the spread of the rate is measured over, in pieces.
const SPREAD: Duration = Duration::from_secs(600);
const PIECE: Duration = Duration::from_secs(5);

/// Rows that were copied by times.
#[derive(Debug, Default)]
pub struct Progress {
    /// One a piece, and the newest.
    seen: VecDeque<(Instant, i64)>,
}

/// Seconds until the copy is complete.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eta {
    pub likely: f64,
    /// At the fastest and at the slowest tenth of the last minutes.
    pub low: f64,
    pub high: f64,
}

impl Progress {
    pub fn see(&mut self, now: Instant, rows: i64) {
        // The newest moves along until it is a piece away from the one before.
        let n = self.seen.len();
        if n >= 2 && self.seen[n - 1].0.duration_since(self.seen[n - 2].0) < PIECE {
            self.seen.pop_back();
        }
        self.seen.push_back((now, rows));
        while self.seen.len() > 2 && now.duration_since(self.seen[1].0) > SPREAD {
            self.seen.pop_front();
        }
    }

    /// Rows a second over the last minute; `None` before there is anything to compare.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let last = self.seen.back()?;
        let first = self
            .seen
            .iter()
            .find(|(at, _)| last.0.duration_since(*at) <= RECENT)?;
        per_second(first, last)
    }

    /// When `left` rows are copied; `None` while nothing is.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn eta(&self, left: i64) -> Option<Eta> {
        let likely = self.rate().filter(|rate| *rate > 0.0)?;
        let pairs = self.seen.iter().zip(self.seen.iter().skip(1));
        let mut rates: Vec<f64> = pairs.filter_map(|(a, b)| per_second(a, b)).collect();
        rates.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let index = (rates.len().saturating_sub(1) as f64 * share).round() as usize;
            rates.get(index).copied().unwrap_or(likely)
        };
        let left = left.max(0) as f64;
        // A piece in which the copy stood says nothing about how long it will: the slow
        // bound is that of a tenth of the mean, at the worst.
        let (slow, fast) = (at(0.1).max(likely / 10.0), at(0.9));
        Some(Eta {
            likely: left / likely,
            low: left / fast.max(likely),
            high: left / slow.min(likely),
        })
    }
}

#[allow(clippy::cast_precision_loss)]
fn per_second(first: &(Instant, i64), last: &(Instant, i64)) -> Option<f64> {
    let seconds = last.0.duration_since(first.0).as_secs_f64();
    (seconds >= 0.5).then(|| (last.1 - first.1) as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rows: impl Fn(u64) -> i64, seconds: u64) -> Progress {
        let (mut progress, start) = (Progress::default(), Instant::now());
        for second in 0..=seconds {
            progress.see(start + Duration::from_secs(second), rows(second));
        }
        progress
    }

    #[test]
    fn a_steady_copy_has_a_narrow_estimate() {
        let progress = seen(|s| i64::try_from(s * 1000).unwrap(), 100);
        let eta = progress.eta(60_000).unwrap();
        assert_eq!((eta.low, eta.likely, eta.high), (60.0, 60.0, 60.0));
        assert!(progress.seen.len() < 30);
    }

    #[test]
    fn a_copy_that_goes_by_starts_has_a_wide_one_around_its_mean() {
        // Five seconds at 2,000 rows a second, five at none.
        let rows = |s: u64| i64::try_from((s / 10) * 10_000 + (s % 10).min(5) * 2000).unwrap();
        let eta = seen(rows, 120).eta(60_000).unwrap();
        assert!((eta.likely - 60.0).abs() < 6.0, "{eta:?}");
        assert!(eta.low < 35.0 && eta.high > 300.0, "{eta:?}");
    }

    #[test]
    fn a_copy_that_stands_has_none() {
        assert_eq!(seen(|_| 7, 100).eta(10), None);
        assert_eq!(Progress::default().rate(), None);
    }
}
