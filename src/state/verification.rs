//! The pass that is under way or was interrupted, and how the last one ended.
//!
//! The row is written by the session that holds `VERIFY_LOCK`: who has lost the lock
//! cannot write it either.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::GenericClient;
use tokio_postgres::types::PgLsn;

use super::certificate::Basis;
use super::{SWITCH_LOCK, VERIFY_LOCK};
use crate::error::Result;
use crate::pg::Lsn;

/// A pass as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub basis: Basis,
    pub version: String,
    /// The checkpoint before its first range was read.
    pub applied_lsn: Lsn,
    /// `migration.switches` then.
    pub switches: i32,
    /// When it began, as the server prints times.
    pub began_at: String,
    /// Time spent in it.
    pub seconds: f64,
    pub frontier: Value,
}

/// # Errors
/// Connection errors.
pub async fn read<C: GenericClient>(client: &C, migration: i32) -> Result<Option<Stored>> {
    let row = client
        .query_opt(
            "select module_hash, columns_hash, version, applied_lsn, began_at::text, seconds,
                    frontier::text, switches
             from crossfade.verification where migration_id = $1",
            &[&migration],
        )
        .await?;
    Ok(row.map(|row| Stored {
        basis: Basis {
            module_hash: row.get(0),
            columns_hash: row.get(1),
        },
        version: row.get(2),
        applied_lsn: row.get::<_, PgLsn>(3).into(),
        began_at: row.get(4),
        seconds: row.get(5),
        frontier: serde_json::from_str(row.get(6)).unwrap_or_default(),
        switches: row.get(7),
    }))
}

/// Begins a pass in the place of any other.
///
/// # Errors
/// Connection errors.
pub async fn begin<C: GenericClient>(
    client: &C,
    migration: i32,
    applied: Lsn,
    switches: i32,
    basis: &Basis,
    frontier: &Value,
) -> Result<()> {
    client
        .execute(
            "insert into crossfade.verification
                 (migration_id, applied_lsn, module_hash, columns_hash, version, frontier, switches)
             values ($1, $2, $3, $4, $5, $6::text::jsonb, $7)
             on conflict (migration_id) do update
             set began_at = clock_timestamp(), moved_at = clock_timestamp(), seconds = 0,
                 applied_lsn = excluded.applied_lsn, module_hash = excluded.module_hash,
                 columns_hash = excluded.columns_hash, version = excluded.version,
                 frontier = excluded.frontier, switches = excluded.switches",
            &[
                &migration,
                &PgLsn::from(applied),
                &basis.module_hash,
                &basis.columns_hash,
                &env!("CARGO_PKG_VERSION"),
                &frontier.to_string(),
                &switches,
            ],
        )
        .await?;
    Ok(())
}

/// Writes how far the pass is. A pass whose row was removed (it has found a
/// difference) is not written again.
///
/// # Errors
/// Connection errors.
pub async fn save<C: GenericClient>(
    client: &C,
    migration: i32,
    seconds: f64,
    frontier: &Value,
) -> Result<()> {
    client
        .execute(
            "update crossfade.verification
             set moved_at = clock_timestamp(), seconds = $2, frontier = $3::text::jsonb
             where migration_id = $1",
            &[&migration, &seconds, &frontier.to_string()],
        )
        .await?;
    Ok(())
}

/// What a verification at work has to heed.
#[derive(Debug, Clone, PartialEq)]
pub struct Heed {
    /// The share of its full speed that the daemon's throttle leaves, 0 being standing; all
    /// of it where the daemon is gone.
    pub pace: f64,
    /// Why it is not all.
    pub reason: Option<String>,
    /// Another verification waits for the lock, or a switch is under way.
    pub wanted: bool,
}

/// # Errors
/// Connection errors.
pub async fn heed<C: GenericClient>(client: &C, migration: i32) -> Result<Heed> {
    let row = client
        .query_one(
            "with throttle as materialized
                 (select live #> '{throttle,verification}' as v from crossfade.daemon
                  where migration_id = $1 and seen_at > clock_timestamp() - interval '10 s')
             select coalesce((select (v ->> 'pace')::float8 from throttle), 1),
                    (select v #>> '{hold,reason}' from throttle),
                    exists(select from pg_catalog.pg_locks l
                     where l.locktype = 'advisory' and l.objsubid = 2
                       and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
                       and l.objid = $1::int4::oid
                       and (l.classid = $2::int4::oid and not l.granted
                            or l.classid = $3::int4::oid and l.granted))",
            &[&migration, &VERIFY_LOCK, &SWITCH_LOCK],
        )
        .await?;
    Ok(Heed {
        pace: row.get(0),
        reason: row.get(1),
        wanted: row.get(2),
    })
}

/// How the last verification ended that found something out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verified {
    pub ended_at: String,
    pub outcome: String,
    /// Differing rows by table.
    pub differences: BTreeMap<String, u64>,
    /// Since a full pass was last clean.
    pub clean_seconds: Option<f64>,
}

/// # Errors
/// Connection errors.
pub async fn last<C: GenericClient>(client: &C, migration: i32) -> Result<Option<Verified>> {
    let row = client
        .query_opt(
            "select ended_at::text, outcome, differences::text,
                    extract(epoch from clock_timestamp() - clean_at)::float8
             from crossfade.verified where migration_id = $1",
            &[&migration],
        )
        .await?;
    Ok(row.map(|row| Verified {
        ended_at: row.get(0),
        outcome: row.get(1),
        differences: serde_json::from_str(row.get(2)).unwrap_or_default(),
        clean_seconds: row.get(3),
    }))
}

/// Remembers how a verification ended. `clean` says that it was a full pass that
/// found everything equal.
///
/// # Errors
/// Connection errors.
pub async fn ended<C: GenericClient>(
    client: &C,
    migration: i32,
    outcome: &str,
    differences: &BTreeMap<String, u64>,
    clean: bool,
) -> Result<()> {
    let differences = serde_json::json!(differences).to_string();
    client
        .execute(
            "insert into crossfade.verified (migration_id, outcome, differences, clean_at)
             values ($1, $2, $3::text::jsonb, case when $4 then clock_timestamp() end)
             on conflict (migration_id) do update
             set ended_at = clock_timestamp(), outcome = excluded.outcome,
                 differences = excluded.differences,
                 clean_at = coalesce(excluded.clean_at, crossfade.verified.clean_at)
             -- To have decided nothing does not take a difference back.
             where excluded.outcome <> 'undecided' or crossfade.verified.outcome <> 'different'",
            &[&migration, &outcome, &differences, &clean],
        )
        .await?;
    Ok(())
}
