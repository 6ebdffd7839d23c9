//! What this process is at the moment.

/// For `/ready`, the page and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Connecting, or waiting for the start gate.
    #[default]
    Starting,
    /// Another daemon has the migration; this one takes over when that one is gone.
    Standby,
    /// Has the migration's lock, streams and copies.
    Owner,
    /// Waits to start over after an error.
    Retrying,
}

impl Role {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Owner => "owner",
            Self::Retrying => "retrying",
        }
    }
}
