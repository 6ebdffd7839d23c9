//! Arguments, the runtime, and how an error leaves the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::finish::Verb;
use crate::commands::{self, Context, Output};
use crate::error::{Error, Kind, Result};
use crate::log;

/// Restructures a live PostgreSQL schema with zero downtime.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "\
Examples:
  crossfade demo                        the whole story on a throwaway server
  crossfade preflight                   check everything before anything starts
  crossfade run                         stream changes and copy history until switched
  crossfade status --watch              how it goes
  crossfade verify && crossfade switch  compare, then cut over

Exit codes: 0 done; 1 verify: differences, switch: not switched, nothing changed;
2 usage, configuration or a precondition; 3 the outcome is unknown, run it again."
)]
struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "crossfade.toml",
        env = "CROSSFADE_CONFIG"
    )]
    config: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented configuration, migration and module to start from.
    #[command(after_help = "\
Examples:
  crossfade init            into the current folder
  crossfade init shop       into a new folder

Nothing that exists is overwritten.")]
    Init(commands::init::Args),
    /// Check every precondition; changes nothing.
    #[command(after_help = "\
Examples:
  crossfade preflight
  crossfade preflight --output json | jq '.checks[] | select(.outcome != \"ok\")'

Exit codes: 0 nothing failed (there may be warnings), 2 something failed.")]
    Preflight,
    /// Numbered up/down migrations: apply, take back, check, lint.
    #[command(after_help = "\
Examples:
  crossfade migrate new add_vat
  crossfade migrate check && crossfade migrate lint --live
  crossfade migrate up --dry-run
  crossfade migrate up
  crossfade migrate down --to 5

Files are NNNN_name.up.sql and NNNN_name.down.sql, or NNNN_name.sql with sections
`-- Up` and `-- Down`. docs/migrate.md tells everything.")]
    Migrate(commands::migrate::Args),
    /// Show what a module makes of the first rows of its source; changes nothing.
    #[command(after_help = "\
Examples:
  crossfade preview transforms/split_orders
  crossfade preview transforms/split_orders --rows 20
  crossfade preview transforms/split_orders --output json

The values of those rows are printed.")]
    Preview(commands::preview::Args),
    /// The daemon: stream changes and copy history, until switched.
    Run(commands::run::Args),
    /// Phase, progress, lag, and what it waits for.
    Status(commands::status::Args),
    /// Pause the copy; the stream goes on.
    Pause,
    /// Let the copy go on.
    Resume,
    /// Show or change, at once, what slows the copy.
    #[command(after_help = "\
Examples:
  crossfade throttle                                     what holds now
  crossfade throttle max_lag_seconds=2 sleep_ms=20       gentler
  crossfade throttle workers=1 batch_rows=50 sleep_ms=5  gentlest to those who work beside it
  crossfade throttle window='22:00-06:00 Europe/Berlin'  copy at night only
  crossfade throttle \"query=select count(*) > 40 from pg_stat_activity where state = 'active'\"
  crossfade throttle max_active_sessions=off
  crossfade throttle max_lag_seconds=default             as the file has it
  crossfade throttle --reset                             everything as the file has it

A running daemon takes it up within a second; it holds until it is given back, over
restarts too. The stream is never slowed.")]
    Throttle(commands::throttle::Args),
    /// Compare old and new: 0 identical, 1 differences, 2 could not check.
    Verify(commands::verify::Args),
    /// Rows that could not be written.
    Quarantine(commands::quarantine::Args),
    /// Cut over to the new schema.
    Switch(commands::switch::Args),
    /// After the switch: drop slot, publication and state.
    Finish(commands::finish::Args),
    /// Before the switch: give the migration up; says what it leaves.
    Abort,
    /// What is wrong with a schema, proven: read only, sampled, then confirmed.
    #[command(after_help = "\
Examples:
  crossfade audit                                   the ten findings that matter
  crossfade audit --url postgres://app@localhost/shop
  crossfade audit --all                             every finding, with the SQL that proves it
  crossfade audit --rule missing-foreign-key
  crossfade audit --ignore bloat --ignore shop.events
  crossfade audit --baseline audit.txt --update-baseline
  crossfade audit --baseline audit.txt --output json
  crossfade audit --html report.html                the same for people, with the diagrams
  crossfade audit --diagram schema.svg --diagram schema.mmd
  crossfade audit --plan plan/                      migrations and modules that mend it

It reads in short read-only statements under ACCESS SHARE and prints no cell values; see
docs/audit.md.

Exit codes: 0 nothing as bad as --fail-on (default high), 1 findings, 2 error.")]
    Audit(commands::audit::Args),
    /// Why a query is slow, and proof that the advice works.
    #[command(after_help = "\
Examples:
  crossfade explain listing.sql                        why, and what helps, tried on a copy
  crossfade explain listing.sql --html listing.html --migrations migrations/shop
  crossfade explain --sql 'select * from shop.orders where status = $1' --param paid
  crossfade explain --top 10                           what takes most of the server's time
  crossfade explain --plan plan.json                   a stored plan, no database
  crossfade explain --used                             are the indexes it recommended used?

The query runs in a read-only transaction that is rolled back. Indexes are built on a
throwaway server with a copy of the query's tables, unless --measure says otherwise.")]
    Explain(commands::explain::Args),
    /// The whole story on a throwaway server.
    Demo(commands::demo::DemoArgs),
}

/// The command line as data, for whoever checks a text against it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let context = Context {
        config: arguments.config,
        output: arguments.output,
    };
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments.command, &context)),
        Err(e) => Err(Error::new(Kind::Io, format!("cannot start: {e}"))),
    };
    result.unwrap_or_else(|e| fail(&e, context.output))
}

async fn dispatch(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Init(args) => commands::init::run(context, &args),
        Command::Migrate(args) => commands::migrate::run(context, &args).await,
        Command::Preflight => commands::preflight::run(context).await,
        Command::Preview(args) => commands::preview::run(context, &args).await,
        Command::Run(args) => commands::run::run(context, &args).await,
        Command::Status(args) => commands::status::run(context, &args).await,
        Command::Pause => commands::pause::run(context, true).await,
        Command::Resume => commands::pause::run(context, false).await,
        Command::Throttle(args) => commands::throttle::run(context, &args).await,
        Command::Verify(args) => commands::verify::run(context, &args).await,
        Command::Quarantine(args) => commands::quarantine::run(context, &args).await,
        Command::Switch(args) => commands::switch::run(context, &args).await,
        Command::Finish(args) => commands::finish::run(context, Verb::Finish, &args).await,
        Command::Abort => {
            commands::finish::run(context, Verb::Abort, &commands::finish::Args::default()).await
        }
        Command::Audit(args) => commands::audit::run(context, &args).await,
        Command::Explain(args) => commands::explain::run(context, &args).await,
        Command::Demo(args) => commands::demo::run(args, context.output == Output::Json)
            .await
            .map(ExitCode::from),
    }
}

/// What failed and what to do, on standard error; as JSON where that was asked for.
fn fail(error: &Error, output: Output) -> ExitCode {
    match output {
        Output::Text => {
            eprintln!("error: {error}");
            eprintln!("  try: {}", error.what_to_do());
        }
        Output::Json => {
            let row = error.kind.row();
            let json = serde_json::json!({
                "error": error.to_string(), "kind": row.name, "remedy": error.what_to_do(),
                "sqlstate": error.sqlstate, "exit_code": row.exit,
            });
            eprintln!("{json}");
        }
    }
    ExitCode::from(error.exit_code())
}
