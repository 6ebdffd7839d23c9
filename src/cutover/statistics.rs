//! Statistics of the tables that are about to be used: a table filled by a copy and
//! never analyzed gets plans that no application survives.

use tokio_postgres::Client;

use super::Direction;
use crate::error::Result;
use crate::pg::QualifiedName;
use crate::transform::Plan;

/// More than a tenth of the rows changed since: the threshold of autovacuum's own.
const STALE: &str = "
select greatest(s.last_analyze, s.last_autoanalyze) is null
    or greatest(s.last_analyze, s.last_autoanalyze) < m.copy_finished_at
    or s.n_mod_since_analyze > 1000 + 0.1 * greatest(c.reltuples, 0)
from pg_catalog.pg_class c
join pg_catalog.pg_stat_user_tables s on s.relid = c.oid, crossfade.migration m
where c.oid = $1 and m.id = $2";

/// Analyzes those tables whose statistics are missing or older than the copy, before
/// anything is locked; returns their names. What cannot be analyzed is said in the log
/// and stops nothing.
///
/// # Errors
/// Connection errors.
pub async fn refresh(
    client: &Client,
    migration: i32,
    plans: &[&Plan],
    direction: Direction,
) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for plan in plans {
        let tables: Vec<(u32, &QualifiedName)> = match direction {
            Direction::Forward => plan
                .targets
                .iter()
                .map(|t| (t.table.oid, &t.table.name))
                .collect(),
            Direction::Back => vec![(plan.source.oid, &plan.source.name)],
        };
        for (oid, name) in tables {
            let row = client.query_opt(STALE, &[&oid, &migration]).await?;
            // A partitioned table has no such statistics of its own.
            if !row.is_none_or(|row| row.get(0)) {
                continue;
            }
            match client
                .batch_execute(&format!("analyze {}", name.sql()))
                .await
            {
                Ok(()) => done.push(name.to_string()),
                Err(e) => {
                    tracing::warn!("{name} is not analyzed: {}", crate::error::Error::from(e))
                }
            }
        }
    }
    Ok(done)
}
