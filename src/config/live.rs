//! The settings that a running daemon takes up at once.

use serde::Deserialize as _;

use super::{Config, Copy, Throttle, size};
use crate::error::{Error, Kind, Result};

/// Throttle and pace of the copy: what the file says, and over it what an operator
/// has set since.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub throttle: Throttle,
    pub copy: Copy,
}

/// What can be set, with what it is about.
pub const KEYS: &[(&str, &str)] = &[
    ("max_lag_seconds", "seconds the stream may be behind"),
    ("max_lag_bytes", "log that may be unapplied, or off"),
    ("max_retained_wal", "WAL that the slot may retain"),
    (
        "max_replica_lag_seconds",
        "seconds a standby's replay may be behind, or off",
    ),
    (
        "max_delay_ms",
        "milliseconds small statements of others may be delayed, or off",
    ),
    (
        "max_active_sessions",
        "sessions of others that may be at work, or off",
    ),
    (
        "max_commit_latency_ms",
        "milliseconds a small COMMIT may take, or off",
    ),
    (
        "query",
        "a query whose true, number or text holds the copy, or off",
    ),
    (
        "window",
        "when the copy runs, as 22:00-06:00 Europe/Berlin, or off",
    ),
    (
        "sleep_ms",
        "milliseconds each copier waits after each chunk",
    ),
    ("batch_rows", "source rows in a chunk"),
    ("workers", "copiers, each with a connection"),
];

impl Live {
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            throttle: config.throttle.clone(),
            copy: config.copy.clone(),
        }
    }

    /// Sets one of [`KEYS`]; the rest is left as it is.
    ///
    /// # Errors
    /// [`Kind::Config`] for an unknown key or a value that the file could not have.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let wrong = |why: &str| {
            Error::new(Kind::Config, format!("{key}={value}: {why}"))
                .remedy("`crossfade throttle` shows the keys and what they are now")
        };
        if !KEYS.iter().any(|(known, _)| *known == key) {
            return Err(wrong("there is no such setting to change at run time"));
        }
        // As the file would have it: a number, or a text.
        let typed = value
            .parse::<i64>()
            .map(toml::Value::from)
            .or_else(|_| value.parse::<f64>().map(toml::Value::from))
            .unwrap_or_else(|_| toml::Value::from(value));
        let mut table = toml::Table::new();
        table.insert(key.to_owned(), typed);
        if matches!(key, "sleep_ms" | "batch_rows" | "workers") {
            let read = Copy::deserialize(table).map_err(|e| wrong(e.message()))?;
            match key {
                "sleep_ms" => self.copy.sleep_ms = read.sleep_ms,
                "workers" => self.copy.workers = read.workers,
                _ => self.copy.batch_rows = read.batch_rows,
            }
        } else {
            let read = Throttle::deserialize(table).map_err(|e| wrong(e.message()))?;
            self.take(key, read);
        }
        check(&self.throttle, &self.copy)
    }

    fn take(&mut self, key: &str, read: Throttle) {
        let t = &mut self.throttle;
        match key {
            "max_lag_seconds" => t.max_lag_seconds = read.max_lag_seconds,
            "max_lag_bytes" => t.max_lag_bytes = read.max_lag_bytes,
            "max_retained_wal" => t.max_retained_wal = read.max_retained_wal,
            "max_replica_lag_seconds" => t.max_replica_lag_seconds = read.max_replica_lag_seconds,
            "max_delay_ms" => t.max_delay_ms = read.max_delay_ms,
            "max_active_sessions" => t.max_active_sessions = read.max_active_sessions,
            "max_commit_latency_ms" => t.max_commit_latency_ms = read.max_commit_latency_ms,
            "query" => t.query = read.query,
            _ => t.window = read.window,
        }
    }

    /// Every key with its value, in the order of [`KEYS`].
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let t = &self.throttle;
        let off = |value: Option<String>| value.unwrap_or_else(|| "off".to_owned());
        KEYS.iter()
            .map(|(key, _)| {
                let value = match *key {
                    "max_lag_seconds" => t.max_lag_seconds.to_string(),
                    "max_lag_bytes" => off(t.max_lag_bytes.map(size::show)),
                    "max_retained_wal" => size::show(t.max_retained_wal),
                    "max_replica_lag_seconds" => {
                        off(t.max_replica_lag_seconds.map(|n| n.to_string()))
                    }
                    "max_delay_ms" => off(t.max_delay_ms.map(|n| n.to_string())),
                    "max_active_sessions" => off(t.max_active_sessions.map(|n| n.to_string())),
                    "max_commit_latency_ms" => off(t.max_commit_latency_ms.map(|n| n.to_string())),
                    "query" => off(t.query.clone()),
                    "window" => off(t.window.as_ref().map(ToString::to_string)),
                    "sleep_ms" => self.copy.sleep_ms.to_string(),
                    "workers" => self.copy.workers.to_string(),
                    _ => self.copy.batch_rows.to_string(),
                };
                (*key, value)
            })
            .collect()
    }
}

