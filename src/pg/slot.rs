//! Logical replication slots and their publications.
//!
//! Create the publication before the slot: a stream decodes older changes with
//! the catalog of their time and fails at the first that does not know it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postgres_types::PgLsn;
use tokio_postgres::Client;

use super::ident::{literal, quote};
use super::lsn::Lsn;
use crate::error::{Context, Error, Kind, Result};

/// What the server says of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// `None` for a physical slot.
    pub plugin: Option<String>,
    pub database: Option<String>,
    /// It is of another database than the one that was asked.
    pub elsewhere: bool,
    /// The walsender that streams from it.
    pub active_pid: Option<i32>,
    /// Everything before it was confirmed and will not be sent again.
    pub confirmed_flush: Option<Lsn>,
    /// The oldest log it keeps; `None` once the slot has lost it.
    pub restart: Option<Lsn>,
    pub wal_status: Option<WalStatus>,
    /// Bytes that can be written until the slot is in danger of losing its log;
    /// `None` without `max_slot_wal_keep_size`.
    pub safe_wal_size: Option<i64>,
    /// Bytes of log from `restart` to the insert position.
    pub retained: Option<u64>,
}

impl SlotInfo {
    /// Whether a stream can begin: the slot has reached its consistent point (it is
    /// listed before, while the server waits for open transactions) and has its log.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.confirmed_flush.is_some() && self.wal_status != Some(WalStatus::Lost)
    }
}

/// Whether the log that a slot needs is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalStatus {
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond it, kept for the slot.
    Extended,
    /// The next checkpoint can remove it.
    Unreserved,
    /// Gone: the slot cannot be used.
    Lost,
}

/// Creates a slot with pgoutput and returns its consistent point: everything
/// that commits after it is streamed.
///
/// The server waits for every transaction that is writing now, no longer than
/// `bound` whatever the session's limits are; a slot that was not finished is removed by
/// the server. With `failover` standbys of `PostgreSQL` 17 and newer keep a copy of it,
/// if they are set up to.
///
/// # Errors
/// [`Kind::Contention`] when a transaction stays open for `bound`;
/// [`Kind::Precondition`] when `wal_level`, `max_replication_slots` or an older
/// slot of this name is in the way; [`Kind::Privilege`].
pub async fn create(client: &Client, name: &str, bound: Duration, failover: bool) -> Result<Lsn> {
    let knows: bool = client
        .query_one(
            "select current_setting('server_version_num')::int >= 170000",
            &[],
        )
        .await?
        .get(0);
    let option = if failover && knows {
        ", failover => true"
    } else {
        ""
    };
    limit(client, Some(bound)).await?;
    let sql = format!(
        "select lsn from pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput'{option})"
    );
    let created = client.query_one(&sql, &[&name]).await;
    let outcome = created
        .map_err(|e| explain_create(e.into()))
        .context(format!("cannot create the slot \"{name}\""));
    let reset = limit(client, None).await;
    let row = outcome?;
    reset?;
    Ok(row.try_get::<_, PgLsn>(0)?.into())
}

/// Bounds the whole statement and nothing within it: to the server the wait for a
/// transaction is one for a lock, and a `lock_timeout` would end it long before `bound`.
/// `None` goes back to the limits the session began with.
async fn limit(client: &Client, bound: Option<Duration>) -> Result<()> {
    let Some(bound) = bound else {
        let sql =
            "reset client_connection_check_interval; reset lock_timeout; reset statement_timeout";
        return Ok(client.batch_execute(sql).await?);
    };
    // Who waits for others does not notice that its client is gone, and would keep the slot
    // and the session's locks for as long. Not every system can look after that.
    let _ = client
        .batch_execute("set client_connection_check_interval = '1s'")
        .await;
    let milliseconds = bound.as_millis().clamp(1, i32::MAX as u128);
    let sql = format!("set lock_timeout = 0; set statement_timeout = {milliseconds}");
    Ok(client.batch_execute(&sql).await?)
}

