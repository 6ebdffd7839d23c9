//! `crossfade explain`: why a query is slow, and proof that the advice works.

mod input;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{Context, Output};
use crate::error::{Context as _, Kind, Result};
use crate::explain::advise::{self, Advice};
use crate::explain::examine::{self, Examined};
use crate::explain::laboratory::{Laboratory, Wanted};
use crate::explain::report::Report;
use crate::explain::rewrite::{self, Proven};
use crate::explain::run::Effort;
use crate::explain::statement::Statement;
use crate::explain::{migration, settle, top, used, words};
use crate::pg::{ConnInfo, SessionLimits, connect_with};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with one query, or `-` for standard input.
    #[arg(value_name = "QUERY.sql", conflicts_with_all = ["top", "plan", "used", "sql"])]
    query: Option<String>,
    /// The query itself.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["top", "plan", "used"])]
    sql: Option<String>,
    /// The value of $1, of $2, and so on, in this order (may be given again).
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    param: Vec<String>,
    /// The N statements that took most time, out of pg_stat_statements.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    top: Option<u32>,
    /// Diagnose a stored plan, the output of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON); no
    /// database is asked.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Whether the indexes that were recommended before are used.
    #[arg(long)]
    used: bool,
    /// The database; without it the source of the configuration file.
    #[arg(long)]
    url: Option<String>,
    /// Where indexes are tried [default: throwaway, for --top none].
    #[arg(long, value_enum)]
    measure: Option<Measure>,
    /// GiB of tables that are copied to the throwaway server; of more, a sample.
    #[arg(long, value_name = "GIB", default_value_t = 4.0)]
    copy_limit: f64,
    /// Seconds that one run of the query may take.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Warm runs; medians are of these.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Run a query that writes or locks rows; it is rolled back.
    #[arg(long)]
    allow_writes: bool,
    /// Write a page with both plans drawn.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what is recommended as a migration into this folder.
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// On a server of its own with a copy of the tables.
    Throwaway,
    /// In this database, in transactions that are rolled back: while an index is built,
    /// writers to its table wait. For new tables before a switch, and for test databases.
    Here,
    /// Not at all.
    None,
}

/// # Errors
/// Configuration and connection errors, and what the server says about the query.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(dir) = &args.migrations {
        migration::folder(dir)?;
    }
    if let Some(path) = &args.plan {
        return stored(context, args, path);
    }
    if args.used {
        let client = session(context, args).await?.1;
        let all = used::read(&client).await?;
        context.print(&json!({ "indexes": all }), &used::text(&all));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(limit) = args.top {
        return list(context, args, limit).await;
    }
    let text = input::text(args.query.as_deref(), args.sql.as_deref())?;
    let statement = Statement::read(&text, &args.param, args.allow_writes)?;
    let (info, mut client) = session(context, args).await?;
    let told = one(
        args,
        &info,
        &mut client,
        &statement,
        args.measure.unwrap_or(Measure::Throwaway),
    )
    .await?;
    context.print(&told.json, &told.text);
    Ok(ExitCode::SUCCESS)
}

/// A report, rendered.
struct Told {
    text: String,
    json: Value,
}

async fn one(
    args: &Args,
    info: &ConnInfo,
    client: &mut Client,
    statement: &Statement,
    measure: Measure,
) -> Result<Told> {
    let spinner = spinner();
    let progress = |text: String| spinner.set_message(text);
    let effort = effort(args);
    let watcher = connect_with(info, "explain watcher", limits(effort)).await?;
    progress("running the query".to_owned());
    let examined = examine::examine(client, &watcher, statement, effort).await?;
    let mut notes = Vec::new();
    let rewrites = match &examined.measured {
        Some(measured) => {
            progress("trying other words".to_owned());
            rewrite::prove(client, statement, measured.median(), effort).await?
        }
        None => Vec::new(),
    };
    let place = Place {
        args,
        info,
        client,
        measure,
    };
    let advice = match place
        .advise(statement, &examined, &rewrites, &progress)
        .await
    {
        Ok(advice) => advice,
        // The diagnosis stands without experiments.
        Err(e) if matches!(e.kind, Kind::Precondition | Kind::Contention | Kind::Server) => {
            notes.push(format!("nothing could be tried: {e} ({})", e.what_to_do()));
            None
        }
        Err(e) => return Err(e),
    };
    spinner.finish_and_clear();
    if measure == Measure::None {
        notes.push("no index was tried (--measure throwaway tries them on a copy)".to_owned());
    }
    let mut report = Report {
        statement,
        examined: &examined,
        advice: advice.as_ref(),
        rewrites: &rewrites,
        notes,
        files: Vec::new(),
    };
    files(args, &mut report)?;
    Ok(Told {
        text: report.text(),
        json: report.json(),
    })
}

/// Where the experiments take place.
struct Place<'a> {
    args: &'a Args,
    info: &'a ConnInfo,
    client: &'a Client,
    measure: Measure,
}

