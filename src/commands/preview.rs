//! `crossfade preview`: what a module makes of the first rows of its source.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::Context;
use super::table::Grid;
use crate::error::{Context as _, Error, Kind, Result};
use crate::pg::{ConnInfo, SessionLimits, connect_with, quote};
use crate::transform::{Module, Plan, Target, bind};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The module's folder.
    #[arg(value_name = "MODULE_DIR")]
    module: PathBuf,
    /// How many source rows, in key order.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rows: u16,
}

/// A statement over so few rows that takes longer has a module problem.
const LIMITS: SessionLimits = SessionLimits {
    lock: Some(Duration::from_secs(5)),
    statement: Some(Duration::from_secs(30)),
    idle_in_transaction: Some(Duration::from_secs(60)),
};

/// # Errors
/// Configuration and connection errors; every problem of the module.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let config = context.load()?;
    let module = Module::load(&args.module)?;
    let info = ConnInfo::parse(&config.source_url)?;
    let mut client = connect_with(&info, "preview", LIMITS).await?;
    let plan = bind::bind(&mut client, &module).await.map_err(all)?;
    let rows = preview(&mut client, &plan, args.rows).await?;
    context.print(&as_json(&plan, &rows), &as_text(&plan, &rows));
    Ok(ExitCode::SUCCESS)
}

/// Every problem, one a line: whoever writes a module wants them all.
fn all(problems: Vec<Error>) -> Error {
    let kind = problems.first().map_or(Kind::Module, |e| e.kind);
    let lines: Vec<_> = problems.iter().map(|e| e.message.as_str()).collect();
    let remedies: Vec<_> = problems.iter().map(|e| e.what_to_do()).collect();
    Error::new(kind, lines.join("\n       ")).remedy(remedies.join("\n       "))
}

/// What became of one source row.
struct Made {
    /// The key's texts.
    key: Vec<String>,
    /// One entry a target.
    targets: Vec<std::result::Result<Vec<Row>, Refusal>>,
}

type Row = Vec<Option<String>>;

/// Why the module's SELECT fails on a row. Here the server's own words may stand,
/// which quote the value: the user asked to see values.
struct Refusal {
    sqlstate: String,
    message: String,
}

/// All rows in one snapshot, in a transaction that cannot write.
async fn preview(client: &mut Client, plan: &Plan, count: u16) -> Result<Vec<Made>> {
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let mut made = Vec::new();
    for key in first_keys(&tx, plan, count).await? {
        let mut targets = Vec::new();
        for target in &plan.targets {
            targets.push(rows_of(&tx, plan, target, &key).await?);
        }
        made.push(Made { key, targets });
    }
    tx.rollback().await?;
    Ok(made)
}

async fn first_keys(tx: &Transaction<'_>, plan: &Plan, count: u16) -> Result<Vec<Vec<String>>> {
    let texts: Vec<_> = plan
        .key_columns()
        .map(|c| c.print(&format!("s.{}", c.quoted())))
        .collect();
    let sql = format!(
        "select {} from {} s order by {} limit {count}",
        texts.join(", "),
        plan.source.from_sql(),
        plan.key_list("s.").join(", ")
    );
    let rows = tx
        .query(&sql, &[])
        .await
        .context(format!("reading {}", plan.source.name))?;
    rows.iter()
        .map(|row| {
            (0..plan.key.len())
                .map(|i| row.try_get(i).map_err(Error::from))
                .collect()
        })
        .collect()
}

