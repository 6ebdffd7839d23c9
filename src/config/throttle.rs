//! When the copy slows down and stands.

use serde::Deserialize;

use super::size;
use super::window::Window;
use crate::error::{Error, Kind, Result};

/// Limits of the signals that slow the copy. A signal that is `None` is off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throttle {
    /// The copy stands while the stream is this many seconds behind.
    pub max_lag_seconds: f64,
    /// The copy stands while this much log is not applied.
    #[serde(deserialize_with = "super::size::optional")]
    pub max_lag_bytes: Option<u64>,
    /// The copy stands while the slot retains more WAL than this.
    #[serde(deserialize_with = "super::size::bytes")]
    pub max_retained_wal: u64,
    /// The copy stands while the slowest streaming standby replays this far behind.
    #[serde(deserialize_with = "super::size::number_or_off")]
    pub max_replica_lag_seconds: Option<f64>,
    /// The copy goes at a quarter of its speed while one in ten small statements waits
    /// this much longer than the best, and others are at work.
    #[serde(deserialize_with = "super::size::number_or_off")]
    pub max_delay_ms: Option<f64>,
    /// The copy stands while this many sessions of others run a statement.
    #[serde(deserialize_with = "super::size::number_or_off")]
    pub max_active_sessions: Option<f64>,
    /// The copy stands while a small transaction's COMMIT takes this long.
    #[serde(deserialize_with = "super::size::number_or_off")]
    pub max_commit_latency_ms: Option<f64>,
    /// One value: the copy stands while it is neither NULL, false, 0 nor empty.
    #[serde(deserialize_with = "super::size::text_or_off")]
    pub query: Option<String>,
    /// The copy runs only within this time of the day.
    #[serde(deserialize_with = "super::window::optional")]
    pub window: Option<Window>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            max_lag_seconds: 1.0,
            max_lag_bytes: Some(4 << 30),
            max_retained_wal: 8 << 30,
            max_replica_lag_seconds: Some(10.0),
            max_delay_ms: Some(1.5),
            max_active_sessions: None,
            max_commit_latency_ms: None,
            query: None,
            window: None,
        }
    }
}

/// Keeps the slot from filling the source's disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slot {
    /// The slot is dropped when it retains this much WAL.
    #[serde(deserialize_with = "super::size::optional")]
    pub give_up_wal: Option<u64>,
    /// How often an idle slot is moved on by a message; 0 never.
    pub heartbeat_seconds: u64,
    /// Standbys of `PostgreSQL` 17 and newer keep a copy of the slot.
    pub failover: bool,
}

/// Every slot keeps some log, however soon it is applied: below this one would be dropped
/// as soon as it is made.
const LEAST_GIVE_UP: u64 = 64 << 20;

/// # Errors
/// [`Kind::Config`] where the slot could not live with the limit.
pub(super) fn check(slot: &Slot) -> Result<()> {
    match slot.give_up_wal {
        Some(limit) if limit < LEAST_GIVE_UP => Err(Error::new(
            Kind::Config,
            format!(
                "slot.give_up_wal is {}; allowed are \"off\" and sizes from {} on",
                size::show(limit),
                size::show(LEAST_GIVE_UP)
            ),
        )),
        _ => Ok(()),
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            give_up_wal: Some(64 << 30),
            heartbeat_seconds: 10,
            failover: true,
        }
    }
}
