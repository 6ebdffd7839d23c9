//! The slow way for a chunk that holds rows the targets refuse: its rows are read
//! and written in halves until what fails stands alone; those go to quarantine in
//! the chunk's own transaction.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::types::ToSql;

use super::again;
use super::chunk::{begin, begun_anew, execute};
use crate::apply::applier::rejection;
use crate::error::Result;
use crate::state::ChunkTable;
use crate::state::checkpoint::Leg;
use crate::state::chunk::Chunk;
use crate::state::quarantine;
use crate::transform::Plan;
use crate::write::{Change, Image, Session, Text};

/// Copies a claimed chunk row by row where need be. Returns the source rows read
/// and how many of them went to quarantine.
///
/// # Errors
/// Whatever is not one row's fault; the transaction is rolled back.
pub async fn copy(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
) -> Result<(i64, usize)> {
    let done = transaction(session, plan, chunks, chunk).await;
    if done.is_err() {
        let _ = session.client.batch_execute("rollback").await;
    }
    done
}

async fn transaction(
    session: &mut Session,
    plan: &Arc<Plan>,
    chunks: &ChunkTable,
    chunk: &Chunk,
) -> Result<(i64, usize)> {
    begin(session, plan).await?;
    if chunks.again {
        again::clear(session, plan, chunks, chunk).await?;
    }
    let shape = chunk.range.shape();
    let bounds = chunk.range.parameters();
    let changes = read(session, plan, &plan.read_range(shape), &bounds).await?;
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let mut rejected = 0;
    for part in changes.chunks(1000) {
        let part: Vec<&Change> = part.iter().collect();
        for row in session.merge(plan, &all, &part).await? {
            quarantine::put(
                &session.client,
                &rejection(chunks.source_id, Leg::Forward, row),
            )
            .await?;
            crate::metrics::table::QUARANTINED_TOTAL.add(1);
            rejected += 1;
        }
    }
    let mark = format!(
        "with {}\n{}",
        plan.source_range(shape),
        chunks.mark_copied(bounds.len() + 1, false)
    );
    let (rows, _) = execute(session, &mark, &bounds, Some(chunk.id))
        .await?
        .ok_or_else(begun_anew)?;
    if chunks.again {
        again::log(session, plan, chunks, chunk).await?;
    }
    session.client.batch_execute("commit").await?;
    Ok((rows, rejected))
}

/// Reads the used columns of a range as images.
async fn read(session: &Session, plan: &Plan, sql: &str, bounds: &[&str]) -> Result<Vec<Change>> {
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
    for bound in bounds {
        parameters.push(bound);
    }
    let rows = session.client.query(sql, &parameters).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let values: Vec<Option<Text>> = (0..plan.used.len())
                .map(|i| {
                    row.get::<_, Option<&str>>(i)
                        .map(|v| Bytes::copy_from_slice(v.as_bytes()))
                })
                .collect();
            let key = plan.key_of(&values);
            Change {
                key,
                image: Image::Row(values),
            }
        })
        .collect())
}
