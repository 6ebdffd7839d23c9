//! How near the slot is to where it is lost, and what to do about it.
//!
//! A slot keeps the log that its stream has not confirmed. Unbounded it fills the
//! source's disk and stops everybody; so there is a limit, crossfade's own or the
//! server's, and on the way to it first a warning, then no more copying, and at
//! crossfade's own limit the slot is dropped. What was copied is kept, and the next
//! start compares it (`state::recovery`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Share of the limit from which on it is warned of.
const WARN: f64 = 0.5;
/// Share of the limit from which on the copy stands.
pub const THROTTLE: f64 = 0.75;
/// A limit that will be reached this soon is warned of.
const SOON: Duration = Duration::from_secs(1800);
/// A forecast needs a slot that is not nearly empty.
const FORECAST: f64 = 0.1;
/// What growth is measured over.
const WINDOW: Duration = Duration::from_secs(120);

/// What the guard does; ordered by how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Fine,
    Warn,
    Throttle,
    GiveUp,
}

impl Stage {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warn => "warn",
            Self::Throttle => "throttle",
            Self::GiveUp => "give_up",
        }
    }
}

/// Where the slot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `slot.give_up_wal`: the slot is dropped there.
    Own(u64),
    /// `max_slot_wal_keep_size`: the server invalidates the slot beyond it, at a
    /// checkpoint of its own time.
    Server(u64),
}

impl Limit {
    /// The smaller of the two; `None` where nothing bounds the slot.
    #[must_use]
    pub fn of(own: Option<u64>, server: Option<u64>) -> Option<Self> {
        match (own, server) {
            (Some(own), Some(server)) if server < own => Some(Self::Server(server)),
            (Some(own), _) => Some(Self::Own(own)),
            (None, server) => server.map(Self::Server),
        }
    }

    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Own(bytes) | Self::Server(bytes) => bytes,
        }
    }

    /// The setting behind it.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Own(_) => "slot.give_up_wal",
            Self::Server(_) => "max_slot_wal_keep_size",
        }
    }
}

/// What is to be done about a slot.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn decide(limit: Option<Limit>, retained: u64, forecast: Option<Duration>) -> Stage {
    let Some(limit) = limit else {
        return Stage::Fine;
    };
    let share = retained as f64 / limit.bytes().max(1) as f64;
    let soon = share >= FORECAST && forecast.is_some_and(|f| f < SOON);
    match limit {
        Limit::Own(bytes) if retained >= bytes => Stage::GiveUp,
        _ if share >= THROTTLE => Stage::Throttle,
        _ if share >= WARN || soon => Stage::Warn,
        _ => Stage::Fine,
    }
}

/// How the retained log grows.
#[derive(Debug, Default)]
pub struct Growth {
    seen: VecDeque<(Instant, u64)>,
}

impl Growth {
    pub fn see(&mut self, now: Instant, retained: u64) {
        self.seen.push_back((now, retained));
        // One sample older than the window stays, so that it is covered whole.
        while self.seen.len() > 2 && now.duration_since(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
    }

    /// Bytes a second; `None` before there is anything to compare.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        (seconds >= 2.0).then(|| (last.1 as f64 - first.1 as f64) / seconds)
    }

    /// When the limit is reached at this growth; `None` while it does not grow.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn forecast(&self, limit: Limit) -> Option<Duration> {
        let rate = self.per_second().filter(|rate| *rate > 0.0)?;
        let left = limit.bytes().saturating_sub(self.seen.back()?.1);
        Duration::try_from_secs_f64(left as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn it_warns_then_throttles_then_gives_up_at_its_own_limit() {
        let own = Limit::of(Some(8 * GIB), None);
        let stages: Vec<_> = [0, 3, 4, 5, 6, 7, 8, 9]
            .map(|gib| decide(own, gib * GIB, None))
            .into();
        use Stage::{Fine, GiveUp, Throttle, Warn};
        assert_eq!(
            stages,
            [Fine, Fine, Warn, Warn, Throttle, Throttle, GiveUp, GiveUp]
        );
    }

    #[test]
    fn at_the_servers_limit_the_server_decides() {
        let server = Limit::of(Some(8 * GIB), Some(4 * GIB));
        assert_eq!(server, Some(Limit::Server(4 * GIB)));
        assert_eq!(decide(server, 5 * GIB, None), Stage::Throttle);
        assert_eq!(decide(None, 500 * GIB, None), Stage::Fine);
        assert_eq!(Limit::of(Some(GIB), Some(4 * GIB)), Some(Limit::Own(GIB)));
    }

    #[test]
    fn a_limit_that_comes_near_fast_is_warned_of_early() {
        let own = Limit::of(Some(8 * GIB), None);
        let soon = Some(Duration::from_secs(600));
        assert_eq!(decide(own, GIB, soon), Stage::Warn);
        assert_eq!(decide(own, GIB / 2, soon), Stage::Fine);
        assert_eq!(
            decide(own, GIB, Some(Duration::from_secs(7200))),
            Stage::Fine
        );
    }

    #[test]
    fn growth_is_measured_over_the_window_and_forecasts_the_limit() {
        let (mut growth, start) = (Growth::default(), Instant::now());
        assert_eq!(growth.forecast(Limit::Own(GIB)), None);
        for second in 0..300_u64 {
            // Slow at first; only the last two minutes count.
            let retained = if second < 150 {
                0
            } else {
                (second - 150) << 20
            };
            growth.see(start + Duration::from_secs(second), retained);
        }
        let rate = growth.per_second().unwrap() / f64::from(1 << 20);
        assert!((rate - 1.0).abs() < 0.01, "{rate}");
        let left = growth.forecast(Limit::Own(GIB)).unwrap().as_secs();
        assert!((870..880).contains(&left), "{left}");
        assert!(growth.seen.len() < 130);
    }
}
