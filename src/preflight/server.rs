//! The server and its settings.

use tokio_postgres::Client;

use super::{Finding, Report, Scene};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::slot;

/// The oldest server that streams what is needed here.
const OLDEST: i32 = 14;

pub(super) async fn check(client: &Client, scene: &Scene<'_>, report: &mut Report) {
    report.add("connection", connection(client, scene).await);
    report.add("server_version", version(client).await);
    report.add("primary", primary(client).await);
    report.add("encoding", encoding(client).await);
    report.add("wal_level", wal_level(client).await);
    report.add("replication_slots", slots(client, scene).await);
    report.add("wal_senders", senders(client, scene).await);
    report.add("connections", connections(client, scene).await);
    report.add("wal_sender_timeout", sender_timeout(client).await);
    report.add("max_slot_wal_keep_size", keep_size(client, scene).await);
    if let Some(found) = idle_timeout(client).await.transpose() {
        report.add("idle_replication_slot_timeout", found);
    }
    report.add("synchronous_standbys", standbys(client).await);
}

async fn setting(client: &Client, name: &str) -> Result<String> {
    let row = client
        .query_one(
            "select setting from pg_catalog.pg_settings where name = $1",
            &[&name],
        )
        .await
        .context(format!("reading the setting {name}"))?;
    Ok(row.try_get(0)?)
}

async fn number(client: &Client, name: &str) -> Result<i64> {
    setting(client, name)
        .await?
        .parse()
        .map_err(|_| Error::new(Kind::Server, format!("the setting {name} is not a number")))
}

/// Logged in; also what tells this server from another one after a failover.
async fn connection(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let tls: Option<String> = client
        .query_one(
            "select (select version from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid())",
            &[],
        )
        .await?
        .try_get(0)?;
    client
        .query_one(
            "select system_identifier from pg_catalog.pg_control_system()",
            &[],
        )
        .await
        .map_err(|e| {
            Error::from(e)
                .context("reading the server's identity")
                .remedy("GRANT EXECUTE ON FUNCTION pg_control_system() TO the role")
        })?;
    let encryption = tls.unwrap_or_else(|| "no TLS".to_owned());
    Ok(Finding::ok(format!(
        "{}, {encryption}",
        scene.info.display()
    )))
}

async fn version(client: &Client) -> Result<Finding> {
    let major = number(client, "server_version_num").await? / 10_000;
    let text = setting(client, "server_version").await?;
    if major >= i64::from(OLDEST) {
        return Ok(Finding::ok(format!("PostgreSQL {text}")));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("the server is PostgreSQL {text}; {OLDEST} or newer is needed"),
    )
    .remedy("upgrade the server"))
}

/// Such a database takes any bytes for text and converts none.
async fn encoding(client: &Client) -> Result<Finding> {
    let encoding = setting(client, "server_encoding").await?;
    if encoding != "SQL_ASCII" {
        return Ok(Finding::ok(format!(
            "the database is encoded in {encoding}"
        )));
    }
    Ok(Finding::warning(
        "the database's encoding is SQL_ASCII: a text that is not valid UTF-8 ends the run",
        "correct such texts first; the server does not know in which encoding they are",
    ))
}

async fn primary(client: &Client) -> Result<Finding> {
    let row = client
        .query_one("select pg_catalog.pg_is_in_recovery()", &[])
        .await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(Finding::ok("the server takes writes"));
    }
    Err(Error::new(
        Kind::Precondition,
        "the server is a standby or still in recovery",
    )
    .remedy("connect to the primary: copy and stream must work there"))
}

async fn wal_level(client: &Client) -> Result<Finding> {
    let level = setting(client, "wal_level").await?;
    if level == "logical" {
        return Ok(Finding::ok("logical"));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("wal_level is {level}; following changes needs logical"),
    )
    .remedy("ALTER SYSTEM SET wal_level = logical; then restart the server"))
}

async fn slots(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let most = number(client, "max_replication_slots").await?;
    let used: i64 = client
        .query_one("select count(*) from pg_catalog.pg_replication_slots", &[])
        .await?
        .try_get(0)?;
    let ours = slot::read(client, &scene.config.slot()).await?.is_some();
    if ours || used < most {
        return Ok(Finding::ok(format!("{used} of {most} in use")));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("all {most} replication slots are in use (max_replication_slots)"),
    )
    .remedy(format!(
        "drop one that nobody uses, or ALTER SYSTEM SET max_replication_slots = {}; then restart the server",
        most + 4
    )))
}

