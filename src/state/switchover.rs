//! The record of each run of `switch`: how far it got and how it ended.
//!
//! It is told by the control session and not by the one that holds the lock, with
//! `synchronous_commit = off`: a step then costs one round trip and no flush. Nothing
//! depends on a step being durable. Where a crash of the server loses the newest
//! ones, it has also rolled back or, being written later to the same log, kept
//! exactly what came before the switch's own commit. Only what a hook is owed is
//! flushed at once, since it has to do with the world outside.

use tokio_postgres::GenericClient;

use crate::error::Result;

/// Where a switch stands. Up to [`Step::Committing`] nothing has changed; then the
/// server decides, and the transaction's status tells how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Gates,
    BeforeHook,
    PreDrain,
    LockAsked,
    Locked,
    Verified,
    /// The point of no return.
    Committing,
    /// The transaction is over; what is owed to the hook may not be done yet.
    Ended,
}

impl Step {
    pub const ALL: [Self; 8] = [
        Self::Gates,
        Self::BeforeHook,
        Self::PreDrain,
        Self::LockAsked,
        Self::Locked,
        Self::Verified,
        Self::Committing,
        Self::Ended,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gates => "gates",
            Self::BeforeHook => "before_hook",
            Self::PreDrain => "pre_drain",
            Self::LockAsked => "lock_asked",
            Self::Locked => "locked",
            Self::Verified => "verified",
            Self::Committing => "committing",
            Self::Ended => "ended",
        }
    }

    /// The pause point that follows the record of this step.
    #[must_use]
    pub fn failpoint(self) -> &'static str {
        match self {
            Self::Gates => "switch.gates",
            Self::BeforeHook => "switch.before_hook",
            Self::PreDrain => "switch.pre_drain",
            Self::LockAsked => "switch.lock_asked",
            Self::Locked => "switch.locked",
            Self::Verified => "switch.verified",
            Self::Committing => "switch.committing",
            Self::Ended => "switch.ended",
        }
    }
}

/// One run, as stored.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: i64,
    pub direction: String,
    pub attempt: i32,
    pub step: String,
    pub started_at: String,
    pub ended_at: Option<String>,
    /// `None`: it is under way, or its process died.
    pub outcome: Option<String>,
    pub stall_ms: Option<f64>,
    /// `after_switch` has not been seen to end well.
    pub after_pending: bool,
    pub detail: serde_json::Value,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct End<'a> {
    /// `switched`, `not_switched` or `unknown`.
    pub outcome: &'a str,
    pub stall_ms: Option<f64>,
    pub detail: serde_json::Value,
}

/// Opens the record of a run.
///
/// # Errors
/// Connection errors.
pub async fn begin<C: GenericClient>(client: &C, migration: i32, direction: &str) -> Result<i64> {
    Ok(client
        .query_one(
            "insert into crossfade.switchover (migration_id, direction, step)
             values ($1, $2, $3) returning id",
            &[&migration, &direction, &Step::Gates.name()],
        )
        .await?
        .get(0))
}

/// # Errors
/// Connection errors.
pub async fn step<C: GenericClient>(client: &C, id: i64, step: Step) -> Result<()> {
    client
        .execute(
            "update crossfade.switchover set step = $2, step_at = clock_timestamp() where id = $1",
            &[&id, &step.name()],
        )
        .await?;
    Ok(())
}

/// An attempt has begun, in this transaction.
///
/// # Errors
/// Connection errors.
pub async fn attempt<C: GenericClient>(client: &C, id: i64, xid: &str) -> Result<()> {
    client
        .execute(
            "update crossfade.switchover
             set attempt = attempt + 1, xid = $2::text::xid8, step_at = clock_timestamp()
             where id = $1",
            &[&id, &xid],
        )
        .await?;
    Ok(())
}

/// From now on the hook `after_switch` is owed, whatever happens to this process or
/// to the server.
///
/// # Errors
/// Connection errors.
pub async fn owe<C: GenericClient>(client: &C, id: i64) -> Result<()> {
    client
        .batch_execute(&format!(
            "begin; set local synchronous_commit = local;
             update crossfade.switchover set after_pending = true where id = {id}; commit"
        ))
        .await?;
    Ok(())
}

/// The hook has been run for every run up to this one.
///
/// # Errors
/// Connection errors.
pub async fn paid<C: GenericClient>(client: &C, migration: i32, id: i64) -> Result<()> {
    client
        .execute(
            "update crossfade.switchover set after_pending = false
             where migration_id = $1 and id <= $2 and after_pending",
            &[&migration, &id],
        )
        .await?;
    Ok(())
}

/// # Errors
/// Connection errors.
pub async fn end<C: GenericClient>(client: &C, id: i64, end: &End<'_>) -> Result<()> {
    client
        .execute(
            "update crossfade.switchover
             set step = $2, step_at = clock_timestamp(), ended_at = clock_timestamp(),
                 outcome = $3, stall_ms = $4, detail = $5::text::jsonb
             where id = $1",
            &[
                &id,
                &Step::Ended.name(),
                &end.outcome,
                &end.stall_ms,
                &end.detail.to_string(),
            ],
        )
        .await?;
    Ok(())
}

/// Ends the runs whose process died or could not learn the outcome, as it turned
/// out. Where they stood stays to be read.
///
/// # Errors
/// Connection errors.
pub async fn end_dead<C: GenericClient>(client: &C, migration: i32, outcome: &str) -> Result<()> {
    client
        .execute(
            "update crossfade.switchover set ended_at = clock_timestamp(), outcome = $2
             where migration_id = $1 and coalesce(outcome, 'unknown') = 'unknown'",
            &[&migration, &outcome],
        )
        .await?;
    Ok(())
}

/// The newest run.
///
/// # Errors
/// Connection errors.
pub async fn last<C: GenericClient>(client: &C, migration: i32) -> Result<Option<Record>> {
    newest(client, migration, "true").await
}

/// The newest run that still owes its hook.
///
/// # Errors
/// Connection errors.
pub async fn owing<C: GenericClient>(client: &C, migration: i32) -> Result<Option<Record>> {
    newest(client, migration, "after_pending").await
}

async fn newest<C: GenericClient>(
    client: &C,
    migration: i32,
    condition: &str,
) -> Result<Option<Record>> {
    let sql = format!(
        "select id, direction, attempt, step, started_at::text, ended_at::text, outcome, stall_ms,
                after_pending, detail::text
         from crossfade.switchover where migration_id = $1 and {condition} order by id desc limit 1"
    );
    let row = client.query_opt(&sql, &[&migration]).await?;
    Ok(row.map(|row| Record {
        id: row.get(0),
        direction: row.get(1),
        attempt: row.get(2),
        step: row.get(3),
        started_at: row.get(4),
        ended_at: row.get(5),
        outcome: row.get(6),
        stall_ms: row.get(7),
        after_pending: row.get(8),
        detail: serde_json::from_str(row.get(9)).unwrap_or_default(),
    }))
}
