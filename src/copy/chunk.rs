//! Copies one chunk: claim, snapshot, rows and state in one transaction, release.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::again::{self, Found};
use crate::error::{Context, Error, Kind, Result};
use crate::failpoint;
use crate::state::chunk::Chunk;
use crate::state::{CHUNK_LOCK, ChunkTable};
use crate::transform::Plan;
use crate::write::Session;

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Copied(Copied),
    /// Somebody else holds the claim, or has copied it.
    NotOurs,
}

/// A chunk that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    pub rows: i64,
    /// What its source rows take, where that was measured.
    pub bytes: Option<i64>,
}

/// Takes the chunk's claim: a session advisory lock, in autocommit. Whether the
/// chunk is still pending is read by a later statement, which sees what the
/// claim's last holder committed.
///
/// # Errors
/// Connection errors.
pub async fn claim(session: &Session, chunks: &ChunkTable, id: i32) -> Result<bool> {
    let class = CHUNK_LOCK + chunks.source_id;
    let got: bool = session
        .client
        .query_one("select pg_try_advisory_lock($1, $2)", &[&class, &id])
        .await?
        .get(0);
    if !got {
        return Ok(false);
    }
    let sql = format!(
        "select state = 'pending' from {} where id = $1",
        chunks.name()
    );
    let pending = match session.client.query_opt(&sql, &[&id]).await {
        Ok(row) => row.is_some_and(|r| r.get(0)),
        Err(e) => {
            // A claim that nobody works on would keep the applier waiting.
            release(session, chunks, id).await?;
            return Err(e.into());
        }
    };
    if !pending {
        release(session, chunks, id).await?;
    }
    Ok(pending)
}

/// Gives the claim back; only after COMMIT or ROLLBACK has returned.
///
/// # Errors
/// Connection errors.
pub async fn release(session: &Session, chunks: &ChunkTable, id: i32) -> Result<()> {
    let class = CHUNK_LOCK + chunks.source_id;
    session
        .client
        .execute("select pg_advisory_unlock($1, $2)", &[&class, &id])
        .await?;
    Ok(())
}

/// Opens the chunk's transaction. The table lock takes no snapshot, so the snapshot
/// comes after it: no TRUNCATE and no rewrite can be between snapshot and read.
///
/// # Errors
/// Lock timeout, connection errors.
pub async fn begin(session: &Session, plan: &Plan) -> Result<()> {
    if failpoint::omitted("lock_before_snapshot") {
        session
            .client
            .batch_execute("begin isolation level repeatable read; select 1")
            .await?;
        return Ok(());
    }
    session
        .client
        .batch_execute(&format!(
            "begin isolation level repeatable read; set constraints all immediate;
             lock table {} in access share mode",
            plan.source.name.sql()
        ))
        .await
        .context(format!("locking {} for a chunk", plan.source.name))
}

/// Copies a claimed chunk; the claim stays with the caller.
///
/// # Errors
/// The server's; the transaction is rolled back and the chunk still pending.
pub async fn copy(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
    measured: bool,
) -> Result<Copied> {
    let done = transaction(session, plan, chunks, chunk, measured).await;
    if done.is_err() {
        // A broken connection fails this too; then the server has rolled back.
        let _ = session.client.batch_execute("rollback").await;
    }
    done
}

async fn transaction(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
    measured: bool,
) -> Result<Copied> {
    let shape = chunk.range.shape();
    let binding = plan.source_range(shape);
    let bounds = chunk.range.parameters();
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let lookups = plan.insert_lookups(&binding, &all);
    // Looked-up rows first, in READ COMMITTED and in a transaction of their own:
    // waiting for another session that inserts the same ones holds nothing up.
    for sql in &lookups {
        execute(session, sql, &bounds, None).await?;
    }
    failpoint::hit("copy.before_snapshot").await;
    begin(session, plan).await?;
    if !lookups.is_empty() || failpoint::omitted("lock_before_snapshot") {
        session
            .client
            .query_one("select pg_current_snapshot()::text", &[])
            .await?;
    }
    failpoint::hit("copy.after_snapshot").await;
    // Again inside: a row changed meanwhile may need another one. What another
    // session inserted after our snapshot raises 40001, and the chunk starts over.
    for sql in &lookups {
        execute(session, sql, &bounds, None).await?;
    }
    let found = if chunks.again {
        Some(again::look(session, plan, chunk).await?)
    } else {
        None
    };
    let mark = chunks.mark_copied(bounds.len() + 1, measured);
    let statements = match found {
        Some(Found::Equal) => Vec::new(),
        Some(Found::Differs) => {
            again::rewrite(session, plan, chunks, chunk).await?;
            Vec::new()
        }
        Some(Found::Absent) | None => plan.insert(&binding, &all, &mark),
    };
    let (last, first) = statements
        .split_last()
        .map_or((None, &[][..]), |(l, f)| (Some(l), f));
    for sql in first {
        execute(session, sql, &bounds, None).await?;
    }
    let only_mark = format!("with {binding}\n{mark}");
    let done = execute(session, last.unwrap_or(&only_mark), &bounds, Some(chunk.id)).await?;
    let (rows, bytes) = done.ok_or_else(begun_anew)?;
    failpoint::hit("copy.before_commit").await;
    session.client.batch_execute("commit").await?;
    if let Some(found) = found {
        again::count(found);
    }
    Ok(Copied { rows, bytes })
}

/// The chunk could not be marked: nothing of this transaction may stay.
pub fn begun_anew() -> Error {
    Error::new(
        Kind::Ownership,
        "another daemon has begun the stream anew, and the chunk is its to copy",
    )
}

/// Runs one statement with the range's bounds and, for the one that marks the
/// chunk, its id; returns the rows and bytes that it tells.
///
/// # Errors
/// The server's.
pub async fn execute(
    session: &mut Session,
    sql: &str,
    bounds: &[&str],
    id: Option<i32>,
) -> Result<Option<(i64, Option<i64>)>> {
    let mut types = vec![Type::TEXT; bounds.len()];
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
    for bound in bounds {
        parameters.push(bound);
    }
    if let Some(id) = &id {
        types.push(Type::INT4);
        parameters.push(id);
    }
    let statement = session.prepare(sql, &types).await?;
    if id.is_none() {
        session.client.execute(&statement, &parameters).await?;
        return Ok(None);
    }
    let row = session.client.query_opt(&statement, &parameters).await?;
    Ok(row.map(|r| (r.get(0), r.get(1))))
}
