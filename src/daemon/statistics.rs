//! Statistics of the targets while the copy fills them.
//!
//! Of a table that was never analyzed the planner takes 200 different values for each
//! column that is not unique by itself, so a two-hundredth of it for each key that a change
//! asks for: the further the copy, the more rows, until it reads the whole table for every
//! change. Autovacuum would come by within a minute or so, where it is on; in that minute
//! the stream falls behind.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio_postgres::Client;

use super::{Shared, count, session};
use crate::error::Result;
use crate::failpoint;

const LOOK: Duration = Duration::from_millis(500);
/// A smaller table is read in no time.
const FROM: i64 = 256 << 10;
/// A table is analyzed again when it has grown to so many times its size. What is known of
/// its values by then goes for the rows that come too: this is for tables that the copy fills
/// in another order than that of the key.
const GROWN: i64 = 4;

/// Analyzes each target whenever it has grown a lot. Never ends by itself: without
/// statistics the copy is as right as with them.
pub async fn keep(shared: &Shared) -> Infallible {
    if failpoint::omitted("copy_statistics") {
        return std::future::pending().await;
    }
    let mut analyzed: HashMap<u32, i64> = HashMap::new();
    loop {
        if let Err(error) = look(shared, &mut analyzed).await {
            count(&error);
            tracing::debug!(%error, "the targets' statistics are not kept up");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks until an error.
async fn look(shared: &Shared, analyzed: &mut HashMap<u32, i64>) -> Result<()> {
    let client = session(&shared.conninfo, "analyze").await?;
    let targets = shared.prepared.sources.iter().flat_map(|(plan, _)| {
        plan.targets
            .iter()
            .map(|target| (target.table.oid, target.table.name.sql()))
    });
    let targets: Vec<(u32, String)> = targets.collect();
    loop {
        for (oid, name) in &targets {
            let size = size(&client, *oid).await?;
            let least = analyzed.get(oid).map_or(FROM, |before| before * GROWN);
            if size < least {
                continue;
            }
            // Before it is done: one that fails, by a time limit say, would fail again and
            // again, and load the server each time.
            analyzed.insert(*oid, size);
            // Who has the table for a VACUUM or an index is not waited for.
            client
                .batch_execute(&format!("analyze (skip_locked) {name}"))
                .await?;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Bytes of a table, with its partitions.
async fn size(client: &Client, oid: u32) -> Result<i64> {
    let row = client
        .query_one(
            "select coalesce((select sum(pg_relation_size(relid)) from pg_partition_tree($1::oid)),
                             pg_relation_size($1::oid), 0)::bigint",
            &[&oid],
        )
        .await?;
    Ok(row.get(0))
}
