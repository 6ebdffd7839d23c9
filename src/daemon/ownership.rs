//! One daemon per migration: a session advisory lock in the target database.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Client;

use super::role::Role;
use super::{View, errors, monitor, session};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pg::ConnInfo;
use crate::state::{DAEMON_LOCK, Migration, migration};

/// A session that takes longer to give the lock up is broken.
const LEAVING: Duration = Duration::from_secs(10);
/// How often a start looks whether it is to end.
const LOOK: Duration = Duration::from_secs(1);

/// What came of asking for the lock.
pub enum Asked {
    /// The migration as it is since the lock was got.
    Got(Box<Migration>),
    /// Told to stop meanwhile.
    Stopped,
    /// The migration was finished or aborted meanwhile.
    Gone,
}

/// Takes the lock, waiting as a standby while another daemon has it, or the command that
/// ends the migration.
///
/// # Errors
/// Connection errors.
pub async fn acquire(
    owner: &Client,
    config: &Config,
    view: &watch::Sender<View>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Asked> {
    let Some(before) = migration::find(owner, &config.name).await? else {
        return Ok(Asked::Gone);
    };
    let mut said = false;
    loop {
        let got: bool = owner
            .query_one(
                "select pg_try_advisory_lock($1, $2)",
                &[&DAEMON_LOCK, &before.id],
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
            _ = stop.wait_for(|s| *s) => return Ok(Asked::Stopped),
        }
    }
    // Another one of that name, begun since, is not this daemon's.
    let row = migration::find(owner, &config.name).await?;
    let Some(row) = row.filter(|row| row.id == before.id) else {
        return Ok(Asked::Gone);
    };
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
    let told = owner
        .query_one(
            "select errors::text from crossfade.daemon where migration_id = $1",
            &[&row.id],
        )
        .await?;
    errors::take_up(&serde_json::from_str(told.get(0)).unwrap_or_default());
    Ok(Asked::Got(Box::new(row)))
}

/// Gives the lock up and waits until it is: left to the session's end, it would be held
/// for a moment after this process has ended, and whoever comes next would take it for
/// another daemon's. A session that is broken has lost it anyway.
pub async fn release(owner: &Client, migration: i32) {
    let sql = format!("select pg_advisory_unlock({DAEMON_LOCK}, {migration})");
    let _ = tokio::time::timeout(LEAVING, owner.batch_execute(&sql)).await;
}

/// Resolves when another command asks the daemon to end. The monitor looks after that later;
/// a preparation may wait for long, with the owner's session busy.
pub async fn asked_to_end(conninfo: &ConnInfo, config: &Config) {
    loop {
        // Most preparations are over by then, and need no second session.
        tokio::time::sleep(LOOK).await;
        let asked = async {
            let client = session(conninfo, "start").await?;
            while !migration::require(&client, &config.name).await?.stop {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, Error>(())
        };
        match asked.await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "nobody looks whether this start is to end"),
        }
    }
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
