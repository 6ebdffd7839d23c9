//! Verification: counts and checksums of both sides with no false alarm under load.
//!
//! ```text
//! planner → ranges → workers (one snapshot a range) → suspects → decider
//! ```
//!
//! A worker compares the digests of a range in the server, both sides in one short
//! snapshot. Where they differ it finds the keys that differ ([`look`]); the decider
//! tells a difference from a change under way ([`decide`]). Every queue is bounded,
//! and no snapshot is held while one is full.

pub mod applied;
pub mod basis;
pub mod changed;
pub mod compare;
pub mod decide;
pub mod look;
pub mod pass;
pub mod prepared;
pub mod report;
pub mod sql;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, GenericClient};

use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, connect};
use crate::state::{ChunkTable, VERIFY_LOCK, migration};
use crate::transform::{Module, Plan};

pub use changed::{verify_changed, verify_changed_in};
pub use pass::{Progress, Waiting, verify_all};
pub use prepared::Prepared;
pub use report::{Difference, DifferenceKind, Outcome, Report, Resumed};

/// A source row's key, one text a column.
pub type Key = Vec<String>;

/// A bound module with its chunk table and change log.
pub type Source = (Arc<Plan>, ChunkTable);

/// Suspect keys taken from a range or decided at a time.
const PAGE: usize = 2000;

/// How long another verification is waited for: the daemon's own gives way at the end
/// of the ranges that it is comparing.
const OTHERS: Duration = Duration::from_secs(30);

/// What is verified.
#[derive(Debug, Clone)]
pub struct Subject {
    pub migration: i32,
    /// Of all modules together; stands in the certificate.
    pub module_hash: String,
    /// `migration.switches`, read before the plans were bound to tables: a switch later
    /// than that has given the names to other tables, and nothing may be concluded.
    pub switches: i32,
    pub sources: Vec<Source>,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Differences listed; all are counted.
    pub limit: usize,
    /// Ranges compared at a time, each on a connection of its own.
    pub workers: usize,
    /// Source rows a range.
    pub range_rows: u32,
    /// Go on with the interrupted pass of the same modules and columns, if there is
    /// one.
    pub resume: bool,
    /// Give way, at the end of a range, to whoever waits to verify and to a switch;
    /// and do not wait for others.
    pub polite: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: 100,
            workers: 2,
            range_rows: 10_000,
            resume: false,
            polite: false,
        }
    }
}

/// Source rows of a range, in copy batches: a verified row is only read.
const BATCHES_A_RANGE: u32 = 10;

/// Source rows of a range where the copy's chunks have `batch_rows`.
#[must_use]
pub fn range_rows(batch_rows: u32) -> u32 {
    batch_rows.saturating_mul(BATCHES_A_RANGE)
}

/// The chunk table of each bound module of a migration that has begun.
///
/// # Errors
/// [`Kind::Phase`] where the migration knows no such source.
pub async fn sources(client: &Client, migration: i32, plans: Vec<Plan>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for plan in plans {
        let id = migration::source_id(client, migration, &plan).await?;
        let chunks = ChunkTable::new(id, &plan);
        let exists: bool = client
            .query_one("select to_regclass($1) is not null", &[&chunks.name()])
            .await?
            .get(0);
        if !exists {
            return Err(not_copied(&plan.module));
        }
        check_view(client, &plan, id).await?;
        sources.push((Arc::new(plan), chunks));
    }
    Ok(sources)
}

/// A daemon of this version makes the view that rebuilds the source when it starts.
async fn check_view(client: &Client, plan: &Plan, source_id: i32) -> Result<()> {
    let exists: bool = client
        .query_one(
            "select to_regclass($1) is not null",
            &[&ChunkTable::back_view(source_id)],
        )
        .await?
        .get(0);
    if plan.reverse.is_none() || exists {
        return Ok(());
    }
    Err(Error::new(
        Kind::Phase,
        format!(
            "module {}: the view that rebuilds {} is not there yet",
            plan.module.name, plan.source.name
        ),
    )
    .remedy("start `crossfade run`: it makes the view"))
}

fn not_copied(module: &Module) -> Error {
    Error::new(
        Kind::Phase,
        format!("module {}: the copy has not finished", module.name),
    )
    .remedy("wait for `crossfade run` to copy everything (`crossfade status` shows how far it is)")
}

/// The rule by which keys are decided holds once no chunk can be copied any more.
async fn check_copied<C: GenericClient>(client: &C, subject: &Subject) -> Result<()> {
    for (plan, chunks) in &subject.sources {
        if !chunks.progress(client).await?.complete() {
            return Err(not_copied(&plan.module));
        }
    }
    Ok(())
}

/// A session for reading ranges.
async fn session(info: &ConnInfo, purpose: &str) -> Result<Client> {
    let client = connect(info, purpose).await?;
    client
        .batch_execute(
            "set jit = off; set work_mem = '32MB'; set max_parallel_workers_per_gather = 0;
             set plan_cache_mode = force_custom_plan",
        )
        .await?;
    Ok(client)
}

/// Opens the transaction of one look: the tables first, then the snapshot.
async fn begin(client: &Client, lock: &str) -> Result<()> {
    client
        .batch_execute(&format!(
            "begin isolation level repeatable read read only; {lock}"
        ))
        .await
        .map_err(Error::from)
}

/// Keeps other verifications of the migration out for as long as the session lives:
/// only they remove entries of the change log.
///
/// Waits in the lock's queue, where the daemon's verification sees it and gives way;
/// a polite one is that of the daemon and comes back later.
async fn alone(client: &Client, migration: i32, polite: bool) -> Result<()> {
    let got: bool = client
        .query_one(
            "select pg_try_advisory_lock($1, $2)",
            &[&VERIFY_LOCK, &migration],
        )
        .await?
        .get(0);
    if got {
        return Ok(());
    }
    let taken = || {
        Error::new(
            Kind::Contention,
            "another verification of this migration is running",
        )
        .remedy("wait for it to end")
    };
    if polite {
        return Err(taken());
    }
    tracing::info!("waiting for another verification to give way");
    client
        .batch_execute(&format!("set lock_timeout = {}", OTHERS.as_millis()))
        .await?;
    let got = client
        .execute(
            "select pg_advisory_lock($1, $2)",
            &[&VERIFY_LOCK, &migration],
        )
        .await
        .map_err(Error::from);
    match got {
        Ok(_) => Ok(client.batch_execute("reset lock_timeout").await?),
        Err(e) if e.is_sqlstate("55P03") => Err(taken()),
        Err(e) => Err(e),
    }
}
