//! `crossfade switch`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::Context;
use crate::cutover::gates::{ADVISORY, Accept, Verdict};
use crate::cutover::{self, Direction, Options, Outcome, Report};
use crate::error::Result;

/// Exit codes: 0 switched, 1 not switched and nothing changed, 3 unknown: run it
/// again, it finds out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  crossfade switch --rehearse           everything but COMMIT: would it work, how long would writers wait
  crossfade switch                      cut over
  crossfade switch --accept-quarantined 3
  crossfade switch --accept triggers --accept grants")]
pub struct Args {
    /// Do everything but COMMIT, then roll back, and say how it went.
    #[arg(long)]
    rehearse: bool,
    /// Switch back to the old schema, which has been kept up to date since.
    #[arg(long)]
    back: bool,
    /// Rows in quarantine that may be left behind.
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    accept_quarantined: usize,
    /// Switch although nothing was verified.
    #[arg(long)]
    unverified: bool,
    /// Switch although this advisory check failed; may be given several times.
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(ADVISORY))]
    accept: Vec<String>,
}

impl Args {
    fn decided(&self) -> Accept {
        let mut accept = Accept {
            quarantined: self.accept_quarantined,
            unverified: self.unverified,
            ..Accept::default()
        };
        for name in &self.accept {
            accept.advisory(name);
        }
        accept
    }
}

/// # Errors
/// Configuration and connection errors; nothing has changed then.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let config = context.load()?;
    let options = Options {
        rehearse: args.rehearse,
        direction: if args.back {
            Direction::Back
        } else {
            Direction::Forward
        },
        accept: args.decided(),
    };
    let report = cutover::switch(&config, options).await?;
    context.print(&as_json(&report), &text(&report));
    Ok(ExitCode::from(report.outcome.exit_code()))
}

fn millis(d: std::time::Duration) -> f64 {
    (d.as_secs_f64() * 1e4).round() / 10.0
}

fn as_json(report: &Report) -> serde_json::Value {
    let reason = match &report.outcome {
        Outcome::NotSwitched(why) => Some(why),
        _ => None,
    };
    json!({
        "outcome": report.outcome.name(),
        "reason": reason,
        "write_stall_ms": millis(report.stall),
        "attempts": report.attempts,
        "verified_keys": report.verified_keys,
        "steps": report.steps.iter().map(|s| json!({"step": s.name, "ms": millis(s.took)})).collect::<Vec<_>>(),
        "blockers": report.blockers.iter().map(|b| json!({
            "pid": b.pid, "application_name": b.application_name, "backend": b.backend,
            "state": b.state, "query_seconds": b.query_seconds,
            "transaction_seconds": b.transaction_seconds, "in_the_way_ms": millis(b.waited),
        })).collect::<Vec<_>>(),
        "analyzed": report.analyzed,
        "notes": report.notes,
        "checks": report.checks.iter().map(|c| json!({
            "name": c.name, "passed": c.passed(), "outcome": c.verdict.name(), "found": c.found,
            "remedy": if c.passed() { None } else { Some(&c.remedy) },
        })).collect::<Vec<_>>(),
    })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mark = match check.verdict {
            Verdict::Failed => "FAILED",
            other => other.name(),
        };
        let _ = writeln!(text, "{mark:8}  {:18} {}", check.name, check.found);
        if !check.passed() {
            let _ = writeln!(text, "          {:18} try: {}", "", check.remedy);
        }
    }
    for table in &report.analyzed {
        let _ = writeln!(text, "analyzed  {table}");
    }
    for blocker in &report.blockers {
        let _ = writeln!(
            text,
            "in the way for {:.0} ms: {blocker}",
            millis(blocker.waited)
        );
    }
    for step in &report.steps {
        let _ = writeln!(text, "{:>9.1} ms  {}", millis(step.took), step.name);
    }
    let stall = millis(report.stall);
    let _ = match &report.outcome {
        Outcome::Switched if report.attempts == 0 => writeln!(text, "switched already"),
        Outcome::Switched => writeln!(
            text,
            "switched: writers waited at most {stall} ms (attempt {})",
            report.attempts
        ),
        Outcome::Rehearsed => writeln!(
            text,
            "rehearsed and rolled back: writers would have waited at most {stall} ms"
        ),
        Outcome::NotSwitched(why) => writeln!(text, "not switched, nothing has changed: {why}"),
        Outcome::Unknown => writeln!(
            text,
            "unknown: the answer to COMMIT was lost; run `crossfade switch` again"
        ),
    };
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
