//! `crossfade verify`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Context;
use crate::daemon::prepare;
use crate::error::{Error, Kind, Result};
use crate::pg::ConnInfo;
use crate::phase::Phase;
use crate::state::certificate::{self, Certificate};
use crate::state::migration;
use crate::transform::module::hash_all;
use crate::verify::{self, Difference, Options, Outcome, Progress, Report, Subject, Waiting};

/// Exit codes: 0 identical, 1 differences, 2 undecided or could not check.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  crossfade verify             everything; goes on where an interrupted pass stopped
  crossfade verify --fresh     everything, from the start
  crossfade verify --changed   only the keys that changed since the certificate
  crossfade verify --reverse   after the switch
  crossfade verify --output json | jq .certificate")]
pub struct Args {
    /// Begin anew, even if an interrupted pass could be gone on with.
    #[arg(long, conflicts_with = "changed")]
    fresh: bool,
    /// Only the keys that changed since the certificate, which moves on with them.
    #[arg(long)]
    changed: bool,
    /// After the switch: compare the old tables, which the way back keeps up to date.
    #[arg(long)]
    reverse: bool,
    /// Differences to list; all are counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Ranges compared at a time, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
}

/// Ends with 0 identical, 1 different, 2 undecided or not checked.
///
/// # Errors
/// Whatever kept the comparison from being made; exit code 2.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let (config, mut client) = context.open("verify").await?;
    let row = migration::require(&client, &config.name).await?;
    check_phase(row.phase, args.reverse)?;
    let modules = prepare::modules(&config)?;
    let module_hash = hash_all(&modules);
    if module_hash != row.module_hash {
        return Err(Error::new(
            Kind::SchemaChange,
            "the modules are not those that the targets were made by",
        )
        .remedy("restore the module's text"));
    }
    let plans = prepare::bind_all(&mut client, row.id, &modules).await?;
    if row.phase == Phase::Switched && plans.iter().any(|p| p.reverse.is_none()) {
        return Err(no_way_back());
    }
    let subject = Subject {
        migration: row.id,
        module_hash,
        switches: row.switches,
        sources: verify::sources(&client, row.id, plans).await?,
    };
    let options = Options {
        limit: args.limit,
        workers: usize::from(args.workers),
        range_rows: verify::range_rows(config.copy.batch_rows),
        resume: !args.fresh,
        polite: false,
    };
    let info = ConnInfo::parse(&config.source_url)?;
    let report = if args.changed {
        verify::verify_changed(&info, &subject, &options).await?
    } else {
        let (progress, view) = watch::channel(Progress::default());
        let display = show(view);
        let report = verify::verify_all(&info, &subject, &options, &progress).await;
        display.abort();
        report?
    };
    let certificate = certificate::read(&client, row.id).await?;
    context.print(
        &as_json(&report, certificate.as_ref(), args.changed),
        &as_text(&report, args.changed),
    );
    Ok(match report.outcome() {
        Outcome::Identical => ExitCode::SUCCESS,
        Outcome::Different => ExitCode::from(1),
        Outcome::Undecided => ExitCode::from(2),
    })
}

fn check_phase(phase: Phase, reverse: bool) -> Result<()> {
    match phase {
        Phase::Preparing | Phase::Gating => {
            Err(Error::new(Kind::Phase, "the copy has not begun")
                .remedy("wait for `crossfade run` to copy everything"))
        }
        Phase::Copying | Phase::Streaming if reverse => Err(Error::new(
            Kind::Phase,
            format!("the migration has not switched: its phase is {phase}"),
        )
        .remedy("`crossfade verify` compares everything before the switch, the way back included")),
        Phase::Switched if !reverse => Err(Error::new(
            Kind::Phase,
            "the new schema has taken over: the old one is no longer its source",
        )
        .remedy("`crossfade verify --reverse` compares the old tables, which are kept up to date for the way back")),
        Phase::Copying | Phase::Streaming | Phase::Switched => Ok(()),
    }
}

fn no_way_back() -> Error {
    Error::new(
        Kind::Phase,
        "the new schema has taken over, and a module has no [reverse]: nothing keeps the old tables up to date",
    )
    .remedy("there is nothing left to compare")
}

/// A bar with rate and time left, on a terminal; nothing elsewhere.
fn show(mut view: watch::Receiver<Progress>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:32.cyan/blue} {percent:>3} %  {msg}")
        {
            bar.set_style(style);
        }
        let started = Instant::now();
        while view.changed().await.is_ok() {
            let now = view.borrow_and_update().clone();
            let total = now.estimated.max(now.rows);
            bar.set_length(total);
            bar.set_position(now.rows);
            bar.set_message(line(&now, total, started.elapsed()));
        }
        bar.finish_and_clear();
    })
}

