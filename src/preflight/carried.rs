//! Whether the rows that a module makes carry the key of the row they are made of.
//!
//! Everything rests on it: a change of a source row takes away the target rows of its key
//! and writes them anew. Where `source_key` names other columns, those are the rows of
//! somebody else.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::Finding;
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::transform::plan::{Plan, Target};

/// Rows from each end of the source's key that are tried.
const ENDS: usize = 10;
/// A module that is slow for single rows is tried on fewer of them, and none for longer.
const ENOUGH: Duration = Duration::from_secs(2);

/// Makes the target rows of a few source rows, one at a time, and looks at their keys. A row
/// that cannot be converted goes to quarantine; what else is wrong with a SELECT is said by
/// the check of it.
///
/// # Errors
/// [`Kind::Module`] where one has another key; connection errors.
pub(super) async fn carried(client: &Client, plan: &Plan) -> Result<Finding> {
    let limit = "select current_setting('statement_timeout')";
    let before: String = client.query_one(limit, &[]).await?.get(0);
    let set = "select set_config('statement_timeout', $1, false)";
    let enough = format!("{} ms", ENOUGH.as_millis());
    client.query_one(set, &[&enough]).await?;
    let found = tried(client, plan).await;
    client.query_one(set, &[&before]).await?;
    found
}

async fn tried(client: &Client, plan: &Plan) -> Result<Finding> {
    let begun = Instant::now();
    let mut statements = Vec::new();
    for (_, target) in plan.row_targets() {
        statements.extend(answered(client.prepare(&strays(plan, target)).await)?);
    }
    let mut rows = 0;
    for row in client.query(&ends(plan), &[]).await? {
        let key: Vec<String> = (0..plan.key.len()).map(|i| row.get(i)).collect();
        let key: Vec<&(dyn ToSql + Sync)> = key.iter().map(|k| k as &(dyn ToSql + Sync)).collect();
        for statement in &statements {
            let found = answered(client.query(statement, &key).await)?;
            if found.is_some_and(|found| !found.is_empty()) {
                return Err(plan.stray());
            }
        }
        rows += 1;
        if begun.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(Finding::ok(format!(
        "{}: what is made of {rows} sampled rows carries their keys",
        plan.module.name
    )))
}

/// Nothing where the server refused; an error only where it is gone.
fn answered<T>(done: std::result::Result<T, tokio_postgres::Error>) -> Result<Option<T>> {
    match done.map_err(Error::from) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == Kind::Connection => Err(error),
        Err(_) => Ok(None),
    }
}

/// The lowest and the highest keys, as texts.
fn ends(plan: &Plan) -> String {
    let keys = plan.key_list("s.");
    let texts: Vec<_> = keys.iter().map(|k| format!("{k}::text")).collect();
    let end = |order: &str| {
        let by: Vec<_> = keys.iter().map(|k| format!("{k} {order}")).collect();
        format!(
            "(select {} from {} s order by {} limit {ENDS})",
            texts.join(", "),
            plan.source.from_sql(),
            by.join(", ")
        )
    };
    format!("{} union {}", end("asc"), end("desc"))
}

/// The rows for a target that are made of the source row whose key is in the parameters and
/// do not carry that key. Compared in the target's types, as the target would hold them.
fn strays(plan: &Plan, target: &Target) -> String {
    let same: Vec<_> = target
        .key
        .iter()
        .zip(plan.key_columns())
        .map(|(name, column)| {
            let held = |value: String| target.column(name).cast(&value);
            format!(
                "{} = {}",
                held(format!("q.{}", quote(name))),
                held(format!("s.{}", column.quoted()))
            )
        })
        .collect();
    format!(
        "with {}\nselect from ({}\n) q where not exists (select from source s where {})",
        plan.source_row(),
        target.select,
        same.join(" and ")
    )
}
