//! `crossfade migrate …`.

mod check;
mod drift;
mod lint;
mod locks;
mod new;
mod repair;
mod show;
mod status;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::Context;
use crate::error::{Error, Kind, Result};
use crate::migrate::Folder;
use crate::migrate::chain::{self, Options};
use crate::migrate::history::Direction;
use crate::migrate::session::Limits;
use crate::pg::ConnInfo;

/// Where the files and the database are.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The folder of the migrations [default: `migrations` beside the configuration file]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The database [default: CROSSFADE_SOURCE_URL, or `url` under [source] in the
    /// configuration file]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The history's name, where several folders share one database
    #[arg(long, global = true, value_name = "NAME", default_value = chain::DEFAULT)]
    chain: String,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the files of the next migration, to be filled in.
    #[command(after_help = "\
Examples:
  crossfade migrate new add_vat               0007_add_vat.up.sql and 0007_add_vat.down.sql
  crossfade migrate new add_vat --sections    0007_add_vat.sql with -- Up and -- Down")]
    New(new::Args),
    /// Apply what is pending; safe to run twice and at the same time.
    #[command(after_help = "\
Examples:
  crossfade migrate up --dry-run              what would run, with locks and sizes
  crossfade migrate up                        everything that is pending
  crossfade migrate up --to 7
  crossfade migrate up --accept view:shop.old_report
  crossfade migrate --url postgres://app@db/shop --dir db/migrations up

A file without a transaction that was interrupted goes on at the statement where it
stopped. Exit codes: 0 done, 2 refused or failed; what was applied before stays.")]
    Up(RunArgs),
    /// Take back the last migration, or all above a number.
    #[command(after_help = "\
Examples:
  crossfade migrate down                      the last one
  crossfade migrate down --to 5               all above 5
  crossfade migrate down --to 0 --dry-run")]
    Down(RunArgs),
    /// What is applied, since when, by whom; what is pending, edited, halfway.
    #[command(after_help = "\
Examples:
  crossfade migrate status
  crossfade migrate status --log              everything that was ever done
  crossfade migrate status --drift            the live schema beside the one that the files make
  crossfade migrate status --output json | jq '.migrations[] | select(.standing == \"pending\")'

Exit codes: 0; with --drift 1 where the schema differs.")]
    Status(status::Args),
    /// Prove that each migration can be taken back: up, down, up on a fresh database.
    #[command(after_help = "\
Examples:
  crossfade migrate check                     on a throwaway server
  crossfade migrate check --on postgres://postgres@localhost/postgres
                                              in scratch databases of that server
  crossfade migrate check --from 12           judge only the newer ones

Each migration is exact, column order only, loses data, or broken. Exit codes: 0 every
one is exact (or irreversible, and says so), 1 one is not, 2 could not check.")]
    Check(check::Args),
    /// What is dangerous, for how long, and what to write instead.
    #[command(after_help = "\
Examples:
  crossfade migrate lint                      the files alone
  crossfade migrate lint --live               with the sizes of the database's tables
  crossfade migrate lint --pending --live     only what is not applied yet
  crossfade migrate lint --output json

Exit codes: 0 nothing but notices, 1 warnings or errors, 2 could not lint.")]
    Lint(lint::Args),
    /// INVALID indexes, edited files, migrations applied by hand.
    #[command(after_help = "\
Examples:
  crossfade migrate repair --dry-run          what there is to mend
  crossfade migrate repair                    INVALID indexes: drop leftovers, rebuild others
  crossfade migrate repair --mark-applied 12  up to 12 is there already: adopt the database
  crossfade migrate repair --accept-edit 7    the file as it is now is what was applied")]
    Repair(repair::Args),
}

/// Of `up` and `down`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Stop at this number; `down` keeps it
    #[arg(long, value_name = "NUMBER")]
    to: Option<i32>,
    /// Show what would be run, with its locks; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on although this dependent may break; as it was named by the refusal
    #[arg(long, value_name = "NAME")]
    accept: Vec<String>,
    /// How long a statement may wait for a lock, in milliseconds: everybody else queues
    /// behind it
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    lock_timeout: u64,
    /// How often it is tried when a lock cannot be had
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    attempts: u32,
    /// Cancel a statement when others have waited this long for its locks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    max_stall: u64,
}

impl RunArgs {
    fn options(&self) -> Options {
        Options {
            to: self.to,
            accept: self.accept.clone(),
            limits: Limits {
                lock_timeout: Duration::from_millis(self.lock_timeout),
                attempts: self.attempts,
                max_stall: Duration::from_millis(self.max_stall),
            },
        }
    }
}

impl Place {
    fn dir(&self, context: &Context) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| {
            let beside = context.config.parent().unwrap_or(Path::new(""));
            beside.join("migrations")
        })
    }

    fn folder(&self, context: &Context) -> Result<Folder> {
        let dir = self.dir(context);
        let folder = Folder::read(&dir)?;
        if folder.migrations.is_empty() {
            return Err(Error::new(
                Kind::Config,
                format!("{} holds no migrations", dir.display()),
            )
            .remedy("begin with `crossfade migrate new NAME`, or name another folder with --dir"));
        }
        Ok(folder)
    }

    fn database(&self, context: &Context) -> Result<ConnInfo> {
        let given = self
            .url
            .clone()
            .or_else(|| std::env::var("CROSSFADE_SOURCE_URL").ok());
        if let Some(url) = given {
            return ConnInfo::parse(&url);
        }
        if !context.config.exists() {
            return Err(Error::new(Kind::Config, "no database is given")
                .remedy("say --url postgres://…, set CROSSFADE_SOURCE_URL, or name a configuration file with --config"));
        }
        ConnInfo::parse(&context.load()?.source_url)
    }
}

/// # Errors
/// Those of the verb.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let place = &args.place;
    match &args.verb {
        Verb::New(args) => new::run(context, place, args),
        Verb::Up(args) => up::run(context, place, Direction::Up, args).await,
        Verb::Down(args) => up::run(context, place, Direction::Down, args).await,
        Verb::Status(args) => status::run(context, place, args).await,
        Verb::Check(args) => check::run(context, place, args).await,
        Verb::Lint(args) => lint::run(context, place, args).await,
        Verb::Repair(args) => repair::run(context, place, args).await,
    }
}