async fn senders(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let most = number(client, "max_wal_senders").await?;
    let used: i64 = client
        .query_one("select count(*) from pg_catalog.pg_stat_replication", &[])
        .await?
        .try_get(0)?;
    let slot = slot::read(client, &scene.config.slot()).await?;
    let streaming = slot.is_some_and(|s| s.active_pid.is_some());
    if streaming || used < most {
        return Ok(Finding::ok(format!("{used} of {most} in use")));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("all {most} WAL senders are in use (max_wal_senders)"),
    )
    .remedy(format!(
        "end a replication connection, or ALTER SYSTEM SET max_wal_senders = {}; then restart the server",
        most + 4
    )))
}

async fn connections(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let most = number(client, "max_connections").await?
        - number(client, "superuser_reserved_connections").await?;
    let used: i64 = client
        .query_one(
            "select count(*) from pg_catalog.pg_stat_activity where backend_type = 'client backend'",
            &[],
        )
        .await?
        .try_get(0)?;
    // Besides the copiers: owner, planner, statistics, applier, its reader, three probes, who
    // verifies, who prepares the way back. A pass of verification takes four more, when the
    // copiers and what goes with them have gone.
    let needed = i64::from(scene.config.copy.workers) + 10;
    if scene.begun.is_some() || used + needed <= most {
        return Ok(Finding::ok(format!(
            "{used} of {most} in use, the daemon takes up to {needed}"
        )));
    }
    Ok(Finding::warning(
        format!(
            "{used} of {most} in use; the daemon takes up to {needed}, and the application needs the rest"
        ),
        "raise max_connections, close idle sessions, or lower copy.workers",
    ))
}

async fn sender_timeout(client: &Client) -> Result<Finding> {
    let milliseconds = number(client, "wal_sender_timeout").await?;
    if milliseconds > 0 {
        return Ok(Finding::ok(format!("{milliseconds} ms")));
    }
    Ok(Finding::warning(
        "wal_sender_timeout is 0: the server does not notice when the stream's other end has gone, and keeps the slot busy",
        "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()",
    ))
}

async fn keep_size(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let mebibytes = number(client, "max_slot_wal_keep_size").await?;
    let budget = scene.config.throttle.max_retained_wal;
    let Ok(limit) = u64::try_from(mebibytes) else {
        return Ok(Finding::ok(format!(
            "no limit: a slot that stands still keeps WAL until the disk is full; the copy pauses at {} MiB (throttle.max_retained_wal)",
            budget >> 20
        )));
    };
    if limit << 20 > budget {
        return Ok(Finding::ok(format!(
            "{limit} MiB; the copy pauses at {} MiB (throttle.max_retained_wal)",
            budget >> 20
        )));
    }
    Ok(Finding::warning(
        format!(
            "the server gives the slot up at {limit} MiB of WAL, before the copy pauses at {} MiB (throttle.max_retained_wal)",
            budget >> 20
        ),
        format!("set throttle.max_retained_wal below \"{limit}MiB\""),
    ))
}

/// `None` before PostgreSQL 18, which brought the setting.
async fn idle_timeout(client: &Client) -> Result<Option<Finding>> {
    let row = client
        .query_one(
            "select t.v, coalesce(extract(epoch from t.v::interval), 0) > 0
             from pg_catalog.current_setting('idle_replication_slot_timeout', true) t(v)",
            &[],
        )
        .await
        .context("reading the setting idle_replication_slot_timeout")?;
    let (text, on): (Option<String>, bool) = (row.try_get(0)?, row.try_get(1)?);
    let Some(text) = text else { return Ok(None) };
    if !on {
        return Ok(Some(Finding::ok("a slot may stand idle for ever")));
    }
    Ok(Some(Finding::warning(
        format!(
            "the server gives the slot up when the daemon is away for {text}: everything that was copied must then be compared again"
        ),
        "let a second daemon stand by, or ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()",
    )))
}

async fn standbys(client: &Client) -> Result<Finding> {
    let names = setting(client, "synchronous_standby_names").await?;
    if names.trim().is_empty() {
        return Ok(Finding::ok("commits wait for no standby"));
    }
    // Whoever may not read statistics sees the rows without their columns.
    let row = client
        .query_one(
            "select count(*) filter (where sync_state in ('sync', 'quorum')), count(*),
                    pg_catalog.pg_has_role('pg_read_all_stats', 'usage')
             from pg_catalog.pg_stat_replication",
            &[],
        )
        .await?;
    let (synchronous, all, may_see): (i64, i64, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let connected = if may_see { synchronous } else { all };
    if connected > 0 {
        return Ok(Finding::ok(format!(
            "commits wait for {connected} of {names}"
        )));
    }
    Ok(Finding::warning(
        format!(
            "synchronous_standby_names is {names}, and no such standby is connected: every commit that waits for one hangs, and the stream waits with it"
        ),
        "start the standby, or ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()",
    ))
}
