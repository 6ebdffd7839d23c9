//! `crossfade audit`.

mod files;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use super::{Context, Output};
use crate::audit::baseline::Baseline;
use crate::audit::facts::Thresholds;
use crate::audit::finding::Severity;
use crate::audit::rule::RULES;
use crate::audit::selection::Selection;
use crate::audit::{Audit, Finding, Options, Step, inspect};
use crate::error::{Error, Kind, Result};
use crate::pg::ConnInfo;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The database; without it the source of the configuration file.
    #[arg(long)]
    url: Option<String>,
    /// Only this schema (may be given again).
    #[arg(long)]
    schema: Vec<String>,
    /// Only this rule, with all its findings in detail (may be given again).
    #[arg(long)]
    rule: Vec<String>,
    /// Leave out a rule, an object, or one rule for an object: `bloat`, `shop.orders`,
    /// `bloat:shop.orders` (may be given again).
    #[arg(long)]
    ignore: Vec<String>,
    /// Every finding in detail, with the SQL that proves it, and the uncertain ones.
    #[arg(long)]
    all: bool,
    /// List the rules and end.
    #[arg(long)]
    rules: bool,
    /// Findings in this file are known: neither shown nor counted.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the findings of today to the baseline file.
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
    /// Exit with 1 when there is a finding as bad as this, or worse.
    #[arg(long, value_enum, default_value_t = FailOn::High)]
    fail_on: FailOn,
    /// Rows looked at in each table before the whole is asked.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    sample_rows: u32,
    /// Seconds that one statement may take on the server.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Days that the server must have counted for before an index counts as unused.
    #[arg(long, default_value_t = Thresholds::default().unused_after_days)]
    unused_after: u32,
    #[command(flatten)]
    files: files::Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Low,
    Medium,
    High,
    Critical,
    Never,
}

impl FailOn {
    fn reached(self, severity: Severity) -> bool {
        let least = match self {
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
            Self::Never => return false,
        };
        severity >= least
    }
}

/// Below this the finding is shown with `--all` only.
const LEAST_CONFIDENCE: u8 = 60;

/// What is shown, and what is only counted.
struct Shown {
    findings: Vec<Finding>,
    uncertain: usize,
    known: usize,
    gone: usize,
}

/// Looks, prints, and says by the exit code whether there was anything.
///
/// # Errors
/// Those of the configuration, the connection and the catalog.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if args.rules {
        return Ok(list(context));
    }
    args.files.check()?;
    let options = Options {
        schemas: args.schema.clone(),
        selection: Selection::new(&args.rule, &args.ignore)?,
        sample_rows: args.sample_rows,
        statement_timeout: Duration::from_secs(args.timeout),
        thresholds: Thresholds {
            unused_after_days: args.unused_after,
        },
    };
    let info = ConnInfo::parse(&url(context, args)?)?;
    let baseline = match &args.baseline {
        Some(path) if !args.update_baseline => Some(Baseline::read(path)?),
        _ => None,
    };
    let progress = text::Progress::new();
    let mut audit = inspect(&info, &options, &mut |step: Step<'_>| progress.show(&step)).await?;
    progress.end();
    if let (true, Some(path)) = (args.update_baseline, &args.baseline) {
        return update(context, path, &audit.findings);
    }
    let shown = choose(&mut audit, baseline.as_ref(), args.all);
    let failed = shown
        .findings
        .iter()
        .any(|f| args.fail_on.reached(f.severity));
    let timeout = options.statement_timeout;
    let written = args
        .files
        .write(&audit, &shown.findings, &info, timeout)
        .await?;
    match context.output {
        Output::Json => println!("{}", machine(&audit, &shown, &written)),
        Output::Text => {
            let detailed = args.all || !args.rule.is_empty();
            print!("{}", text::report(&audit, &shown, detailed));
            for file in &written {
                println!("wrote {}: {}", file.path.display(), file.what);
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn url(context: &Context, args: &Args) -> Result<String> {
    if let Some(url) = &args.url {
        return Ok(url.clone());
    }
    // A database can be looked at before there is anything to migrate.
    if let (false, Ok(url)) = (
        context.config.exists(),
        std::env::var("CROSSFADE_SOURCE_URL"),
    ) {
        return Ok(url);
    }
    let config = context.load().map_err(|e| {
        if e.message.starts_with("cannot read") {
            return Error::new(Kind::Config, "no database is given")
                .remedy("give --url, or a configuration file with --config");
        }
        e
    })?;
    Ok(config.source_url)
}

fn choose(audit: &mut Audit, baseline: Option<&Baseline>, all: bool) -> Shown {
    let findings = std::mem::take(&mut audit.findings);
    let gone = baseline.map_or(0, |b| b.gone(&findings));
    let before = findings.len();
    let mut findings: Vec<_> = findings
        .into_iter()
        .filter(|f| !baseline.is_some_and(|b| b.knows(f)))
        .collect();
    let known = before - findings.len();
    let unknown = findings.len();
    findings.retain(|f| all || f.confidence.percent() >= LEAST_CONFIDENCE);
    Shown {
        uncertain: unknown - findings.len(),
        findings,
        known,
        gone,
    }
}

fn update(context: &Context, path: &std::path::Path, findings: &[Finding]) -> Result<ExitCode> {
    let baseline = Baseline::of(findings);
    baseline.write(path)?;
    let (count, file) = (findings.len(), path.display().to_string());
    context.print(
        &json!({"baseline": file, "findings": count}),
        &format!("{count} findings are known from now on: {file}\n"),
    );
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context) -> ExitCode {
    let rules: Vec<_> = RULES
        .iter()
        .map(|r| json!({"id": r.id, "category": r.category, "finds": r.finds}))
        .collect();
    let lines: Vec<_> = RULES
        .iter()
        .map(|r| format!("{:<26}  {}\n", r.id, r.finds))
        .collect();
    context.print(&json!({ "rules": rules }), &lines.concat());
    ExitCode::SUCCESS
}

fn machine(audit: &Audit, shown: &Shown, written: &[files::Written]) -> serde_json::Value {
    let written: Vec<_> = written
        .iter()
        .map(|f| json!({"path": f.path.display().to_string(), "what": f.what}))
        .collect();
    let unread: Vec<_> = audit
        .unread
        .iter()
        .map(|u| json!({"object": u.object, "reason": u.reason}))
        .collect();
    json!({
        "database": audit.database.name,
        "server_version": audit.database.version,
        "tables": audit.database.designed().count(),
        "sampled_rows": audit.sampled_rows,
        "pg_stat_statements": audit.statements,
        "seconds": audit.took.as_secs_f64(),
        "findings": shown.findings,
        "uncertain": shown.uncertain,
        "known": shown.known,
        "gone": shown.gone,
        "unread": unread,
        "written": written,
    })
}