#[allow(clippy::cast_precision_loss)]
fn line(now: &Progress, total: u64, elapsed: Duration) -> String {
    let compared = now.rows - now.resumed;
    let rate = compared as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!("{} rows  {rate:.0}/s", now.rows);
    if let Some(Waiting { share, reason }) = &now.waiting {
        if *share == 0.0 {
            let _ = write!(text, "  waiting: {reason}");
        } else {
            let _ = write!(text, "  at {:.0} %: {reason}", share * 100.0);
        }
    } else if compared > 0 && total > now.rows {
        let left = (total - now.rows) as f64 / rate;
        let _ = write!(
            text,
            "  ETA {}",
            HumanDuration(Duration::from_secs_f64(left))
        );
    }
    if now.suspects > 0 {
        let _ = write!(text, "  {} keys looked at twice", now.suspects);
    }
    text
}

fn as_json(report: &Report, certificate: Option<&Certificate>, changed: bool) -> Value {
    json!({
        "result": report.outcome().name(),
        "scope": if changed { "changed" } else { "everything" },
        "seconds": report.seconds,
        "resumed": report.resumed.as_ref().map(|r| json!({
            "began_at": r.began_at, "rows": r.rows,
        })),
        "sources": report.sources.iter().map(|s| json!({
            "source": s.table, "ranges": s.ranges, "rows": s.rows,
        })).collect::<Vec<_>>(),
        "targets": compared(report, false),
        "rebuilt": compared(report, true),
        "differences": report.differences.iter().map(difference).collect::<Vec<_>>(),
        "keys": report.suspects,
        "quarantined": report.quarantined,
        "moving": report.moving,
        "unsettled": report.unsettled,
        "certificate": certificate.map(|c| json!({
            "began_at": c.began_at, "verified_at": c.verified_at, "moved_at": c.moved_at,
            "applied_lsn": c.applied_lsn.to_string(), "version": c.version,
            "module_hash": c.basis.module_hash, "columns_hash": c.basis.columns_hash,
            "sources": c.detail["sources"], "targets": c.detail["targets"],
        })),
    })
}

fn compared(report: &Report, reverse: bool) -> Vec<Value> {
    let tables = report.targets.iter().filter(|t| t.reverse == reverse);
    tables
        .map(|t| {
            json!({
                "table": t.table,
                "rows": t.digest.map(|d| d.rows),
                "checksum": t.digest.map(|d| d.checksum()),
                "differences": t.differences,
            })
        })
        .collect()
}

fn difference(d: &Difference) -> Value {
    let mut value = json!({
        "table": d.table, "kind": d.kind.name(), "source_key": d.source_key,
        "key": d.key, "columns": d.columns,
    });
    if d.reverse {
        value["reverse"] = true.into();
    }
    value
}

fn as_text(report: &Report, changed: bool) -> String {
    let mut text = String::new();
    for d in &report.differences {
        let key: Vec<_> = d.key.iter().map(|(c, v)| format!("{c} = {v}")).collect();
        let _ = write!(text, "{:8} {}  {}", d.kind.name(), d.table, key.join(", "));
        if !d.columns.is_empty() {
            let _ = write!(text, "  columns: {}", d.columns.join(", "));
        }
        let _ = writeln!(text, "  (source key {})", d.source_key.join(", "));
        if d.reverse {
            let _ = writeln!(text, "         in the row that the reverse rebuilds");
        }
    }
    if changed {
        let keys = report.suspects;
        let _ = writeln!(text, "{keys} keys changed since the certificate");
    } else {
        tables(&mut text, report);
    }
    if report.quarantined > 0 {
        let _ = writeln!(
            text,
            "{} rows in quarantine were not compared",
            report.quarantined
        );
    }
    if report.moving > 0 {
        let _ = writeln!(
            text,
            "{} rows changed each time they were compared: the switch compares them under its lock",
            report.moving
        );
    }
    if report.unsettled > 0 {
        let _ = writeln!(
            text,
            "{} rows cannot be converted and are not in quarantine yet",
            report.unsettled
        );
    }
    let _ = writeln!(
        text,
        "{} in {:.1} s",
        report.outcome().name(),
        report.seconds
    );
    text
}

fn tables(text: &mut String, report: &Report) {
    if let Some(resumed) = &report.resumed {
        let _ = writeln!(
            text,
            "went on with the pass that began at {}, which had verified {} rows",
            resumed.began_at, resumed.rows
        );
    }
    for s in &report.sources {
        let _ = writeln!(text, "{}: {} rows in {} ranges", s.table, s.rows, s.ranges);
    }
    for t in &report.targets {
        let what = t.digest.map_or_else(
            || "keys compared".to_owned(),
            |d| format!("{} rows, checksum {}", d.rows, d.checksum()),
        );
        let name = if t.reverse { " rebuilt" } else { "" };
        let _ = writeln!(
            text,
            "  {}{name}: {what}, {} differences",
            t.table, t.differences
        );
    }
}