fn explain_create(mut error: Error) -> Error {
    let remedy = match error.sqlstate.as_deref() {
        Some("55000") => "set wal_level = logical and restart the server",
        Some("53400") => "raise max_replication_slots, or drop slots that nobody uses",
        Some("42710") => "drop the slot if it is a left-over: `crossfade abort` does",
        Some("57014") => {
            return error.remedy(
                "end the transactions that have been writing since before it (pg_stat_activity, oldest xact_start)",
            );
        }
        Some("42501") => return error.remedy("alter role … replication"),
        _ => return error,
    };
    error.kind = Kind::Precondition;
    error.remedy(remedy)
}

/// A slot's state; `None` if there is no such slot.
///
/// # Errors
/// The server's.
pub async fn read(client: &Client, name: &str) -> Result<Option<SlotInfo>> {
    let row = client
        .query_opt(
            "select plugin::text, database::text, active_pid, confirmed_flush_lsn, restart_lsn,
                    wal_status, safe_wal_size,
                    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::int8,
                    coalesce(database <> current_database(), false)
             from pg_catalog.pg_replication_slots where slot_name = $1",
            &[&name],
        )
        .await
        .context(format!("cannot read the slot \"{name}\""))?;
    let Some(row) = row else { return Ok(None) };
    let lsn = |at| Ok::<_, Error>(row.try_get::<_, Option<PgLsn>>(at)?.map(Lsn::from));
    let status: Option<&str> = row.try_get(5)?;
    let retained: Option<i64> = row.try_get(7)?;
    Ok(Some(SlotInfo {
        plugin: row.try_get(0)?,
        database: row.try_get(1)?,
        elsewhere: row.try_get(8)?,
        active_pid: row.try_get(2)?,
        confirmed_flush: lsn(3)?,
        restart: lsn(4)?,
        wal_status: status.and_then(|status| match status {
            "reserved" => Some(WalStatus::Reserved),
            "extended" => Some(WalStatus::Extended),
            "unreserved" => Some(WalStatus::Unreserved),
            "lost" => Some(WalStatus::Lost),
            _ => None,
        }),
        safe_wal_size: row.try_get(6)?,
        retained: retained.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
    }))
}

/// Moves a slot on that nobody streams from, so that it keeps no more of the log than
/// it has to; nothing where it is at or beyond `to`, is in use, or is not there.
///
/// # Errors
/// The server's.
pub async fn advance(client: &Client, name: &str, to: Lsn) -> Result<()> {
    let done = client
        .execute(
            "select pg_catalog.pg_replication_slot_advance(slot_name, $2)
             from pg_catalog.pg_replication_slots
             where slot_name = $1 and active_pid is null and confirmed_flush_lsn < $2",
            &[&name, &PgLsn::from(to)],
        )
        .await;
    match done.map_err(Error::from) {
        Ok(_) => Ok(()),
        Err(e) if e.is_sqlstate("55006") || e.is_sqlstate("42704") => Ok(()),
        Err(e) => Err(e.context(format!("cannot advance the slot \"{name}\""))),
    }
}

/// What [`drop`] does to a session that streams from the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// Waits until it has ended by itself.
    Wait,
    /// Ends it.
    Terminate,
}

/// Drops a slot; false if there was none.
///
/// # Errors
/// [`Kind::Contention`] when a session still streams from it after `bound`.
pub async fn drop(client: &Client, name: &str, active: Active, bound: Duration) -> Result<bool> {
    let deadline = Instant::now() + bound;
    let what = format!("cannot drop the slot \"{name}\"");
    loop {
        let Some(slot) = read(client, name).await? else {
            return Ok(false);
        };
        // Slots are the whole server's; one of another database is somebody else's.
        if slot.elsewhere {
            return Ok(false);
        }
        if let (Some(pid), Active::Terminate) = (slot.active_pid, active) {
            // Only the walsender that holds this slot now: the number may be
            // another session's by the time the server reads it.
            client
                .execute(
                    "select pg_catalog.pg_terminate_backend(active_pid)
                     from pg_catalog.pg_replication_slots where slot_name = $1 and active_pid = $2",
                    &[&name, &pid],
                )
                .await
                .context(&what)?;
        }
        let dropped = client
            .execute("select pg_catalog.pg_drop_replication_slot($1)", &[&name])
            .await
            .map_err(Error::from);
        match dropped {
            Ok(_) => return Ok(true),
            Err(error) if error.is_sqlstate("42704") => return Ok(false),
            Err(error) if error.is_sqlstate("55006") && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.context(&what)),
        }
    }
}

