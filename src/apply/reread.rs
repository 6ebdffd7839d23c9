//! Reads rows of the source by key, for values that the stream did not send.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::stats::Stats;
use crate::error::{Error, Result};
use crate::transform::Plan;
use crate::write::rows::key_arrays;
use crate::write::{Change, Image, Text};

/// What became of a request to read rows.
pub enum Read {
    /// For each key its present row, or that it is gone.
    Rows(Vec<Change>),
    /// A switch holds the table: nothing can be read until it ends.
    Locked,
}

/// Reads the present rows of these keys.
///
/// A row read here is at least as new as the change that asked for it, since that
/// change has passed the release gate. It may be newer: then the newer change is
/// still in the stream and will be applied on top.
///
/// The table is locked with NOWAIT: behind a switch that waits for this applier
/// the two would stand still. Any other lock is waited for.
///
/// # Errors
/// Connection and privilege errors.
pub async fn read(
    source: &Client,
    target: &Client,
    migration: i32,
    plan: &Plan,
    keys: &[Vec<Text>],
    stats: &Stats,
) -> Result<Read> {
    let mut waits = false;
    loop {
        match attempt(source, plan, keys).await {
            Ok(rows) => {
                if waits {
                    stats.waiting(None);
                }
                return Ok(Read::Rows(rows));
            }
            Err(e) if e.is_sqlstate("55P03") => {}
            Err(e) => return Err(e),
        }
        let switching: bool = target
            .query_one(
                "select coalesce(switching_until > clock_timestamp(), false)
                 from crossfade.migration where id = $1",
                &[&migration],
            )
            .await?
            .get(0);
        if switching {
            return Ok(Read::Locked);
        }
        if !waits {
            waits = true;
            stats.waiting(Some(format!(
                "somebody holds a lock on {}",
                plan.source.name
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn attempt(source: &Client, plan: &Plan, keys: &[Vec<Text>]) -> Result<Vec<Change>> {
    let lock = format!(
        "begin; lock table {} in access share mode nowait",
        plan.source.name.sql()
    );
    if let Err(e) = source.batch_execute(&lock).await {
        let error = Error::from(e);
        source.batch_execute("rollback").await?;
        return Err(error);
    }
    let read = present_rows(source, plan, keys).await;
    source.batch_execute("rollback").await?;
    read
}

/// Reads the present rows of these keys in whatever transaction is open: for each
/// key its row, under the text that the key has in the source now, or that it is
/// gone. Keys that are equal to the server give one change.
///
/// # Errors
/// Connection and privilege errors.
pub async fn present_rows(client: &Client, plan: &Plan, keys: &[Vec<Text>]) -> Result<Vec<Change>> {
    let keys = distinct(client, plan, keys).await?;
    let arrays = key_arrays(keys.iter().map(Vec::as_slice), plan.key.len())?;
    let rows = client
        .query(&plan.read_keys(), &parameters(&arrays))
        .await?;
    let mut changes: Vec<Change> = keys
        .iter()
        .map(|key| Change {
            key: key.clone(),
            image: Image::Gone,
        })
        .collect();
    for row in &rows {
        let n = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let values: Vec<Option<Text>> = (1..=plan.used.len())
            .map(|i| {
                row.get::<_, Option<&str>>(i)
                    .map(|v| Bytes::copy_from_slice(v.as_bytes()))
            })
            .collect();
        if let Some(change) = changes.get_mut(n) {
            change.key = plan.key_of(&values);
            change.image = Image::Row(values);
        }
    }
    Ok(changes)
}

/// The first of each set of keys that the server calls equal.
///
/// # Errors
/// Connection errors.
pub async fn distinct(client: &Client, plan: &Plan, keys: &[Vec<Text>]) -> Result<Vec<Vec<Text>>> {
    if plan.key_text_is_identity() {
        return Ok(keys.to_vec());
    }
    let arrays = key_arrays(keys.iter().map(Vec::as_slice), plan.key.len())?;
    let rows = client
        .query(&plan.group_keys(), &parameters(&arrays))
        .await?;
    let first = rows
        .iter()
        .filter(|row| row.get::<_, i64>(0) == row.get::<_, i64>(1));
    Ok(first
        .filter_map(|row| keys.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?))
        .cloned()
        .collect())
}

fn parameters<'a>(arrays: &'a [Vec<&str>]) -> Vec<&'a (dyn ToSql + Sync)> {
    arrays.iter().map(|a| a as &(dyn ToSql + Sync)).collect()
}
