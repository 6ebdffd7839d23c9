//! How much longer small statements and commits take than at best: what others notice of
//! the copy.
//!
//! The idea is that of LEDBAT (RFC 6817), with which background transfers make room on a
//! network: the least time ever seen is what the way there and back takes, and what comes
//! on top is a queue, here for a processor or a lock. The best drifts upwards, so that a
//! way that has become longer is learned within minutes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is looked at.
const WINDOW: Duration = Duration::from_secs(1);
/// Fewer answers than this say nothing.
const FEW: usize = 10;
/// The best grows by this share a minute.
const DRIFT: f64 = 0.2;

/// Answer times of the last moments; one that is under way counts with what it has taken.
#[derive(Debug, Default)]
pub struct Answers {
    recent: VecDeque<(Instant, Duration)>,
    /// The best, and when it was.
    best: Option<(Instant, Duration)>,
    begun: Option<Instant>,
}

impl Answers {
    pub fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    pub fn end(&mut self, now: Instant) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        self.took(now, now.duration_since(begun));
    }

    /// One that ended then took so long; in the order of their ends.
    pub fn took(&mut self, now: Instant, took: Duration) {
        while self.recent.front().is_some_and(|(at, _)| stale(*at, now)) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, took));
        if self.best(now).is_none_or(|best| took < best) {
            self.best = Some((now, took));
        }
    }

    fn best(&self, now: Instant) -> Option<Duration> {
        let (at, best) = self.best?;
        let minutes = now.duration_since(at).as_secs_f64() / 60.0;
        Some(best.mul_f64(1.0 + DRIFT * minutes))
    }

    /// What one in ten waits beyond so many times the best.
    #[must_use]
    pub fn delay(&self, now: Instant, times: u32) -> Option<Duration> {
        let mut took: Vec<Duration> = self
            .recent
            .iter()
            .filter(|(at, _)| !stale(*at, now))
            .map(|(_, took)| *took)
            .collect();
        let under_way = self.begun.map(|begun| now.duration_since(begun));
        let best = self.best(now)?;
        if took.len() < FEW {
            // So few because of one that does not come back.
            return under_way.filter(|u| *u > WINDOW / 2);
        }
        took.extend(under_way);
        took.sort_unstable();
        Some(took[took.len() * 9 / 10].saturating_sub(best * times))
    }
}

fn stale(at: Instant, now: Instant) -> bool {
    now.duration_since(at) > WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every 20 ms that take so many microseconds, over and over.
    fn answers(from: Instant, count: u32, micros: &[u64]) -> (Answers, Instant) {
        let (mut answers, mut now) = (Answers::default(), from);
        for i in 0..count {
            answers.begin(now);
            let took = Duration::from_micros(micros[i as usize % micros.len()]);
            answers.end(now + took);
            now += Duration::from_millis(20);
        }
        (answers, now)
    }

    #[test]
    fn what_one_in_ten_waits_counts_and_what_one_in_a_hundred_does_not() {
        let begin = Instant::now();
        let mut often = vec![100; 8];
        often.extend([5000, 5000]);
        let (busy, now) = answers(begin, 100, &often);
        let delay = busy.delay(now, 1).unwrap();
        assert!((4800..=4900).contains(&delay.as_micros()), "{delay:?}");
        let beyond = busy.delay(now, 2).unwrap();
        assert_eq!(delay.abs_diff(beyond).as_micros() / 10, 10, "{beyond:?}");
        let mut seldom = vec![100; 99];
        seldom.push(5000);
        let (idle, now) = answers(begin, 100, &seldom);
        assert!(idle.delay(now, 1).unwrap() < Duration::from_micros(10));
    }

    #[test]
    fn a_long_way_is_no_delay_and_a_way_that_became_longer_is_learned() {
        let begin = Instant::now();
        let (mut far, now) = answers(begin, 100, &[30_000]);
        assert!(far.delay(now, 1).unwrap() < Duration::from_micros(100));
        // Another route, twice as long: a delay at first.
        let mut now = now;
        let mut last = Duration::MAX;
        for minute in 0..10 {
            for _ in 0..60 {
                far.begin(now);
                far.end(now + Duration::from_millis(60));
                now += Duration::from_millis(20);
            }
            let delay = far.delay(now, 1).unwrap();
            assert!(minute > 0 || delay > Duration::from_millis(25), "{delay:?}");
            assert!(delay <= last);
            last = delay;
            now += Duration::from_secs(58);
            // The window is empty after a pause: nothing is known.
            assert_eq!(far.delay(now, 1), None);
        }
        assert!(last < Duration::from_millis(1), "{last:?}");
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_delay_while_it_does_not() {
        let (mut answers, now) = answers(Instant::now(), 100, &[100]);
        answers.begin(now);
        let hung = answers.delay(now + Duration::from_secs(2), 1).unwrap();
        assert_eq!(hung, Duration::from_secs(2));
    }
}
