//! Waits until the applier has passed a position.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::error::{Error, Kind, Result};
use crate::pg::{Lsn, Snapshot, slot};
use crate::state::{checkpoint, migration};

/// How long the checkpoint may stand still.
const STILL: Duration = Duration::from_secs(30);
/// How long a daemon may be away, for one that is starting over: longer than the longest
/// pause between two of its attempts.
const AWAY: Duration = Duration::from_secs(15);

/// A snapshot and a position read after it was taken: every transaction that the
/// snapshot sees has its commit record below the position.
#[derive(Debug, Clone)]
pub struct Instantaneous {
    pub snapshot: Snapshot,
    pub end: Lsn,
}

/// Takes a snapshot, or reads the one of the open transaction.
///
/// # Errors
/// Connection errors.
pub async fn now(client: &Client) -> Result<Instantaneous> {
    // The snapshot is taken before the statement runs, the position read while it does.
    let row = client
        .query_one(
            "select pg_current_snapshot()::text, pg_current_wal_insert_lsn()",
            &[],
        )
        .await?;
    Ok(Instantaneous {
        snapshot: row.get::<_, &str>(0).parse()?,
        end: row.get::<_, PgLsn>(1).into(),
    })
}

/// Waits until everything that committed below `end` is applied.
///
/// # Errors
/// [`Kind::Phase`] when no daemon runs, [`Kind::Contention`] when the checkpoint
/// stands still: nothing can be said of the keys that wait for it.
pub async fn wait(client: &Client, migration: i32, end: Lsn) -> Result<()> {
    if checkpoint::read(client, migration).await? >= end {
        return Ok(());
    }
    // Makes what is to come flushed and streamed, and its checkpoint written at once.
    slot::mark(client).await?;
    let (mut last, mut moved) = (Lsn(0), Instant::now());
    let mut seen = Instant::now();
    let mut asked: Option<Instant> = None;
    let mut pause = Duration::from_millis(1);
    loop {
        // Before the look, so that a pause of this process never counts as one of the applier.
        let now = Instant::now();
        let applied = checkpoint::read(client, migration).await?;
        if applied >= end {
            return Ok(());
        }
        if applied > last {
            (last, moved) = (applied, Instant::now());
        }
        if asked.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            asked = Some(Instant::now());
            if migration::has_daemon(client, migration).await? {
                seen = Instant::now();
            } else if seen.elapsed() > AWAY {
                return Err(Error::new(
                    Kind::Phase,
                    "no daemon is running, so changes that differ may just not be applied yet",
                )
                .remedy("start `crossfade run`, then verify again"));
            }
        }
        if now.duration_since(moved) > STILL {
            return Err(Error::new(
                Kind::Contention,
                format!(
                    "the applier has stood still at {applied} for {} s, before {end}",
                    STILL.as_secs()
                ),
            )
            .remedy("`crossfade status` says what it waits for"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
