//! How a migration stands: everything that `crossfade status`, the daemon's page and
//! its `/status` show, read from the state, so that it says the same anywhere.

pub mod operation;
pub mod text;
pub mod verification;

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::config::Config;
use crate::error::Result;
use crate::pg::{Lsn, slot};
use crate::phase::Phase;
use crate::state::{Migration, migration, switchover};

const ROW: &str = "
select c.applied_lsn, c.rows_applied, c.transactions,
       pg_current_wal_insert_lsn(),
       m.copy_started_at::text, m.copy_finished_at::text, m.switched_at::text,
       extract(epoch from coalesce(m.copy_finished_at, clock_timestamp()) - m.copy_started_at)::float8,
       d.waiting, d.lag_seconds, d.max_lag_seconds,
       (select count(*) from crossfade.quarantine q join crossfade.source s on s.id = q.source_id
        where s.migration_id = m.id),
       extract(epoch from clock_timestamp() - d.seen_at)::float8
from crossfade.migration m
left join crossfade.checkpoint c on c.migration_id = m.id
left join crossfade.daemon d on d.migration_id = m.id
where m.id = $1";

/// Everything `status` shows, in the shape of `--output json`.
///
/// # Errors
/// No such migration; connection errors.
pub async fn read(client: &Client, config: &Config) -> Result<Value> {
    // One snapshot: what is shown together was true together.
    client
        .batch_execute("begin isolation level repeatable read read only")
        .await?;
    let status = async {
        let row = migration::require(client, &config.name).await?;
        in_snapshot(client, config, &row).await
    };
    let status = status.await;
    client.batch_execute("rollback").await?;
    status
}

async fn in_snapshot(client: &Client, config: &Config, migration: &Migration) -> Result<Value> {
    let row = client.query_one(ROW, &[&migration.id]).await?;
    let applied: Option<Lsn> = row.get::<_, Option<PgLsn>>(0).map(Lsn::from);
    let end: Lsn = row.get::<_, PgLsn>(3).into();
    let running = migration::has_daemon(client, migration.id).await?;
    let forward = slot::read(client, &config.slot()).await?;
    let back = slot::read(client, &config.back_slot()).await?;
    let switched = migration.phase == Phase::Switched;
    // After the switch the new schema is followed, where there is a way back; and going back
    // takes the slot of the way forward, to go on with.
    let followed = !switched || back.is_some();
    let way_back =
        back.is_some() && (!switched || forward.as_ref().is_some_and(slot::SlotInfo::is_ready));
    let slot = if switched { back } else { forward };
    let copied = copied(client, migration.id).await?;
    let switch = last_switch(client, migration.id).await?;
    // Without a daemon nobody measures: then it is the seconds since it was seen.
    let lag: Option<f64> = match (followed, running) {
        (false, _) => Some(0.0),
        (_, true) => row.get(9),
        (_, false) => row.get(12),
    };
    Ok(json!({
        "name": migration.name,
        "phase": migration.phase.name(),
        "paused": migration.paused,
        "daemon": running,
        "rows_copied": copied.rows,
        "rows_estimated": copied.estimated.max(copied.rows),
        "chunks_copied": copied.chunks,
        "chunks_pending": copied.pending,
        "rows_applied": row.get::<_, Option<i64>>(1).unwrap_or(0),
        "transactions_applied": row.get::<_, Option<i64>>(2).unwrap_or(0),
        "applied_lsn": applied.map(|l| l.to_string()),
        "lag_bytes": applied.filter(|_| followed).map_or(0, |a| end.since(a)),
        "lag_seconds": lag,
        "max_lag_seconds": row.get::<_, Option<f64>>(10),
        "retained_wal_bytes": slot.as_ref().and_then(|s| s.retained),
        "slot_active": slot.as_ref().is_some_and(|s| s.active_pid.is_some()),
        "quarantined": row.get::<_, i64>(11),
        "copy_started_at": row.get::<_, Option<String>>(4),
        "copy_finished_at": row.get::<_, Option<String>>(5),
        "copy_seconds": row.get::<_, Option<f64>>(7),
        "switched_at": row.get::<_, Option<String>>(6),
        "waiting": row.get::<_, Option<String>>(8),
        "way_back": way_back,
        "switches": migration.switches,
        "verification": verification::read(client, migration).await?,
        "switch": switch,
        "timeline": timeline(client, migration.id).await?,
        "operation": operation::read(client, migration.id, running).await?,
    }))
}

/// When each step was reached, in their order; those to come have no time.
async fn timeline(client: &Client, migration: i32) -> Result<Value> {
    let row = client
        .query_one(
            "select extract(epoch from m.created_at)::float8,
                    extract(epoch from m.copy_started_at)::float8,
                    extract(epoch from m.copy_finished_at)::float8,
                    extract(epoch from c.verified_at)::float8,
                    extract(epoch from m.switched_at)::float8
             from crossfade.migration m
             left join crossfade.certificate c on c.migration_id = m.id
             where m.id = $1",
            &[&migration],
        )
        .await?;
    let steps = ["begun", "copying", "streaming", "verified", "switched"];
    let reached = steps
        .iter()
        .enumerate()
        .map(|(i, step)| json!({"step": step, "at": row.get::<_, Option<f64>>(i)}));
    Ok(reached.collect())
}

/// The newest run of `switch`; nothing where there was none, or where the state is
/// that of an older version.
async fn last_switch(client: &Client, migration: i32) -> Result<Option<Value>> {
    let kept: bool = client
        .query_one(
            "select to_regclass('crossfade.switchover') is not null",
            &[],
        )
        .await?
        .get(0);
    if !kept {
        return Ok(None);
    }
    let last = switchover::last(client, migration).await?;
    Ok(last.map(|s| {
        json!({
            "direction": s.direction, "step": s.step, "attempt": s.attempt,
            "started_at": s.started_at, "ended_at": s.ended_at, "outcome": s.outcome,
            "write_stall_ms": s.stall_ms, "after_switch_pending": s.after_pending,
            "reason": s.detail["reason"], "blockers": s.detail["blockers"],
        })
    }))
}

#[derive(Default)]
struct Copied {
    rows: i64,
    estimated: i64,
    chunks: i64,
    pending: i64,
}

/// Sums over the chunk tables of all sources.
async fn copied(client: &Client, migration: i32) -> Result<Copied> {
    let sources = client
        .query(
            "select s.id, greatest(c.reltuples, 0)::bigint from crossfade.source s
             left join pg_class c on c.oid = s.table_oid
             where s.migration_id = $1
               and to_regclass('crossfade.chunk_' || s.id) is not null",
            &[&migration],
        )
        .await?;
    let mut sum = Copied::default();
    for source in &sources {
        let id: i32 = source.get(0);
        let sql = format!(
            "select coalesce(sum(rows), 0)::bigint, count(*) filter (where state = 'copied'),
                    count(*) filter (where state <> 'copied') from crossfade.chunk_{id}"
        );
        let row = client.query_one(&sql, &[]).await?;
        sum.rows += row.get::<_, i64>(0);
        sum.chunks += row.get::<_, i64>(1);
        sum.pending += row.get::<_, i64>(2);
        sum.estimated += source.get::<_, Option<i64>>(1).unwrap_or(0);
    }
    Ok(sum)
}
