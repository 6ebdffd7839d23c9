//! What is measured, and how near each of it is to its limit.

use std::time::Duration;

use crate::config::Throttle;

/// A signal that can slow the copy. The names are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By an operator.
    Paused,
    /// Outside of the time of the day.
    Window,
    /// The slot is near the limit at which it is lost.
    WalGuard,
    RetainedWal,
    Lag,
    LagBytes,
    ReplicaLag,
    /// Small statements take longer than without the copy.
    Delay,
    ActiveSessions,
    CommitLatency,
    /// The user's own.
    Query,
}

impl Kind {
    /// In the order of strength: of several that press alike the first is named.
    pub const ALL: [Self; 11] = [
        Self::Paused,
        Self::Window,
        Self::WalGuard,
        Self::RetainedWal,
        Self::Lag,
        Self::LagBytes,
        Self::ReplicaLag,
        Self::Delay,
        Self::ActiveSessions,
        Self::CommitLatency,
        Self::Query,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Window => "window",
            Self::WalGuard => "wal_guard",
            Self::RetainedWal => "retained_wal",
            Self::Lag => "lag",
            Self::LagBytes => "lag_bytes",
            Self::ReplicaLag => "replica_lag",
            Self::Delay => "delay",
            Self::ActiveSessions => "active_sessions",
            Self::CommitLatency => "commit_latency",
            Self::Query => "query",
        }
    }
}

/// How hard a signal presses: 1 is its limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    pub kind: Kind,
    pub pressure: f64,
    /// For `status`, with what was measured and the setting behind it.
    pub reason: String,
}

/// What the monitor itself measures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    pub paused: bool,
    /// How far the applier is behind.
    pub lag_seconds: f64,
    pub lag_bytes: u64,
    /// WAL that the slot keeps the server from removing.
    pub retained_wal: u64,
    /// Where the slot is lost, and the retained share of it from which on the copy
    /// stands; nothing where nothing bounds the slot.
    pub wal_guard: Option<(u64, f64)>,
}

/// What is asked of the database only where a limit is set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probed {
    /// The slowest streaming standby: its name, and seconds.
    pub replica: Option<(String, f64)>,
    /// What one in ten small statements waits beyond the best, while others work.
    pub delay: Option<Duration>,
    pub active_sessions: Option<u32>,
    pub commit: Option<Duration>,
    /// What the user's query says against going on.
    pub query: Option<String>,
    /// Minute of the day, in the window's zone.
    pub minute: Option<u32>,
    /// The database has not answered for this long.
    pub silent: Duration,
}

/// A database that has not answered for so long is in trouble itself.
const SILENT: Duration = Duration::from_secs(5);

/// Every signal that is on, in the order of [`Kind::ALL`].
#[must_use]
pub fn signals(load: &Load, probed: &Probed, limits: &Throttle) -> Vec<Signal> {
    let mut all = own(load, limits);
    all.extend(asked(probed, limits));
    all.sort_by_key(|s| s.kind);
    all
}

fn signal(kind: Kind, pressure: f64, reason: String) -> Signal {
    Signal {
        kind,
        pressure,
        reason,
    }
}

#[allow(clippy::cast_precision_loss)]
fn own(load: &Load, limits: &Throttle) -> Vec<Signal> {
    let mib = |bytes: u64| bytes >> 20;
    let mut all = vec![
        signal(
            Kind::Paused,
            f64::from(u8::from(load.paused)),
            "paused by an operator".to_owned(),
        ),
        signal(
            Kind::Lag,
            load.lag_seconds / limits.max_lag_seconds,
            format!(
                "the stream is {:.1} s behind (throttle.max_lag_seconds = {})",
                load.lag_seconds, limits.max_lag_seconds
            ),
        ),
        signal(
            Kind::RetainedWal,
            load.retained_wal as f64 / limits.max_retained_wal as f64,
            format!(
                "the slot retains {} MiB of WAL (throttle.max_retained_wal = {} MiB)",
                mib(load.retained_wal),
                mib(limits.max_retained_wal)
            ),
        ),
    ];
    if let Some((limit, share)) = load.wal_guard {
        all.push(signal(
            Kind::WalGuard,
            load.retained_wal as f64 / (limit as f64 * share),
            format!(
                "the slot retains {} MiB of WAL and is lost at {} MiB",
                mib(load.retained_wal),
                mib(limit)
            ),
        ));
    }
    if let Some(most) = limits.max_lag_bytes {
        all.push(signal(
            Kind::LagBytes,
            load.lag_bytes as f64 / most as f64,
            format!(
                "{} MiB of log are not applied (throttle.max_lag_bytes = {} MiB)",
                mib(load.lag_bytes),
                mib(most)
            ),
        ));
    }
    all
}

