//! Whether changes are missing from the stream.

use tokio_postgres::Client;

use super::prepare::leg;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::pg::slot;
use crate::state::checkpoint::Leg;
use crate::state::{Migration, checkpoint, publication, recovery};

/// The stream must go on exactly where the checkpoint stands.
pub(super) async fn check(client: &Client, config: &Config, row: &Migration) -> Result<()> {
    let name = match leg(row.phase) {
        Leg::Forward => config.slot(),
        Leg::Reverse => config.back_slot(),
    };
    let info = slot::read(client, &name).await?.ok_or_else(|| {
        gap(
            leg(row.phase),
            format!("the slot {name} is gone: changes since the checkpoint are lost"),
        )
    })?;
    if info.elsewhere {
        return Err(Error::new(
            Kind::Precondition,
            format!(
                "the slot {name} belongs to database {}",
                info.database.as_deref().unwrap_or("-")
            ),
        )
        .remedy("slots are shared by all databases of a server: give this migration another `name`, or work on that database"));
    }
    if info.wal_status == Some(slot::WalStatus::Lost) {
        return Err(gap(
            leg(row.phase),
            format!(
                "the slot {name} has lost WAL that it needs: changes since the checkpoint are lost"
            ),
        ));
    }
    if let Some(why) = recovery::why_lost(client, row.id).await? {
        return Err(gap(leg(row.phase), why));
    }
    if let Some(changed) = publication::changed(client, row.id, &name).await? {
        return Err(gap(leg(row.phase), changed));
    }
    let applied = checkpoint::read(client, row.id).await?;
    if !info.is_ready() {
        return Err(Error::new(
            Kind::Contention,
            format!("the slot {name} is still being made"),
        )
        .remedy("let the transactions end that have been writing since before it; the daemon tries again"));
    }
    if info
        .confirmed_flush
        .is_some_and(|confirmed| confirmed > applied)
    {
        return Err(gap(
            leg(row.phase),
            format!(
                "the slot {name} was advanced beyond the checkpoint {applied} by somebody else"
            ),
        ));
    }
    Ok(())
}

/// Changes are missing from the stream.
pub(super) fn gap(leg: Leg, what: String) -> Error {
    let error = Error::new(Kind::Slot, what);
    match leg {
        Leg::Forward => error,
        Leg::Reverse => error.remedy(
            "the new schema is live and complete, the way back to the old one is lost: `crossfade finish`",
        ),
    }
}
