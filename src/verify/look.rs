//! The first look at a range: digests of both sides in one snapshot, and the keys
//! that differ where they do.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::compare::digest;
use super::report::Digest;
use super::sql::{Statements, pairs};
use super::{Key, PAGE, Source, begin};
use crate::error::{Result, Retry};
use crate::transform::sql::Range;

/// Tries of one range: a lock may time out, a session may be cancelled.
const TRIES: u32 = 5;

/// What one snapshot showed of a range.
#[derive(Debug, Default)]
pub struct Look {
    pub source_rows: i64,
    /// The target's own rows, for each pair; what is rebuilt for that of the way back.
    pub targets: Vec<Digest>,
    /// Keys that differ, lowest first.
    pub suspects: Vec<Key>,
    /// Keys above the last suspect were not searched.
    pub more: bool,
}

/// Looks at one range.
///
/// # Errors
/// The server's, after some tries where that can help.
pub async fn look(client: &Client, source: &Source, range: &Range) -> Result<Look> {
    let mut tries = 0;
    loop {
        // A row that cannot be converted fails the module for its whole range. It may
        // be on its way to quarantine: every key is decided on its own then.
        let done = match attempt(client, source, range, true).await {
            Err(e) if e.is_bad_row() => attempt(client, source, range, false).await,
            done => done,
        };
        tries += 1;
        match done {
            Err(e) if e.retry() == Retry::Soon && tries < TRIES => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => return done,
        }
    }
}

async fn attempt(client: &Client, source: &Source, range: &Range, module: bool) -> Result<Look> {
    let lock = Statements::new(&source.0, &source.1).lock();
    let done = match begin(client, &lock).await {
        Ok(()) => in_snapshot(client, source, range, module).await,
        Err(e) => Err(e),
    };
    // Nothing was written. A broken connection has ended the transaction itself.
    let ended = client.batch_execute("rollback").await;
    let look = done?;
    ended?;
    Ok(look)
}

async fn in_snapshot(
    client: &Client,
    (plan, chunks): &Source,
    range: &Range,
    module: bool,
) -> Result<Look> {
    let sql = Statements::new(plan, chunks);
    let rows = query(client, &sql.range_digests(range, module), range).await?;
    let mut look = Look::default();
    let mut active = Vec::new();
    for row in &rows {
        look.source_rows = row.get(0);
        for i in 0..pairs(plan) {
            let own = digest(row, 2 + 2 * i)?;
            look.targets.push(own);
            if digest(row, 1 + 2 * i)? != own {
                active.push(i);
            }
        }
    }
    let find = if !module {
        sql.all_keys(range, PAGE)
    } else if active.is_empty() {
        return Ok(look);
    } else {
        sql.suspects(range, &active, PAGE)
    };
    let found = query(client, &find, range).await?;
    // Such a row belongs to no key that could be decided.
    if found.iter().any(|row| row.get(plan.key.len())) {
        return Err(plan.stray());
    }
    look.suspects = found
        .iter()
        .map(|row| (0..plan.key.len()).map(|i| row.get(i)).collect())
        .collect();
    look.more = look.suspects.len() == PAGE;
    Ok(look)
}

async fn query(client: &Client, sql: &str, range: &Range) -> Result<Vec<Row>> {
    let bounds = range.parameters();
    let parameters: Vec<&(dyn ToSql + Sync)> =
        bounds.iter().map(|b| b as &(dyn ToSql + Sync)).collect();
    Ok(client.query(sql, &parameters).await?)
}
