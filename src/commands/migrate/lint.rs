//! `crossfade migrate lint`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Context, Place};
use crate::error::Result;
use crate::migrate::facts::Facts;
use crate::migrate::guard;
use crate::migrate::history;
use crate::migrate::lint::{self, Finding, Severity};
use crate::migrate::plan::{Plan, Standing};
use crate::migrate::script::Script;
use crate::migrate::{Down, Folder, syntax};
use crate::pg::connect;
use crate::sql::place;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask the database for the sizes of the tables, and for what depends on what goes
    #[arg(long)]
    live: bool,
    /// Only migrations that are not applied yet; asks the database
    #[arg(long)]
    pending: bool,
    /// Only these numbers
    #[arg(value_name = "NUMBER")]
    numbers: Vec<i32>,
}

pub(super) async fn run(context: &Context, place: &Place, args: &Args) -> Result<ExitCode> {
    let folder = place.folder(context)?;
    let mut client = match args.live || args.pending {
        true => Some(connect(&place.database(context)?, "migrate lint").await?),
        false => None,
    };
    let records = match &client {
        Some(client) => history::read(client, &place.chain).await?,
        None => Vec::new(),
    };
    let plan = Plan {
        folder: &folder,
        records: &records,
    };
    let mut found: Vec<(&Script, Finding)> = Vec::new();
    let mut text = String::new();
    for (script, down) in scripts(&folder, args, &plan) {
        let facts = match &client {
            Some(client) => Facts::gather(client, script.statements()).await?,
            None => Facts::default(),
        };
        let with = lint::Context {
            in_transaction: script.in_transaction,
            down,
            facts,
        };
        let mut findings = lint::lint(&script.text, &with);
        // What the server can read is no syntax error, whatever the parser says.
        if let Some(client) = &mut client
            && !script.doubts.is_empty()
            && syntax::ask(client, script).await?.is_none()
        {
            findings.retain(|f| f.rule != "syntax");
        }
        found.extend(findings.into_iter().map(|f| (script, f)));
        if let Some(client) = &client
            && !down
        {
            let verdict = guard::look(client, &[script]).await?;
            for dependent in &verdict.dependents {
                let finding = Finding {
                    rule: "drop-guard".to_owned(),
                    severity: Severity::Error,
                    message: format!("{}: {} {}", dependent.loss, dependent.name, dependent.why),
                    instead: None,
                    at: dependent.at,
                    place: dependent.place,
                    lock: None,
                    held: None,
                };
                found.push((script, finding));
            }
        }
    }
    for (script, finding) in &found {
        text.push_str(&shown(script, finding));
    }
    let count = |s: Severity| found.iter().filter(|(_, f)| f.severity == s).count();
    let (errors, warnings, notices) = (
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Notice),
    );
    let _ = writeln!(
        text,
        "{errors} errors, {warnings} warnings, {notices} notices"
    );
    if client.is_none() && errors + warnings > 0 {
        text.push_str("with --live each is measured by the table's size\n");
    }
    let list: Vec<Value> = found.iter().map(|(s, f)| json_of(s, f)).collect();
    context.print(
        &json!({"errors": errors, "warnings": warnings, "notices": notices, "findings": list}),
        &text,
    );
    Ok(ExitCode::from(u8::from(errors + warnings > 0)))
}

/// The scripts that were asked for; the second value says whether it is a way back.
fn scripts<'a>(folder: &'a Folder, args: &Args, plan: &Plan<'_>) -> Vec<(&'a Script, bool)> {
    let mut scripts = Vec::new();
    for migration in &folder.migrations {
        let asked = args.numbers.is_empty() || args.numbers.contains(&migration.number);
        let pending = !args.pending || plan.standing(migration) == Standing::Pending;
        if !asked || !pending {
            continue;
        }
        scripts.push((&migration.up, false));
        if let Down::Script(down) = &migration.down {
            scripts.push((down, true));
        }
    }
    scripts
}

fn shown(script: &Script, finding: &Finding) -> String {
    let mut text = format!(
        "{}:{}: {} {}: {}\n{}",
        script.file,
        finding.place,
        finding.severity.name(),
        finding.rule,
        finding.message,
        place::caret(&script.text, finding.at)
    );
    if let Some(instead) = &finding.instead {
        for (at, line) in instead.lines().enumerate() {
            let head = if at == 0 { "  try: " } else { "       " };
            let _ = writeln!(text, "{head}{line}");
        }
    }
    text.push('\n');
    text
}

fn json_of(script: &Script, finding: &Finding) -> Value {
    json!({
        "file": script.file, "line": finding.place.line, "column": finding.place.column,
        "rule": finding.rule, "severity": finding.severity.name(), "message": finding.message,
        "instead": finding.instead,
        "lock": finding.lock.as_ref().map(|l| json!({"table": l.table.to_string(),
            "mode": l.mode.to_string(), "blocks": l.mode.blocks().words()})),
        "seconds": finding.held.map(|h| h.as_secs_f64()),
    })
}