fn asked(probed: &Probed, limits: &Throttle) -> Vec<Signal> {
    let mut all = Vec::new();
    let mut put = |kind, pressure: f64, reason| {
        // What was measured long ago says nothing; that nothing can be measured does.
        if probed.silent > SILENT {
            let silent = probed.silent.as_secs();
            let reason = format!("the database has not answered a probe for {silent} s");
            all.push(signal(kind, 1.0, reason));
        } else {
            all.push(signal(kind, pressure, reason));
        }
    };
    if let Some(window) = &limits.window {
        let outside = probed.minute.is_none_or(|minute| !window.holds(minute));
        let why = match probed.minute {
            Some(_) => "outside of the time to copy",
            None => "the server does not tell what time it is there",
        };
        put(
            Kind::Window,
            f64::from(u8::from(outside)),
            format!("{why} (throttle.window = {window})"),
        );
    }
    if let Some(most) = limits.max_replica_lag_seconds {
        let (name, seconds) = probed.replica.clone().unwrap_or_default();
        put(
            Kind::ReplicaLag,
            seconds / most,
            format!(
                "standby {name} is {seconds:.1} s behind (throttle.max_replica_lag_seconds = {most})"
            ),
        );
    }
    if let Some(most) = limits.max_delay_ms {
        let ms = probed.delay.unwrap_or_default().as_secs_f64() * 1000.0;
        put(
            Kind::Delay,
            ms / most,
            format!(
                "others wait: small statements or commits are delayed by {ms:.1} ms (throttle.max_delay_ms = {most})"
            ),
        );
    }
    if let Some(most) = limits.max_active_sessions {
        let count = probed.active_sessions.unwrap_or(0);
        put(
            Kind::ActiveSessions,
            f64::from(count) / most,
            format!("{count} sessions are at work (throttle.max_active_sessions = {most})"),
        );
    }
    if let Some(most) = limits.max_commit_latency_ms {
        let ms = probed.commit.unwrap_or_default().as_secs_f64() * 1000.0;
        put(
            Kind::CommitLatency,
            ms / most,
            format!("a COMMIT takes {ms:.0} ms (throttle.max_commit_latency_ms = {most})"),
        );
    }
    if limits.query.is_some() {
        let says = probed.query.clone();
        put(
            Kind::Query,
            f64::from(u8::from(says.is_some())),
            format!("throttle.query says {}", says.unwrap_or_default()),
        );
    }
    all
}

/// What the answer of the user's query says against going on.
#[must_use]
pub fn objection(answer: Option<&str>) -> Option<String> {
    let text = answer?.trim();
    let go = text.is_empty()
        || matches!(text, "f" | "false")
        || text.parse::<f64>().is_ok_and(|number| number == 0.0);
    // Long enough for a sentence, short enough for a line.
    (!go).then(|| text.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_objects_with_anything_but_null_false_zero_and_nothing() {
        for go in [
            None,
            Some(""),
            Some("f"),
            Some("false"),
            Some("0"),
            Some("0.0"),
        ] {
            assert_eq!(objection(go), None, "{go:?}");
        }
        for (wait, says) in [
            ("t", "t"),
            ("3", "3"),
            (" a batch job runs ", "a batch job runs"),
        ] {
            assert_eq!(objection(Some(wait)).as_deref(), Some(says));
        }
    }

    #[test]
    fn each_signal_that_is_on_presses_by_its_share_of_the_limit_and_says_which() {
        let limits = Throttle {
            max_lag_seconds: 5.0,
            max_delay_ms: Some(3.0),
            max_active_sessions: Some(10.0),
            max_commit_latency_ms: Some(50.0),
            query: Some("select 1".to_owned()),
            window: Some("00:00-01:00".parse().unwrap()),
            ..Throttle::default()
        };
        let load = Load {
            paused: true,
            lag_seconds: 2.5,
            lag_bytes: 1 << 30,
            retained_wal: 4 << 30,
            wal_guard: Some((8 << 30, 0.5)),
        };
        let probed = Probed {
            replica: Some(("s1".to_owned(), 20.0)),
            delay: Some(Duration::from_micros(1500)),
            active_sessions: Some(5),
            commit: Some(Duration::from_millis(25)),
            query: Some("3".to_owned()),
            minute: Some(30),
            silent: Duration::ZERO,
        };
        let all = signals(&load, &probed, &limits);
        let found: Vec<_> = all.iter().map(|s| (s.kind, s.pressure)).collect();
        assert_eq!(
            found,
            [
                (Kind::Paused, 1.0),
                (Kind::Window, 0.0),
                (Kind::WalGuard, 1.0),
                (Kind::RetainedWal, 0.5),
                (Kind::Lag, 0.5),
                (Kind::LagBytes, 0.25),
                (Kind::ReplicaLag, 2.0),
                (Kind::Delay, 0.5),
                (Kind::ActiveSessions, 0.5),
                (Kind::CommitLatency, 0.5),
                (Kind::Query, 1.0),
            ]
        );
        assert!(all[6].reason.contains("s1") && all[6].reason.contains("20.0 s"));
    }

    #[test]
    fn a_database_that_does_not_answer_holds_the_copy_by_what_is_asked_of_it() {
        let probed = Probed {
            silent: Duration::from_secs(6),
            ..Probed::default()
        };
        let all = signals(&Load::default(), &probed, &Throttle::default());
        let held: Vec<_> = all.iter().filter(|s| s.pressure >= 1.0).collect();
        let kinds: Vec<_> = held.iter().map(|s| s.kind).collect();
        assert_eq!(kinds, [Kind::ReplicaLag, Kind::Delay]);
        assert!(held.iter().all(|s| s.reason.contains("not answered")));
    }

    #[test]
    fn the_names_are_the_metrics_labels() {
        assert_eq!(
            Kind::ALL.map(Kind::name).as_slice(),
            crate::metrics::table::SIGNALS
        );
    }
}
