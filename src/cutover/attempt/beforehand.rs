//! What of the verification is done before anybody is kept waiting.

use crate::cutover::Direction;
use crate::cutover::switch::Prepared;
use crate::failpoint;
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
