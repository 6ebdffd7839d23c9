//! Rows, from one server to another.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, pin_mut};
use tokio_postgres::Client;

use super::schema::Table;
use crate::error::{Context, Result};

/// Tables smaller than this are copied whole even when a sample is taken.
const SMALL: f64 = 32.0 * 1024.0 * 1024.0;
/// Bytes that are sent at once.
const HEAP: usize = 64 * 1024;
/// A copy that is slower than this many bytes a second is given up.
const SLOWEST: f64 = 2.0 * 1024.0 * 1024.0;
/// What every table may take in any case.
const SHORTEST: Duration = Duration::from_secs(60);

/// Copies a table's rows, or the rows of a part of its pages. As text: binary values
/// of arrays and composites carry OIDs of types, which differ between servers.
pub async fn copy(from: &Client, to: &Client, table: &Table, part: f64) -> Result<()> {
    if !table.has_rows {
        return Ok(());
    }
    let columns = table.written.join(", ");
    let sample = if part < 1.0 && table.bytes > SMALL && table.can_sample {
        format!(" tablesample system ({}) repeatable (1)", part * 100.0)
    } else {
        String::new()
    };
    let what = format!("copying {}", table.name);
    let only = if table.can_sample { "only " } else { "" };
    let source = format!(
        "copy (select {columns} from {only}{}{sample}) to stdout",
        table.name.sql()
    );
    let target = format!("copy {} ({columns}) from stdin", table.name.sql());
    // The session's limit is for one run of the query, not for reading a table.
    let limit = SHORTEST.as_secs_f64() + table.bytes * part / SLOWEST;
    from.batch_execute(&format!(
        "begin read only; set local statement_timeout = '{limit:.0}s'"
    ))
    .await
    .context(&what)?;
    let done = stream(from, to, &source, &target).await;
    // What is wrong with a connection shows in what was asked of it.
    let _ = from.batch_execute("rollback").await;
    done.map_err(|e| {
        let slow = e.is_sqlstate("57014");
        let e = e.context(&what);
        if slow {
            e.remedy("allow less with --copy-limit, or run crossfade nearer to the database")
        } else {
            e
        }
    })
}

async fn stream(from: &Client, to: &Client, source: &str, target: &str) -> Result<()> {
    let rows = from.copy_out(source).await?;
    let sink = to.copy_in::<_, Bytes>(target).await?;
    pin_mut!(rows, sink);
    // A row a message costs more than the row: they go in heaps.
    let mut heap = BytesMut::with_capacity(2 * HEAP);
    while let Some(row) = rows.next().await {
        heap.extend_from_slice(&row?);
        if heap.len() >= HEAP {
            sink.send(heap.split().freeze()).await?;
        }
    }
    if !heap.is_empty() {
        sink.send(heap.freeze()).await?;
    }
    sink.finish().await?;
    Ok(())
}