/// Creates a publication of every kind of change of `tables`, each as [`Table::from_sql`]
/// names it: without inheritance children, which nobody reads here, and whose own UPDATEs
/// the server refuses once they are published without a key. Changes of partitions come as
/// changes of the partitioned table that is named.
///
/// # Errors
/// [`Kind::Contention`] when a lock (SHARE UPDATE EXCLUSIVE on each table) is not
/// had in `lock_timeout`; the server's.
pub async fn create_publication(
    client: &Client,
    name: &str,
    tables: &BTreeSet<String>,
) -> Result<()> {
    let tables: Vec<_> = tables.iter().map(String::as_str).collect();
    client
        .batch_execute(&format!(
            "create publication {} for table {} with (publish_via_partition_root = true)",
            quote(name),
            tables.join(", ")
        ))
        .await
        .context(format!("cannot create the publication \"{name}\""))
}

/// Drops a publication if it exists.
///
/// # Errors
/// The server's.
pub async fn drop_publication(client: &Client, name: &str) -> Result<()> {
    let members = "select from pg_catalog.pg_publication_tables where pubname = $1 limit 1";
    if !client.query(members, &[&name]).await?.is_empty() {
        empty(client, name).await;
    }
    client
        .batch_execute(&format!("drop publication if exists {}", quote(name)))
        .await
        .context(format!("cannot drop the publication \"{name}\""))
}

/// From finding a publication to looking it up: two steps of one statement, and the turns of
/// others on a busy machine.
const FOUND: Duration = Duration::from_millis(200);

/// Takes the tables out of a publication before it goes. A writer that finds a table in a
/// publication looks that up next: were both gone at once, its statement would fail with
/// "cache lookup failed for publication". Left to chance where the lock on a table, SHARE
/// UPDATE EXCLUSIVE, is not had soon: a VACUUM must not keep a publication from going.
async fn empty(client: &Client, name: &str) {
    let sql = format!(
        "do $crossfade$ declare members text; begin
           select string_agg('only ' || r.prrelid::pg_catalog.regclass::text, ', ') into members
           from pg_catalog.pg_publication_rel r
           join pg_catalog.pg_publication p on p.oid = r.prpubid where p.pubname = {literal};
           if members is not null then
             perform pg_catalog.set_config('lock_timeout', '2s', true);
             execute pg_catalog.format('alter publication %I drop table %s', {literal}, members);
           end if;
         end $crossfade$",
        literal = literal(name)
    );
    match client.batch_execute(&sql).await {
        // For a writer that has found it among the table's publications a moment ago.
        Ok(()) => tokio::time::sleep(FOUND).await,
        Err(error) => tracing::debug!(%error, "a publication goes with its tables"),
    }
}

/// Prefix of the transactional messages by which crossfade marks positions.
pub const MARK: &str = "crossfade";

/// Writes a marker into the log in a transaction of its own and makes it durable on
/// this server, so that everything before it is streamed without delay. (A message
/// outside of a transaction would not be flushed by itself.)
///
/// # Errors
/// The server's.
pub async fn mark(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "begin; set local synchronous_commit = local;
             select pg_catalog.pg_logical_emit_message(true, 'crossfade', 'mark'); commit",
        )
        .await
        .context("cannot write a marker into the log")
}

/// The log's present end, flushed or not.
///
/// # Errors
/// The server's.
pub async fn wal_end(client: &Client) -> Result<Lsn> {
    let row = client
        .query_one("select pg_catalog.pg_current_wal_insert_lsn()", &[])
        .await?;
    Ok(row.try_get::<_, PgLsn>(0)?.into())
}
