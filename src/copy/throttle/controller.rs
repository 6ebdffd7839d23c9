//! From how hard the signals press to the copy's pace: smooth, so that it finds a
//! pace at which the database bears it instead of going and stopping by turns.

use std::time::{Duration, SystemTime};

use super::signal::{Kind, Signal};

/// Up to this share of its limit a signal lets the copy alone.
const FREE: f64 = 0.7;
/// The same for the stream's lag. The copy settles where it is as fast as the lag allows,
/// somewhere between this and the limit; and there the lag stays for hours, so that most
/// of the band should be a lag that one likes to have.
const FREE_LAG: f64 = 0.2;
/// A delay of others never holds the copy for good: it may have another cause, a network
/// whose answers vary for one, and standing would not help then.
const LEAST_FOR_DELAY: f64 = 0.25;
/// From standing to full speed, when nothing presses any more.
const RECOVERY: Duration = Duration::from_secs(5);
/// The same while others work and have waited for the copy: each way up to where they wait
/// again is a time in which they do, so it is gone slowly.
const YIELDING_RECOVERY: Duration = Duration::from_secs(40);
/// Slower than this is standing.
const LEAST: f64 = 0.02;

/// Why the copy is slowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    pub kind: Kind,
    pub reason: String,
    /// Since when this signal has been the one.
    pub since: SystemTime,
}

/// What the copy may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Share of its full speed; 0 is standing.
    pub share: f64,
    /// The signal that presses hardest, while one does.
    pub hold: Option<Hold>,
    /// Others have waited for the copy since it last went at full speed.
    pub yielding: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            share: 1.0,
            hold: None,
            yielding: false,
        }
    }
}

impl Pace {
    /// What one of `of` copiers may do, counted from 1, so that all together keep the
    /// share. The last one slows down first: fewer at a time leave processors and locks
    /// to others, where all at half speed would still collide with them.
    #[must_use]
    pub fn of_copier(&self, number: u32, of: u32) -> Self {
        let before = f64::from(number.saturating_sub(1));
        Self {
            share: (self.share * f64::from(of.max(1)) - before).clamp(0.0, 1.0),
            ..self.clone()
        }
    }

    /// How long to wait after `worked` so that the share is kept; nothing while
    /// standing, which has no end of its own.
    #[must_use]
    pub fn pause_after(&self, worked: Duration) -> Option<Duration> {
        (self.share > 0.0).then(|| worked.mul_f64((1.0 / self.share - 1.0).min(1e6)))
    }
}

/// The share that a signal leaves: all up to [`FREE`], nothing from 1 on.
fn allowed(signal: &Signal) -> f64 {
    if signal.pressure.is_nan() {
        return 1.0;
    }
    let (free, least) = match signal.kind {
        Kind::Lag => (FREE_LAG, 0.0),
        Kind::Delay => (FREE, LEAST_FOR_DELAY),
        _ => (FREE, 0.0),
    };
    ((1.0 - signal.pressure) / (1.0 - free)).clamp(least, 1.0)
}

