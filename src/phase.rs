//! The phases of a migration, in the order in which it passes through them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// Where a migration stands. Stored as text in `crossfade.migration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// State rows exist; publication and slot may or may not.
    Preparing,
    /// The slot exists; the start gate has not been passed yet.
    Gating,
    /// Chunks are being copied while the stream is applied.
    Copying,
    /// Every chunk is copied; only the stream goes on.
    Streaming,
    /// The new schema has taken over.
    Switched,
}

impl Phase {
    pub const ALL: [Self; 5] = [
        Self::Preparing,
        Self::Gating,
        Self::Copying,
        Self::Streaming,
        Self::Switched,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Gating => "gating",
            Self::Copying => "copying",
            Self::Streaming => "streaming",
            Self::Switched => "switched",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == s)
            .ok_or_else(|| {
                Error::new(
                    Kind::Phase,
                    format!("unknown phase `{s}` in crossfade.migration"),
                )
                .remedy("use the crossfade version that started this migration")
            })
    }
}
