//! What an index costs whoever writes: rows taken out of the table and put back, with the
//! index and without.

use serde::Serialize;
use tokio_postgres::Transaction;

use super::catalog::Table;
use super::experiment::Change;
use super::laboratory::{Laboratory, Place};
use super::plan::Plan;
use super::words::bytes;
use crate::error::{Context, Result};
use crate::pg::quote;

/// Rows that are written for a measurement.
const ROWS: u32 = 5_000;
const ROUNDS: usize = 3;

/// Per inserted row, medians.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WriteCost {
    pub rows: f64,
    pub us_without: f64,
    pub us_with: f64,
    pub wal_without: f64,
    pub wal_with: f64,
}

impl WriteCost {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let time = format!(
            "an inserted row takes {:.1} µs instead of {:.1}",
            self.us_with, self.us_without
        );
        // Temporary tables write no log.
        if self.wal_with > 0.0 {
            let (with, without) = (bytes(self.wal_with), bytes(self.wal_without));
            format!("{time}, and {with} of WAL instead of {without}")
        } else {
            time
        }
    }
}

/// Measures inserts into the table with a change and without it. Both times all other
/// indexes are there. Rolled back; the pages that it touched are vacuumed afterwards.
///
/// # Errors
/// What the server says.
pub async fn measure(
    laboratory: &mut Laboratory,
    changes: &[&Change],
) -> Result<Option<WriteCost>> {
    let Some(first) = changes.first() else {
        return Ok(None);
    };
    let name = first.table().clone();
    let table = laboratory.catalog.tables.iter().find(|t| t.name == name);
    let Some(table) = table.filter(|t| t.kind == 'r').cloned() else {
        return Ok(None);
    };
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(|c| !c.generated)
        .map(|c| quote(&c.name))
        .collect();
    let list = columns.join(", ");
    let here = laboratory.place == Place::Here;
    let mut samples: [Vec<(f64, f64)>; 2] = [Vec::new(), Vec::new()];
    let mut rows = 0.0;
    for _ in 0..ROUNDS {
        for (with, sample) in samples.iter_mut().enumerate() {
            let tx = laboratory.client.transaction().await?;
            let target = prepare(&tx, &table, &list, here).await?;
            if with == 1 {
                for (i, change) in changes.iter().enumerate() {
                    if let Change::Index(candidate) = change {
                        let sql = format!(
                            "create index crossfade_explain_write_{i} on {target} {}",
                            candidate.columns_text()
                        );
                        tx.batch_execute(&sql).await?;
                    }
                }
            }
            let sql = format!(
                "explain (analyze, wal, timing off, format json) insert into {target} ({list}) \
                 overriding system value select {list} from crossfade_explain_rows"
            );
            let text: String = tx
                .simple_query(&sql)
                .await
                .context(format!("measuring writes to {name}"))?
                .iter()
                .filter_map(|m| match m {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
                .collect();
            let plan = Plan::parse(&text)?;
            let made: i64 = tx
                .query_one("select count(*) from crossfade_explain_rows", &[])
                .await?
                .get(0);
            #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
            {
                rows = made as f64;
            }
            sample.push((
                plan.total_ms().unwrap_or(0.0),
                plan.root().number("WAL Bytes").unwrap_or(0.0),
            ));
            tx.rollback().await?;
        }
    }
    if !here {
        laboratory
            .client
            .batch_execute(&format!("vacuum {}", name.sql()))
            .await?;
    }
    let median = |sample: &mut Vec<(f64, f64)>| {
        sample.sort_by(|a, b| a.0.total_cmp(&b.0));
        sample[sample.len() / 2]
    };
    let (without, with) = (median(&mut samples[0]), median(&mut samples[1]));
    let each = |total: f64| total / rows.max(1.0);
    Ok((rows > 0.0).then(|| WriteCost {
        rows,
        us_without: each(without.0) * 1000.0,
        us_with: each(with.0) * 1000.0,
        wal_without: each(without.1),
        wal_with: each(with.1),
    }))
}

/// Puts rows aside and takes them out of the table that will get them back. In the given
/// database that is a copy: the table itself is left alone.
async fn prepare(tx: &Transaction<'_>, table: &Table, list: &str, here: bool) -> Result<String> {
    let name = table.name.sql();
    if here {
        tx.batch_execute(&format!(
            "create temp table crossfade_explain_copy (like {name} including indexes including generated) on commit drop; \
             create temp table crossfade_explain_rows on commit drop as select {list} from {name} limit {ROWS}"
        ))
        .await?;
        return Ok("crossfade_explain_copy".to_owned());
    }
    // Rows from all over the table, so that they go to leaves all over the index.
    let part = (f64::from(ROWS) * 5000.0 / table.rows.max(1.0)).clamp(0.1, 100.0);
    tx.batch_execute(&format!(
        "set local session_replication_role = replica; \
         create temp table crossfade_explain_places on commit drop as \
             select ctid as place from {name} tablesample system ({part}) repeatable (7) \
             order by hashtext(ctid::text) limit {ROWS}; \
         create temp table crossfade_explain_rows on commit drop as \
             select {list} from {name} where ctid = any (array(select place from crossfade_explain_places)); \
         delete from {name} where ctid = any (array(select place from crossfade_explain_places))"
    ))
    .await?;
    Ok(name)
}
