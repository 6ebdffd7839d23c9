//! One daemon per migration: a session advisory lock in the target database.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Client;

use super::role::Role;
use super::{View, errors, monitor};
use crate::config::Config;
use crate::error::Result;
use crate::state::{DAEMON_LOCK, Migration, migration};

/// Takes the lock, waiting as a standby while another daemon has it; `None` when
/// asked to stop meanwhile. The row is read after the lock was got.
///
/// # Errors
/// Connection errors.
pub async fn acquire(
    owner: &Client,
    config: &Config,
    view: &watch::Sender<View>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Migration>> {
    let row = migration::require(owner, &config.name).await?;
    let mut said = false;
    loop {
        let got: bool = owner
            .query_one(
                "select pg_try_advisory_lock($1, $2)",
                &[&DAEMON_LOCK, &row.id],
            )
            .await?
            .get(0);
        if got {
            break;
        }
        if !said {
            said = true;
            monitor::role(view, Role::Standby, None);
            tracing::info!(migration = %config.name, "another daemon runs it: waiting as a standby");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
            _ = stop.wait_for(|s| *s) => return Ok(None),
        }
    }
    owner
        .execute(
            "insert into crossfade.daemon (migration_id, pid, host) values ($1, $2, $3)
             on conflict (migration_id) do update
             set pid = excluded.pid, host = excluded.host, started_at = clock_timestamp(),
                 seen_at = clock_timestamp(), waiting = null, throttled = null",
            &[
                &row.id,
                &i32::try_from(std::process::id()).unwrap_or(0),
                &host(),
            ],
        )
        .await?;
    monitor::role(view, Role::Starting, None);
    let row = owner
        .query_one(
            "select errors::text from crossfade.daemon where migration_id = $1",
            &[&row.id],
        )
        .await?;
    errors::take_up(&serde_json::from_str(row.get(0)).unwrap_or_default());
    migration::require(owner, &config.name).await.map(Some)
}

/// Whether a daemon of this migration runs anywhere.
///
/// # Errors
/// Connection errors.
pub async fn is_running(client: &Client, migration: i32) -> Result<bool> {
    migration::has_daemon(client, migration).await
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |h| h.trim().to_owned())
}