/// One target's rows out of one source row, as text.
async fn rows_of(
    tx: &Transaction<'_>,
    plan: &Plan,
    target: &Target,
    key: &[String],
) -> Result<std::result::Result<Vec<Row>, Refusal>> {
    let texts: Vec<_> = target
        .columns
        .iter()
        .map(|c| format!("q.{}::text", quote(c)))
        .collect();
    let sql = format!(
        "with {} select {} from ({}\n) q",
        plan.source_row(),
        texts.join(", "),
        target.select
    );
    let parameters: Vec<&(dyn ToSql + Sync)> = key.iter().map(|k| k as _).collect();
    tx.batch_execute("savepoint one_row").await?;
    match tx.query(&sql, &parameters).await {
        Ok(rows) => {
            let mut texts = Vec::new();
            for row in &rows {
                let values = (0..row.len()).map(|i| row.try_get(i));
                texts.push(values.collect::<std::result::Result<Row, _>>()?);
            }
            Ok(missing_value(target, &texts).map_or(Ok(texts), Err))
        }
        Err(e) => {
            let Some(db) = e.as_db_error() else {
                return Err(e.into());
            };
            let refusal = Refusal {
                sqlstate: db.code().code().to_owned(),
                message: db.message().to_owned(),
            };
            if !Error::from(e).is_bad_row() {
                let message = format!("{} (SQLSTATE {})", refusal.message, refusal.sqlstate);
                return Err(
                    Error::new(crate::error::classify(&refusal.sqlstate), message)
                        .context(format!("making rows of {}", target.table.name)),
                );
            }
            tx.batch_execute("rollback to savepoint one_row").await?;
            Ok(Err(refusal))
        }
    }
}

/// The commonest thing a SELECT gets away with and a table does not.
fn missing_value(target: &Target, rows: &[Row]) -> Option<Refusal> {
    target.columns.iter().enumerate().find_map(|(i, name)| {
        let bad = target.column(name).not_null && rows.iter().any(|row| row[i].is_none());
        bad.then(|| Refusal {
            sqlstate: "23502".to_owned(),
            message: format!("{} is NULL and the column is NOT NULL", quote(name)),
        })
    })
}

fn as_json(plan: &Plan, rows: &[Made]) -> Value {
    let made: Vec<_> = rows.iter().map(|made| row_json(plan, made)).collect();
    json!({
        "module": plan.module.name,
        "source": plan.source.name.to_string(),
        "rows": made,
    })
}

fn row_json(plan: &Plan, made: &Made) -> Value {
    let key: serde_json::Map<_, _> = plan
        .key_columns()
        .zip(&made.key)
        .map(|(c, text)| (c.name.clone(), json!(text)))
        .collect();
    let targets: Vec<_> = plan
        .targets
        .iter()
        .zip(&made.targets)
        .map(|(target, outcome)| {
            let table = target.table.name.to_string();
            match outcome {
                Ok(rows) => {
                    let rows: Vec<serde_json::Map<_, _>> = rows
                        .iter()
                        .map(|row| {
                            let values = row.iter().map(|v| json!(v));
                            target.columns.iter().cloned().zip(values).collect()
                        })
                        .collect();
                    json!({"table": table, "rows": rows})
                }
                Err(e) => json!({
                    "table": table,
                    "error": {"sqlstate": e.sqlstate, "message": e.message},
                }),
            }
        })
        .collect();
    json!({"key": key, "targets": targets})
}

fn as_text(plan: &Plan, rows: &[Made]) -> String {
    let mut text = format!(
        "{}: the first {} rows of {}\n",
        plan.module.name,
        rows.len(),
        plan.source.name
    );
    let key: Vec<_> = plan.key_columns().map(|c| c.name.as_str()).collect();
    let key = key.join(", ");
    for (i, target) in plan.targets.iter().enumerate() {
        let mut header = vec![format!("[{key}]")];
        header.extend(target.columns.iter().cloned());
        let mut grid = Grid::new(header);
        let mut bad = Vec::new();
        for made in rows {
            let of = made.key.join(", ");
            match &made.targets[i] {
                Ok(rows) => {
                    for row in rows {
                        let mut cells = vec![Some(of.clone())];
                        cells.extend(row.iter().cloned());
                        grid.push(cells);
                    }
                }
                Err(e) => bad.push(format!("{of}: {} (SQLSTATE {})", e.message, e.sqlstate)),
            }
        }
        let kind = if target.is_lookup() { " (lookup)" } else { "" };
        let _ = write!(text, "\n{}{kind}\n{grid}", target.table.name);
        for line in bad {
            let _ = writeln!(text, "  BAD ROW [{key}] = {line}");
        }
    }
    text
}