/// The bounds that hold for the file and for what is set at run time.
///
/// # Errors
/// [`Kind::Config`] naming the key and what is allowed.
pub fn check(throttle: &Throttle, copy: &Copy) -> Result<()> {
    let range = |what: &str, value: u64, low: u64, high: u64| {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Config,
            format!("{what} is {value}; allowed are {low} to {high}"),
        ))
    };
    range("copy.batch_rows", copy.batch_rows.into(), 1, 100_000)?;
    range(
        "copy.batch_rows_min",
        copy.batch_rows_min.into(),
        1,
        100_000,
    )?;
    if let Some(most) = copy.batch_rows_max {
        let least = copy.batch_rows_min.into();
        range("copy.batch_rows_max", most.into(), least, 100_000)?;
    }
    range("copy.batch_ms", copy.batch_ms, 1, 60_000)?;
    range("copy.sleep_ms", copy.sleep_ms, 0, 600_000)?;
    range("copy.workers", copy.workers.into(), 1, 64)?;
    range(
        "throttle.max_retained_wal",
        throttle.max_retained_wal,
        1,
        u64::MAX,
    )?;
    let lag = throttle.max_lag_seconds;
    if lag.is_finite() && lag > 0.0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        format!("throttle.max_lag_seconds is {lag}; it must be above 0"),
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn live() -> Live {
        let text = "name = 'a'\ntransforms = ['t']\n[source]\nurl = 'postgres://h/d'\n";
        Live::of(&Config::parse(text, Path::new("")).unwrap())
    }

    #[test]
    fn what_is_shown_can_be_set_again_and_changes_nothing() {
        let before = live();
        let mut after = live();
        for (key, value) in before.shown() {
            after.set(key, &value).unwrap();
        }
        assert_eq!(before, after);
    }

    #[test]
    fn each_key_changes_its_own_setting_alone() {
        let set = [
            ("max_lag_seconds", "2.5"),
            ("max_lag_bytes", "1GiB"),
            ("max_retained_wal", "2GiB"),
            ("max_replica_lag_seconds", "off"),
            ("max_delay_ms", "7.5"),
            ("max_active_sessions", "50"),
            ("max_commit_latency_ms", "20"),
            ("query", "select false"),
            ("window", "22:00-06:00 UTC"),
            ("sleep_ms", "5"),
            ("batch_rows", "500"),
            ("workers", "7"),
        ];
        assert_eq!(
            set.map(|s| s.0).as_slice(),
            KEYS.iter().map(|k| k.0).collect::<Vec<_>>()
        );
        for (key, value) in set {
            let (before, mut after) = (live().shown(), live());
            after.set(key, value).unwrap();
            for (old, new) in before.iter().zip(after.shown()) {
                assert_eq!(
                    new.1,
                    if old.0 == key { value } else { old.1.as_str() },
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn wrong_keys_and_values_are_refused_by_name() {
        for (key, value) in [
            ("max_lag", "3"),
            ("max_lag_seconds", "0"),
            ("max_lag_seconds", "nan"),
            ("max_retained_wal", "8 bananas"),
            ("window", "soon"),
            ("batch_rows", "0"),
            ("workers", "65"),
            ("max_active_sessions", "-1"),
            ("sleep_ms", "-1"),
        ] {
            let e = live().set(key, value).unwrap_err();
            assert!(
                e.to_string().contains(key) && e.exit_code() == 2,
                "{key}={value}: {e}"
            );
        }
    }
}
