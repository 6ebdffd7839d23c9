//! What the copy is measured against: one INSERT … SELECT per table.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::shop;
use crate::error::{Context, Result};
use crate::pg::quote;

/// Fills scratch tables of the same definition from the same data with the
/// module's own SELECTs, drops them again, and returns the time of the INSERTs.
///
/// # Errors
/// What the server says.
pub async fn measure(client: &Client) -> Result<Duration> {
    client
        .batch_execute("drop schema if exists baseline cascade; create schema baseline")
        .await
        .context("preparing the baseline")?;
    let mut total = Duration::ZERO;
    for (table, select) in shop::TARGETS {
        let context = || format!("measuring the baseline of {table}");
        let scratch = table.replace("shop.", "baseline.");
        client
            .batch_execute(&format!(
                "create table {scratch} (like {table} including all)"
            ))
            .await
            .context(context())?;
        let sql = insert(client, &scratch, "legacy.orders", select)
            .await
            .context(context())?;
        let begun = Instant::now();
        client.batch_execute(&sql).await.context(context())?;
        total += begun.elapsed();
    }
    // The run that follows should not pay for the pages dirtied here.
    client
        .batch_execute("drop schema baseline cascade; checkpoint")
        .await
        .context("dropping the baseline")?;
    Ok(total)
}

/// One INSERT … SELECT of a module's SELECT over a whole source table.
///
/// # Errors
/// When the server does not understand the SELECT.
pub async fn insert(client: &Client, table: &str, source: &str, select: &str) -> Result<String> {
    let query = format!("with source as (select * from {source}) select * from ({select}) q");
    let statement = client.prepare(&query).await?;
    let columns: Vec<String> = statement
        .columns()
        .iter()
        .map(|c| quote(c.name()))
        .collect();
    Ok(format!(
        "insert into {table} ({}) {query}",
        columns.join(", ")
    ))
}
