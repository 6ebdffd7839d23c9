//! `crossfade migrate status`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{Context, Place, drift};
use crate::error::Result;
use crate::migrate::history::{self, Direction, History};
use crate::migrate::plan::{Plan, Standing};
use crate::migrate::{Folder, Migration, recover};
use crate::pg::connect;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Everything that was ever applied, taken back or repaired
    #[arg(long)]
    log: bool,
    /// Compare the live schema with the one that the applied files make on a throwaway
    /// server
    #[arg(long)]
    drift: bool,
}

pub(super) async fn run(context: &Context, place: &Place, args: &Args) -> Result<ExitCode> {
    let folder = place.folder(context)?;
    let info = place.database(context)?;
    let client = connect(&info, "migrate status").await?;
    if args.log {
        let (json, text) = log(&client, &place.chain).await?;
        context.print(&json, &text);
        return Ok(ExitCode::SUCCESS);
    }
    let records = history::read(&client, &place.chain).await?;
    let plan = Plan {
        folder: &folder,
        records: &records,
    };
    let (rows, mut text) = list(&client, &plan, &place.chain).await?;
    let conflicts: Vec<String> = plan.conflicts().iter().map(ToString::to_string).collect();
    for conflict in plan.conflicts() {
        let _ = writeln!(text, "\n{conflict}\n  try: {}", conflict.what_to_do());
    }
    let invalid = recover::invalid(&client).await?;
    for index in &invalid {
        let _ = writeln!(
            text,
            "\nINVALID index {} on {}\n  try: crossfade migrate repair",
            index.index, index.table
        );
    }
    let mut differences = Vec::new();
    if args.drift {
        differences = drift::look(&info, &folder, plan.version()).await?;
        let words = match differences.len() {
            0 => format!(
                "the schema is what the migrations up to {:04} make",
                plan.version()
            ),
            n => format!(
                "{n} differences to what the migrations up to {:04} make:",
                plan.version()
            ),
        };
        let _ = writeln!(text, "\n{words}");
        for difference in &differences {
            let _ = writeln!(text, "  {difference}");
        }
    }
    let words: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let indexes: Vec<String> = invalid.iter().map(|i| i.index.to_string()).collect();
    context.print(
        &json!({"version": plan.version(), "migrations": rows, "conflicts": conflicts,
                "invalid_indexes": indexes, "drift": args.drift.then_some(words)}),
        &text,
    );
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}

async fn list(client: &Client, plan: &Plan<'_>, chain: &str) -> Result<(Vec<Value>, String)> {
    let mut text = String::new();
    let mut rows = Vec::new();
    let width = widest(plan.folder);
    for migration in &plan.folder.migrations {
        let standing = plan.standing(migration);
        let record = plan.record(migration.number);
        let mut words = standing.name().to_owned();
        let mut steps = None;
        if let Standing::Halfway(direction) = standing {
            let (done, all) = progress(client, chain, migration, direction).await?;
            let _ = write!(words, ", {done} of {all} steps");
            steps = Some(json!({"done": done, "of": all}));
        }
        let _ = write!(text, "{:width$}  {words:9}", migration.label());
        if let Some(record) = record {
            let took = record
                .duration_ms
                .map(|ms| format!(" in {ms} ms"))
                .unwrap_or_default();
            let _ = write!(text, "  {} by {}{took}", record.at, record.by);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        rows.push(json!({
            "number": migration.number, "name": migration.name, "standing": standing.name(),
            "applied_at": record.map(|r| &r.at), "applied_by": record.map(|r| &r.by),
            "duration_ms": record.and_then(|r| r.duration_ms), "steps": steps,
        }));
    }
    Ok((rows, text))
}

fn widest(folder: &Folder) -> usize {
    let widths = folder.migrations.iter().map(|m| m.label().chars().count());
    widths.max().unwrap_or(0)
}

async fn progress(
    client: &Client,
    chain: &str,
    migration: &Migration,
    direction: Direction,
) -> Result<(usize, usize)> {
    let history = History {
        chain: chain.to_owned(),
    };
    let steps = history.steps(client, migration.number, direction).await?;
    let all = match direction {
        Direction::Up => migration.up.steps.len(),
        Direction::Down => migration.down().map_or(0, |s| s.steps.len()),
    };
    Ok((steps.iter().filter(|s| s.done).count(), all))
}

async fn log(client: &Client, chain: &str) -> Result<(Value, String)> {
    let mut text = String::new();
    let mut events = Vec::new();
    if history::exists(client).await? {
        let rows = client
            .query(
                "select to_char(ended_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), number, name,
                        direction, outcome, role, client, program, duration_ms, statements, accepted, note
                 from crossfade.schema_event where chain = $1 order by id",
                &[&chain],
            )
            .await?;
        for row in rows {
            let (number, name): (i32, String) = (row.get(1), row.get(2));
            let accepted: Vec<String> = row.get(10);
            let note: Option<String> = row.get(11);
            let _ = write!(
                text,
                "{}  {:04}_{name}  {} {}  {} ms, {} statements, {} from {}",
                row.get::<_, String>(0),
                number,
                row.get::<_, String>(3),
                row.get::<_, String>(4),
                row.get::<_, i64>(8),
                row.get::<_, i32>(9),
                row.get::<_, String>(5),
                row.get::<_, String>(6),
            );
            if !accepted.is_empty() {
                let _ = write!(text, ", accepted {}", accepted.join(", "));
            }
            if let Some(note) = &note {
                let _ = write!(text, "\n    {note}");
            }
            text.push('\n');
            events.push(json!({
                "at": row.get::<_, String>(0), "number": number, "name": name,
                "direction": row.get::<_, String>(3), "outcome": row.get::<_, String>(4),
                "role": row.get::<_, String>(5), "client": row.get::<_, String>(6),
                "program": row.get::<_, String>(7), "duration_ms": row.get::<_, i64>(8),
                "statements": row.get::<_, i32>(9), "accepted": accepted, "note": note,
            }));
        }
    }
    if text.is_empty() {
        text.push_str("nothing was done yet\n");
    }
    Ok((json!({"log": events}), text))
}
