//! A chunk whose target rows may be wrong, because changes were lost with a slot.
//!
//! It is copied by the same protocol as any other: claimed, then looked at in one
//! snapshot, and marked as copied in the transaction that makes its target rows right.
//! Until then it is pending, so the applier leaves its keys alone; from then on the
//! fence lets through what this snapshot has not seen. So it does not matter what the
//! lost changes were.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::chunk::execute;
use crate::error::Result;
use crate::failpoint;
use crate::metrics::table;
use crate::state::ChunkTable;
use crate::state::chunk::Chunk;
use crate::transform::Plan;
use crate::write::Session;

/// What the targets hold of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Exactly the module's rows.
    Equal,
    /// Nothing: the chunk is copied as if for the first time.
    Absent,
    Differs,
}

/// Compares a chunk's target rows with the module's, in the open transaction.
///
/// # Errors
/// The server's; a row that cannot be converted.
pub async fn look(session: &mut Session, plan: &Plan, chunk: &Chunk) -> Result<Found> {
    let sql = plan.compare_range(chunk.range.shape());
    let bounds = chunk.range.parameters();
    let parameters: Vec<&(dyn ToSql + Sync)> =
        bounds.iter().map(|b| b as &(dyn ToSql + Sync)).collect();
    let statement = session
        .prepare(&sql, &vec![Type::TEXT; bounds.len()])
        .await?;
    let row = session.client.query_one(&statement, &parameters).await?;
    failpoint::hit("again.looked").await;
    let found = match (row.get(0), row.get(1)) {
        (_, true) => Found::Equal,
        (true, false) => Found::Absent,
        (false, false) => Found::Differs,
    };
    Ok(found)
}

/// Counts a chunk that was committed.
pub fn count(found: Found) {
    let name = match found {
        Found::Equal => "equal",
        Found::Absent => "absent",
        Found::Differs => "differed",
    };
    table::RECOPIED_CHUNKS_TOTAL.add_for(name, 1);
}

/// Makes the chunk's target rows right, in the open transaction. Its keys go into the
/// change log, those that vanish too: a verification that compared them before must do
/// so again.
///
/// # Errors
/// The server's; a row that the targets refuse.
pub async fn rewrite(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
) -> Result<()> {
    let shape = chunk.range.shape();
    let bounds = chunk.range.parameters();
    log(session, plan, chunks, chunk).await?;
    for sql in plan.merge_range(shape) {
        execute(session, &sql, &bounds, None).await?;
    }
    log(session, plan, chunks, chunk).await
}

/// Removes the chunk's target rows, in the open transaction, for the way that writes
/// each row on its own.
///
/// # Errors
/// The server's.
pub async fn clear(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
) -> Result<()> {
    log(session, plan, chunks, chunk).await?;
    let sql = plan.delete_range(chunk.range.shape());
    execute(session, &sql, &chunk.range.parameters(), None).await?;
    Ok(())
}

/// Logs the keys that have target rows now.
pub async fn log(session: &Session, plan: &Plan, chunks: &ChunkTable, chunk: &Chunk) -> Result<()> {
    let row = session
        .client
        .query_one(
            "select pg_current_xact_id()::text, pg_current_wal_insert_lsn()::text",
            &[],
        )
        .await?;
    let (xid, lsn): (String, String) = (row.get(0), row.get(1));
    let bounds = chunk.range.parameters();
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        bounds.iter().map(|b| b as &(dyn ToSql + Sync)).collect();
    parameters.push(&xid);
    parameters.push(&lsn);
    for sql in plan.log_range(&chunks.change_log(), chunk.range.shape()) {
        session.client.execute(&sql, &parameters).await?;
    }
    Ok(())
}