impl Place<'_> {
    async fn advise(
        &self,
        statement: &Statement,
        examined: &Examined,
        rewrites: &[Proven],
        progress: &(dyn Fn(String) + Sync),
    ) -> Result<Option<Advice>> {
        let mut laboratory = match self.measure {
            Measure::None => return Ok(None),
            Measure::Here => Laboratory::here(self.info, examined.catalog.clone()).await?,
            Measure::Throwaway => {
                let wanted = Wanted {
                    relations: &examined.relations,
                    most_bytes: self.args.copy_limit * 1024.0 * 1024.0 * 1024.0,
                };
                Laboratory::throwaway(self.client, wanted, progress).await?
            }
        };
        let effort = effort(self.args);
        let mut advice = advise::advise(
            &mut laboratory,
            statement,
            examined,
            rewrites,
            effort,
            progress,
        )
        .await?;
        advise::warn(&mut advice.recommended, &examined.catalog);
        settle::settle(self.client, &mut advice).await?;
        Ok(Some(advice))
    }
}

/// The page and the migration, where they are asked for.
fn files(args: &Args, report: &mut Report<'_>) -> Result<()> {
    if let (Some(dir), Some(advice)) = (&args.migrations, report.advice) {
        for path in migration::write(dir, &advice.recommended, &report.statement.text)? {
            report.files.push(path.display().to_string());
        }
    }
    if let Some(path) = &args.html {
        std::fs::write(path, report.html()).context(format!("writing {}", path.display()))?;
        report.files.push(path.display().to_string());
    }
    Ok(())
}

/// A plan from a file: diagnosis only.
fn stored(context: &Context, args: &Args, path: &std::path::Path) -> Result<ExitCode> {
    let (statement, examined) = input::stored(path)?;
    let mut report = Report {
        statement: &statement,
        examined: &examined,
        advice: None,
        rewrites: &[],
        notes: Vec::new(),
        files: Vec::new(),
    };
    files(args, &mut report)?;
    context.print(&report.json(), &report.text());
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, args: &Args, limit: u32) -> Result<ExitCode> {
    let (info, mut client) = session(context, args).await?;
    let all = top::read(&client, limit).await?;
    let mut reports = Vec::new();
    for (i, top) in all.iter().enumerate() {
        let head = format!(
            "{}. {} of the time: {} calls, {} each\n",
            i + 1,
            words::percent(top.part),
            top.calls,
            words::time(top.mean_ms)
        );
        let told = match Statement::read(&top.query, &[], args.allow_writes) {
            Ok(statement) => {
                one(
                    args,
                    &info,
                    &mut client,
                    &statement,
                    args.measure.unwrap_or(Measure::None),
                )
                .await
            }
            Err(e) => Err(e),
        };
        let (text, json) = match told {
            Ok(told) => (told.text, told.json),
            // The next one may do: pg_stat_statements cuts and normalizes texts.
            Err(e) if e.kind != Kind::Connection => (
                format!(
                    "query     {}\nnot explained: {e}\n",
                    words::short(&top.query)
                ),
                json!({ "query": top.query, "error": e.to_string() }),
            ),
            Err(e) => return Err(e),
        };
        if context.output == Output::Text {
            println!("{head}{text}");
        }
        reports.push(json!({ "statistics": top, "report": json }));
    }
    if context.output == Output::Json {
        println!("{}", json!({ "top": reports }));
    }
    if all.is_empty() && context.output == Output::Text {
        println!("pg_stat_statements has no query of this database");
    }
    Ok(ExitCode::SUCCESS)
}

fn effort(args: &Args) -> Effort {
    Effort {
        runs: args.runs,
        timeout: Duration::from_secs(args.timeout),
    }
}

fn limits(effort: Effort) -> SessionLimits {
    SessionLimits {
        lock: Some(Duration::from_secs(2)),
        statement: Some(effort.timeout),
        // While one session runs, the other only waits.
        idle_in_transaction: Some(effort.timeout * 4 + Duration::from_secs(60)),
    }
}

async fn session(context: &Context, args: &Args) -> Result<(ConnInfo, Client)> {
    let named = args
        .url
        .clone()
        .or_else(|| std::env::var("CROSSFADE_SOURCE_URL").ok());
    let url = match named {
        Some(url) => url,
        None => {
            let config = context.load().map_err(|e| {
                e.remedy("give --url, or CROSSFADE_SOURCE_URL, or a configuration file")
            })?;
            config.source_url
        }
    };
    let info = ConnInfo::parse(&url)?;
    let client = connect_with(&info, "explain", limits(effort(args))).await?;
    // A query is explained as the role runs it, with what its policies add.
    client.batch_execute("set row_security = on").await?;
    Ok((info, client))
}

/// A line on the terminal that says what goes on; nothing elsewhere.
fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
