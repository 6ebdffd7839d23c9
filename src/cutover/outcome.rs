//! What a switch reports.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::blockers::Blocker;
use super::gates::Check;
use crate::error::Result;
use crate::pg::{ConnInfo, connect};
use crate::phase::Phase;

/// The three ways a switch can end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new schema has taken over.
    Switched,
    /// Nothing has changed, for this reason.
    NotSwitched(String),
    /// The COMMIT's answer was lost and could not be learned in time; running the
    /// switch again finds out.
    Unknown,
    /// Everything was done but COMMIT.
    Rehearsed,
}

impl Outcome {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Switched => "switched",
            Self::NotSwitched(_) => "not_switched",
            Self::Unknown => "unknown",
            Self::Rehearsed => "rehearsed",
        }
    }

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Switched | Self::Rehearsed => 0,
            Self::NotSwitched(_) => 1,
            Self::Unknown => 3,
        }
    }
}

/// How long one step took.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: &'static str,
    pub took: Duration,
}

#[derive(Debug)]
pub struct Report {
    pub outcome: Outcome,
    pub checks: Vec<Check>,
    pub attempts: u32,
    /// Steps of the last attempt.
    pub steps: Vec<Step>,
    /// From the request of the lock to the end of the transaction, in the last
    /// attempt: no writer of the source waited longer for it.
    pub stall: Duration,
    /// Keys verified inside the switch.
    pub verified_keys: u64,
    /// Who was in the way of the lock, in all attempts; in a rehearsal, who would have.
    pub blockers: Vec<Blocker>,
    /// Tables that were analyzed before.
    pub analyzed: Vec<String>,
    /// What needs attention although the outcome stands.
    pub notes: Vec<String>,
}

impl Report {
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            checks: Vec::new(),
            attempts: 0,
            steps: Vec::new(),
            stall: Duration::ZERO,
            verified_keys: 0,
            blockers: Vec::new(),
            analyzed: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Finds out what became of a COMMIT whose answer was lost.
///
/// The phase row alone is not enough: it still reads "before" while the COMMIT is
/// under way. The transaction's own status is asked until it is no longer in
/// progress.
///
/// # Errors
/// Connection errors that outlast `bound`.
pub async fn resolve(
    info: &ConnInfo,
    migration: i32,
    xid: &str,
    to: Phase,
    bound: Duration,
) -> Result<Option<bool>> {
    let since = Instant::now();
    loop {
        let answer = match connect(info, "switch outcome").await {
            Ok(client) => committed(&client, migration, xid, to).await,
            Err(e) => Err(e),
        };
        match answer {
            Ok(Some(known)) => return Ok(Some(known)),
            Err(e) if since.elapsed() > bound => return Err(e),
            Ok(None) if since.elapsed() > bound => return Ok(None),
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Whether the transaction that leads to phase `to` committed; `None` while it is in progress.
///
/// # Errors
/// Connection errors.
pub async fn committed(
    client: &Client,
    migration: i32,
    xid: &str,
    to: Phase,
) -> Result<Option<bool>> {
    let row = client
        .query_one(
            "select pg_xact_status($1::text::xid8),
                    (select phase from crossfade.migration where id = $2)",
            &[&xid, &migration],
        )
        .await?;
    let phase = row.get::<_, Option<&str>>(1).map(str::parse).transpose()?;
    let there = phase.is_some_and(|phase| reached(phase, to));
    Ok(match row.get::<_, Option<&str>>(0) {
        // Not with an older phase: then it is another server's transaction of that id.
        Some("committed") => there.then_some(true),
        Some("aborted") => Some(false),
        Some(_) => None,
        // Too old to have a status: it ended long ago, and the phase row tells how.
        None => Some(there),
    })
}

/// Whether a migration in this phase may be where a switch to `to` has led it. After a
/// switch back it may have gone on from there: a stream that is begun anew takes it back
/// to the copy.
fn reached(phase: Phase, to: Phase) -> bool {
    (phase == Phase::Switched) == (to == Phase::Switched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_back_is_known_to_have_happened_while_the_copy_is_made_anew() {
        for phase in [Phase::Preparing, Phase::Gating, Phase::Copying] {
            assert!(reached(phase, Phase::Streaming), "{phase}");
            assert!(!reached(phase, Phase::Switched), "{phase}");
        }
        assert!(reached(Phase::Streaming, Phase::Streaming));
        assert!(reached(Phase::Switched, Phase::Switched));
        assert!(!reached(Phase::Switched, Phase::Streaming));
    }
}
