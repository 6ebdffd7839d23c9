//! Whether the streams have in them what they must.

use tokio_postgres::Client;

use super::{Check, check};
use crate::config::Config;
use crate::cutover::Direction;
use crate::error::Result;
use crate::state::{Migration, publication};

/// The publication of the stream in use is the one that was made. That of the way forward
/// says nothing about a switch back: the daemon begins a stream anew where it has to.
pub(super) async fn check_publications(
    client: &Client,
    config: &Config,
    row: &Migration,
    direction: Direction,
) -> Result<Check> {
    let (names, remedy) = match direction {
        Direction::Forward => (
            vec![config.slot(), config.back_slot()],
            "the daemon makes what belongs to the way back anew by itself, and ends where it is the stream in use: start it again, it compares what was copied",
        ),
        Direction::Back => (
            vec![config.back_slot()],
            "the new schema is live and complete, the way back to the old one is lost: `crossfade finish`",
        ),
    };
    let mut wrong = Vec::new();
    for name in names {
        wrong.extend(publication::changed(client, row.id, &name).await?);
    }
    Ok(if wrong.is_empty() {
        check("stream", true, "the publication is as it was made", "")
    } else {
        check("stream", false, wrong.join("; "), remedy)
    })
}
