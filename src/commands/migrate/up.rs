//! `crossfade migrate up` and `down`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;
use tokio_postgres::Client;

use super::show::{self, Printer};
use super::{Context, Place, RunArgs};
use crate::error::Result;
use crate::migrate::chain::{self, Work};
use crate::migrate::facts::Facts;
use crate::migrate::history::{self, Direction};
use crate::migrate::lint::seconds;
use crate::migrate::lock::{self, Blocks, Work as Effort};
use crate::pg::connect;

pub(super) async fn run(
    context: &Context,
    place: &Place,
    direction: Direction,
    args: &RunArgs,
) -> Result<ExitCode> {
    let folder = place.folder(context)?;
    let info = place.database(context)?;
    let options = args.options();
    if args.dry_run {
        let mut client = connect(&info, "migrate").await?;
        let records = history::read(&client, &place.chain).await?;
        let work = chain::prepare(&mut client, &folder, &records, direction, &options).await?;
        let (json, text) = preview(&client, &work).await?;
        context.print(&json, &text);
        return Ok(ExitCode::SUCCESS);
    }
    let mut printer = Printer::new(context.output);
    let done = chain::run(
        &info,
        &place.chain,
        &folder,
        direction,
        &options,
        &mut |event| printer.see(&event),
    )
    .await;
    printer.close();
    let done = done?;
    let words = match (direction, done) {
        (Direction::Up, 0) => "nothing to do: everything is applied".to_owned(),
        (Direction::Down, 0) => "nothing to take back".to_owned(),
        (Direction::Up, 1) => "1 migration applied".to_owned(),
        (Direction::Up, n) => format!("{n} migrations applied"),
        (Direction::Down, 1) => "1 migration taken back".to_owned(),
        (Direction::Down, n) => format!("{n} migrations taken back"),
    };
    context.print(
        &json!({"event": "done", "direction": direction.name(), "migrations": done}),
        &format!("{words}\n"),
    );
    Ok(ExitCode::SUCCESS)
}

/// Every statement with its locks, how long they are likely to be held, and who is in the
/// way at this moment.
async fn preview(client: &Client, work: &Work<'_>) -> Result<(serde_json::Value, String)> {
    let mut text = String::new();
    let mut files = Vec::new();
    for (migration, script) in &work.migrations {
        let _ = writeln!(
            text,
            "{}  {}",
            migration.label(),
            show::way(work.direction, script.in_transaction)
        );
        let mut facts = Facts::gather(client, script.statements()).await?;
        let mut statements = Vec::new();
        for step in &script.steps {
            for statement in step.statements() {
                let _ = writeln!(
                    text,
                    "  {:>5}  {}",
                    statement.place.line,
                    statement.headline()
                );
                let mut list = Vec::new();
                for lock in lock::locks(statement, &facts) {
                    let mut line = show::lock(&lock);
                    if let Some(table) = facts.find(&lock.table) {
                        let _ = write!(line, " ({})", table.size());
                    }
                    let held = facts.held(&lock);
                    if lock.work > Effort::Instant {
                        let _ = write!(line, "; {}", lock.work.words());
                        if let Some(held) = held {
                            let _ = write!(line, ", about {}", seconds(held));
                        }
                    }
                    let _ = writeln!(text, "         {line}");
                    let way = if lock.mode.blocks() > Blocks::SchemaChanges {
                        in_the_way(client, &lock.table.sql()).await?
                    } else {
                        Vec::new()
                    };
                    for session in &way {
                        let _ = writeln!(text, "           in the way now: {session}");
                    }
                    list.push(json!({
                        "table": lock.table.to_string(), "mode": lock.mode.to_string(),
                        "blocks": lock.mode.blocks().words(), "work": lock.work.words(),
                        "seconds": held.map(|h| h.as_secs_f64()), "in_the_way": way,
                    }));
                }
                facts.after(statement);
                statements.push(json!({
                    "line": statement.place.line, "statement": statement.text, "locks": list,
                }));
            }
        }
        files.push(json!({
            "migration": migration.label(), "in_transaction": script.in_transaction,
            "statements": statements,
        }));
    }
    for blind in &work.verdict.blind {
        let _ = writeln!(text, "note: {blind}");
    }
    for accepted in &work.verdict.dependents {
        let _ = writeln!(text, "accepted: {accepted}");
    }
    let words = if work.migrations.is_empty() {
        "nothing to do"
    } else {
        "nothing was changed (--dry-run)"
    };
    let _ = writeln!(text, "{words}");
    Ok((
        json!({"dry_run": true, "direction": work.direction.name(), "migrations": files}),
        text,
    ))
}

/// Transactions that have used the table and go on since more than a second.
async fn in_the_way(client: &Client, table: &str) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select distinct format('pid %s, %s, %s, %s, transaction for %s s', a.pid, a.usename,
                    coalesce(nullif(a.application_name, ''), '?'), a.state,
                    round(extract(epoch from clock_timestamp() - a.xact_start)))
             from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'relation' and l.granted and l.relation = to_regclass($1)
               and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
               and a.xact_start < clock_timestamp() - interval '1 s'
             limit 5",
            &[&table],
        )
        .await?;
    Ok(rows.iter().map(|r| r.get(0)).collect())
}
