//! What the applier shows to the rest of the daemon.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::metrics::table;
use crate::pg::Lsn;

/// Shared, written by the applier alone.
#[derive(Debug, Default)]
pub struct Stats {
    applied: AtomicU64,
    server: AtomicU64,
    decoded: AtomicU64,
    rows: AtomicU64,
    /// Commit time of the oldest transaction received and not applied, in
    /// microseconds since 1970; 0 when there is none.
    oldest: AtomicI64,
    /// How far the source's clock is ahead of this host's, in microseconds.
    ahead: AtomicI64,
    waiting: Mutex<Option<String>>,
    /// The last commits that nobody has asked for: when they ended and what they took.
    commits: Mutex<VecDeque<(Instant, Duration)>>,
}

/// More commits than this between two looks are not remembered.
const COMMITS: usize = 512;

impl Stats {
    pub fn set_applied(&self, lsn: Lsn) {
        self.applied.store(lsn.0, Ordering::Release);
    }

    #[must_use]
    pub fn applied(&self) -> Lsn {
        Lsn(self.applied.load(Ordering::Acquire))
    }

    pub fn set_server(&self, lsn: Lsn) {
        self.server.store(lsn.0, Ordering::Relaxed);
    }

    /// The newest position the server has told.
    #[must_use]
    pub fn server(&self) -> Lsn {
        Lsn(self.server.load(Ordering::Relaxed))
    }

    pub fn set_decoded(&self, lsn: Lsn) {
        self.decoded.fetch_max(lsn.0, Ordering::Relaxed);
    }

    /// The newest position that was taken out of the stream.
    #[must_use]
    pub fn decoded(&self) -> Lsn {
        Lsn(self.decoded.load(Ordering::Relaxed))
    }

    /// A COMMIT that waited for the disk took so long.
    pub fn commit_took(&self, ended: Instant, took: Duration) {
        if let Ok(mut commits) = self.commits.lock() {
            if commits.len() >= COMMITS {
                commits.pop_front();
            }
            commits.push_back((ended, took));
        }
    }

    /// The commits since the last call.
    #[must_use]
    pub fn take_commits(&self) -> VecDeque<(Instant, Duration)> {
        self.commits
            .lock()
            .map(|mut commits| std::mem::take(&mut *commits))
            .unwrap_or_default()
    }

    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        table::APPLY_ROWS_TOTAL.add(rows as u64);
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// A transaction that committed then was received and is not applied yet.
    pub fn received(&self, commit: SystemTime) {
        let micros = micros(commit);
        let _ = self
            .oldest
            .compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A transaction that committed then is applied: what is not is younger. Where the
    /// time is not known, nothing is until the next one is received; the monitor goes
    /// by positions beside this.
    pub fn committed(&self, commit: Option<SystemTime>) {
        if self.oldest.load(Ordering::Relaxed) != 0 {
            table::APPLY_DELAY_SECONDS.record(self.lag_seconds());
        }
        let oldest = commit.map_or(0, micros);
        self.oldest.store(oldest, Ordering::Relaxed);
    }

    /// Nothing received is unapplied.
    pub fn caught_up(&self) {
        self.oldest.store(0, Ordering::Relaxed);
    }

    /// Seconds since the oldest unapplied transaction committed; 0 when none is
    /// known. By the source's clock, as far as [`Stats::set_clock`] knows it.
    #[must_use]
    pub fn lag_seconds(&self) -> f64 {
        let oldest = self.oldest.load(Ordering::Relaxed);
        if oldest == 0 {
            return 0.0;
        }
        let now = micros(SystemTime::now()) + self.ahead.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)]
        let seconds = (now - oldest) as f64 / 1e6;
        seconds.max(0.0)
    }

    /// The source's clock showed `source` when this host's showed `here`.
    pub fn set_clock(&self, source: SystemTime, here: SystemTime) {
        let ahead = micros(source) - micros(here);
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Says what the applier waits for.
    pub fn waiting(&self, what: Option<String>) {
        if let Ok(mut slot) = self.waiting.lock() {
            *slot = what;
        }
    }

    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        self.waiting.lock().ok().and_then(|s| s.clone())
    }
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lag_is_by_the_sources_clock_whatever_this_hosts_shows() {
        let stats = Stats::default();
        for (ahead, behind) in [(0, 0), (3600, 0), (0, 3600)] {
            let here = SystemTime::now();
            let source = here + Duration::from_secs(ahead) - Duration::from_secs(behind);
            stats.caught_up();
            stats.set_clock(source, here);
            stats.received(source - Duration::from_secs(2));
            let lag = stats.lag_seconds();
            // This thread may be stopped before it asks, so there is no telling how much more
            // it is; a clock of the wrong side would make it an hour.
            assert!((2.0..1800.0).contains(&lag), "{lag}");
        }
    }
}
