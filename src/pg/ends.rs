//! How far whoever follows the log is behind its end, in time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Lsn;

/// Positions kept; the oldest one stays, so that a long standstill is told whole.
const KEPT: usize = 1000;

/// Where the log's end was at times.
#[derive(Debug, Default)]
pub struct Ends {
    samples: VecDeque<(Instant, Lsn)>,
}

impl Ends {
    /// The log ends at `end` now, and everything below `passed` is done with.
    pub fn see(&mut self, now: Instant, end: Lsn, passed: Lsn) {
        self.samples.push_back((now, end));
        while self.samples.len() > 1 && self.samples[0].1 <= passed {
            self.samples.pop_front();
        }
        if self.samples.len() > KEPT {
            self.samples.remove(1);
        }
    }

    /// For how long the log's end has been beyond `position`. What is shorter than
    /// `noise` is none: the log moves without anything to send, and is sent once it is
    /// on disk.
    #[must_use]
    pub fn behind(&self, now: Instant, position: Lsn, noise: Duration) -> f64 {
        let beyond = self.samples.iter().find(|(_, end)| *end > position);
        let behind = beyond.map_or(Duration::ZERO, |(at, _)| now.duration_since(*at));
        if behind > noise {
            behind.as_secs_f64()
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_as_old_as_the_first_end_beyond_it() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        for second in 0..10 {
            ends.see(at(second), Lsn(second * 100), Lsn(0));
        }
        let behind = |lsn, noise| ends.behind(at(9), Lsn(lsn), Duration::from_secs(noise));
        assert_eq!(
            [900, 899, 450, 0].map(|lsn| behind(lsn, 0)),
            [0.0, 0.0, 4.0, 8.0]
        );
        assert_eq!(behind(450, 5), 0.0);
    }

    #[test]
    fn a_long_standstill_is_told_whole_and_takes_bounded_memory() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        for second in 0..5000 {
            ends.see(at(second), Lsn(second + 1), Lsn(0));
        }
        assert_eq!(ends.behind(at(5000), Lsn(0), Duration::ZERO), 5000.0);
        assert!(ends.samples.len() <= KEPT);
    }
}
