//! What of the verification is done before anybody is kept waiting.

use tokio_postgres::Client;

use super::Learned;
use crate::cutover::Direction;
use crate::cutover::switch::Prepared;
use crate::error::Result;
use crate::failpoint;
use crate::state::quarantine::{self, Entry};
use crate::verify;
use crate::write::Session;

/// Runs the comparison once before anybody waits for it: the first time in a session the
/// server reads the catalog for every table of it, which takes longer than the comparison
/// itself. Things move, so the answer means nothing.
pub async fn warm(prepared: &Prepared<'_>, session: &Session) -> verify::Prepared {
    let statements = verify::Prepared::default();
    if prepared.accept.unverified || failpoint::omitted("warm") {
        return statements;
    }
    if session.client.batch_execute("begin").await.is_ok() {
        let _ =
            verify::verify_changed_in(&session.client, &statements, &prepared.subject(), 0).await;
    }
    let _ = session.client.batch_execute("rollback").await;
    statements
}

/// Verifies what has changed up to this moment, so that under the locks only the keys of
/// the last milliseconds are left to compare; a reason not to go on. What it could not
/// verify is left to the locks.
pub async fn verify_late(prepared: &Prepared<'_>) -> Option<String> {
    if prepared.accept.unverified || failpoint::omitted("verify_late") {
        return None;
    }
    let options = verify::Options::default();
    match verify::verify_changed(&prepared.info, &prepared.subject(), &options).await {
        Ok(found) => (found.outcome() == verify::Outcome::Different)
            .then(|| differ(&found, prepared.direction)),
        Err(e) => {
            tracing::debug!(error = %e, "what changed is left to the locks");
            None
        }
    }
}

/// The rows in quarantine that the stream to be drained has set aside.
///
/// # Errors
/// Connection errors.
pub async fn set_aside(prepared: &Prepared<'_>, client: &Client) -> Result<Vec<Entry>> {
    let mut all = quarantine::list(client, prepared.migration.id).await?;
    all.retain(|e| e.leg == prepared.direction.leg());
    Ok(all)
}

/// A reason not to ask for the lock: the rows that kept an earlier attempt from going on
/// under it are still set aside, and would again.
///
/// # Errors
/// Connection errors.
pub async fn still_set_aside(
    prepared: &Prepared<'_>,
    control: &Client,
    learned: &Learned,
) -> Result<Option<String>> {
    if learned.set_aside.is_empty() {
        return Ok(None);
    }
    let now = set_aside(prepared, control).await?;
    let known = |e: &&Entry| {
        let mut before = learned.set_aside.iter();
        before.any(|b| (b.source_id, &b.key) == (e.source_id, &e.key))
    };
    let left = now.iter().filter(known).count();
    Ok((left > prepared.accept.quarantined).then(|| left_behind(left)))
}

/// What is said of rows in quarantine that keep the old schema.
#[must_use]
pub fn left_behind(rows: usize) -> String {
    format!(
        "{rows} rows are in quarantine, with values that other rows hold or that cannot be written: \
         `crossfade quarantine list` names them"
    )
}

/// What is said of rows that the last verification did not see as they are.
#[must_use]
pub fn differ(found: &verify::Report, direction: Direction) -> String {
    let command = match direction {
        Direction::Forward => "crossfade verify",
        Direction::Back => "crossfade verify --reverse",
    };
    format!(
        "{} rows changed since the last verification differ: `{command}` names them",
        found.count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_for_differences_is_told_the_command_that_shows_them() {
        let found = verify::Report::default();
        assert!(differ(&found, Direction::Forward).ends_with("`crossfade verify` names them"));
        assert!(
            differ(&found, Direction::Back).ends_with("`crossfade verify --reverse` names them")
        );
    }
}