/// One step: falls at once to what the hardest pressure allows, rises over
/// [`RECOVERY`]. `elapsed` is the time since the step before.
#[must_use]
pub fn step(before: &Pace, signals: &[Signal], elapsed: Duration, now: SystemTime) -> Pace {
    // The one that leaves least, and of several the first.
    let mut hardest: Option<(f64, &Signal)> = None;
    for signal in signals {
        let allowed = allowed(signal);
        if hardest.is_none_or(|(least, _)| allowed < least) {
            hardest = Some((allowed, signal));
        }
    }
    let target = hardest.map_or(1.0, |(allowed, _)| allowed);
    // Without a delay at all nobody is there who could wait.
    let delay = signals
        .iter()
        .find(|s| s.kind == Kind::Delay && s.pressure > 0.0);
    let yielding = delay.is_some_and(|d| before.yielding || allowed(d) < 1.0);
    let recovery = if yielding {
        YIELDING_RECOVERY
    } else {
        RECOVERY
    };
    let risen = before.share + elapsed.as_secs_f64() / recovery.as_secs_f64();
    let mut share = target.min(risen);
    if share < LEAST {
        // The first step of a recovery is a small one: let it count.
        share = if target < LEAST { 0.0 } else { LEAST };
    }
    let pressing = hardest.filter(|_| target < 1.0).map(|(_, signal)| signal);
    let slowing = pressing.or(delay.filter(|_| yielding && share < 1.0));
    let hold = slowing.map(|signal| Hold {
        kind: signal.kind,
        reason: signal.reason.clone(),
        since: before
            .hold
            .as_ref()
            .filter(|h| h.kind == signal.kind)
            .map_or(now, |h| h.since),
    });
    Pace {
        share,
        hold,
        yielding: yielding && share < 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    fn lag(pressure: f64) -> Vec<Signal> {
        vec![
            Signal {
                kind: Kind::Paused,
                pressure: 0.0,
                reason: "paused".to_owned(),
            },
            Signal {
                kind: Kind::LagBytes,
                pressure,
                reason: format!("lag {pressure}"),
            },
        ]
    }

    #[test]
    fn below_the_band_the_copy_is_free_and_at_the_limit_it_stands() {
        let now = SystemTime::UNIX_EPOCH;
        let free = step(&Pace::default(), &lag(0.69), TICK, now);
        assert_eq!(free, Pace::default());
        let slowed = step(&free, &lag(0.85), TICK, now);
        assert!((slowed.share - 0.5).abs() < 1e-9, "{slowed:?}");
        let standing = step(&slowed, &lag(1.0), TICK, now);
        assert_eq!(standing.share, 0.0);
        assert_eq!(standing.hold.as_ref().unwrap().kind, Kind::LagBytes);
        assert_eq!(standing.pause_after(TICK), None);
    }

    #[test]
    fn the_lag_slows_the_copy_long_before_its_limit_and_gives_its_name() {
        let mut signals = lag(0.75);
        signals.push(Signal {
            kind: Kind::Lag,
            pressure: 0.6,
            reason: "0.6 s".to_owned(),
        });
        let pace = step(&Pace::default(), &signals, TICK, SystemTime::UNIX_EPOCH);
        assert!((pace.share - 0.5).abs() < 1e-9, "{pace:?}");
        assert_eq!(pace.hold.unwrap().kind, Kind::Lag);
    }

    #[test]
    fn a_delay_slows_the_copy_and_never_holds_it() {
        let delayed = [Signal {
            kind: Kind::Delay,
            pressure: 40.0,
            reason: String::new(),
        }];
        let pace = step(&Pace::default(), &delayed, TICK, SystemTime::UNIX_EPOCH);
        assert_eq!(pace.share, LEAST_FOR_DELAY);
    }

    #[test]
    fn among_others_that_have_waited_the_copy_rises_slowly_and_alone_at_once() {
        let delay = |pressure: f64| {
            [Signal {
                kind: Kind::Delay,
                pressure,
                reason: String::new(),
            }]
        };
        let now = SystemTime::UNIX_EPOCH;
        let held = step(&Pace::default(), &delay(2.0), TICK, now);
        assert!(held.yielding);
        let steps = |pressure: f64| {
            let (mut pace, mut steps) = (held.clone(), 0);
            while pace.share < 1.0 {
                pace = step(&pace, &delay(pressure), TICK, now);
                steps += 1;
                assert_eq!(pace.hold.is_some(), pace.yielding, "{pace:?}");
            }
            assert!(!pace.yielding);
            steps
        };
        // Three quarters of the way; sums of shares are not exact.
        assert!((119..=121).contains(&steps(0.1)), "{}", steps(0.1));
        assert!((14..=16).contains(&steps(0.0)), "{}", steps(0.0));
    }

    #[test]
    fn it_falls_at_once_and_recovers_over_seconds_without_a_jump() {
        let now = SystemTime::UNIX_EPOCH;
        let mut pace = step(&Pace::default(), &lag(3.0), TICK, now);
        assert_eq!(pace.share, 0.0);
        let mut steps = 0;
        while pace.share < 1.0 {
            let next = step(&pace, &lag(0.0), TICK, now);
            assert!(next.hold.is_none() && next.share > pace.share);
            assert!(next.share - pace.share < 0.06, "{pace:?} {next:?}");
            (pace, steps) = (next, steps + 1);
        }
        assert!((19..=21).contains(&steps), "{steps}");
    }

    #[test]
    fn a_reason_keeps_its_beginning_until_another_signal_presses_harder() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let first = step(&Pace::default(), &lag(0.8), TICK, at(1));
        let second = step(&first, &lag(0.9), TICK, at(2));
        let hold = second.hold.clone().unwrap();
        assert_eq!((hold.since, hold.reason.as_str()), (at(1), "lag 0.9"));
        let mut both = lag(0.9);
        both[0].pressure = 1.0;
        let third = step(&second, &both, TICK, at(3));
        assert_eq!(
            third.hold.as_ref().map(|h| (h.kind, h.since)),
            Some((Kind::Paused, at(3)))
        );
    }

    /// A stream whose lag grows with the copy's pace and shrinks without it.
    #[test]
    fn against_a_load_that_answers_it_settles_and_does_not_swing() {
        let (mut pace, mut behind) = (Pace::default(), 0.0_f64);
        let mut late = Vec::new();
        for tick in 0..400 {
            behind = (behind + 0.25 * (pace.share * 2.0 - 1.0)).max(0.0);
            pace = step(&pace, &lag(behind / 5.0), TICK, SystemTime::UNIX_EPOCH);
            if tick > 200 {
                late.push(pace.share);
            }
        }
        let (low, high) = late
            .iter()
            .fold((1.0_f64, 0.0_f64), |(l, h), s| (l.min(*s), h.max(*s)));
        assert!(low > 0.3 && high < 0.7, "between {low} and {high}");
    }

    #[test]
    fn the_last_copier_yields_first_and_all_together_keep_the_share() {
        let at = |share| Pace {
            share,
            ..Pace::default()
        };
        let shares = |share| [1, 2, 3].map(|n| at(share).of_copier(n, 3).share);
        assert_eq!(shares(1.0), [1.0, 1.0, 1.0]);
        assert_eq!(shares(0.5), [1.0, 0.5, 0.0]);
        assert_eq!(shares(0.25), [0.75, 0.0, 0.0]);
        assert_eq!(shares(0.0), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_pause_keeps_the_share() {
        let pace = Pace {
            share: 0.25,
            ..Pace::default()
        };
        let worked = Duration::from_millis(100);
        assert_eq!(pace.pause_after(worked), Some(Duration::from_millis(300)));
        assert_eq!(Pace::default().pause_after(worked), Some(Duration::ZERO));
    }
}
