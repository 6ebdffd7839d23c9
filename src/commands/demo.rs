//! `crossfade demo`: the whole story on a throwaway server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::application::{Application, Layout, Settings};
use crate::demo::shop;
use crate::demo::story::{self, Load, Options};
use crate::error::{Context, Error, Kind, Result};

/// Shows the whole story on a throwaway server: a shop with a legacy schema and
/// an application that never stops writing moves to a new schema.
///
/// Needs the PostgreSQL server programs (`apt-get install postgresql`). Exit code
/// 0 only if the copy was verified, the switch took place, the application saw no
/// error and every write it was told is committed is there.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Orders in the legacy shop, with three lines each on average
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub orders: u64,
    /// Keep the orders in their table and move only its JSON to a table of its own,
    /// there and back and there again
    #[arg(long, conflicts_with = "baseline")]
    pub in_place: bool,
    /// Copy workers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Transactions a second of the simulated application, all clients together
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Sessions of the simulated application
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,
    /// Leave the application out; old and new are then compared by plain SQL too
    #[arg(long)]
    pub no_app: bool,
    /// Time one INSERT … SELECT per table on the same data first
    #[arg(long)]
    pub baseline: bool,
    /// Leave the server running at the end, and say how to connect and how to stop it
    #[arg(long)]
    pub keep: bool,
    /// Only fill the example shop in this database, whose tables exist and are empty
    #[arg(long, value_name = "URL", conflicts_with_all = ["in_place", "no_app", "baseline", "keep", "dir", "application"])]
    pub load: Option<String>,
    /// Only the simulated application, on a shop that is filled, until interrupted
    #[arg(long, value_name = "URL", conflicts_with_all = ["in_place", "no_app", "baseline", "keep", "dir"])]
    pub application: Option<String>,
    /// Where the server keeps its files; must not exist yet [default: a new
    /// directory under the temp directory]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Exit code of a demo that a signal has ended, as shells give it for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs the demo and prints its summary, as JSON if asked; returns the exit code.
///
/// # Errors
/// When a part of the story cannot go on.
pub async fn run(args: DemoArgs, json: bool) -> Result<u8> {
    if let Some(url) = &args.load {
        return load(url, args.orders).await;
    }
    if let Some(url) = &args.application {
        return application(url, args.clients, args.rate).await;
    }
    let options = Options {
        orders: args.orders,
        layout: if args.in_place {
            Layout::InPlace
        } else {
            Layout::Split
        },
        workers: args.workers,
        load: (!args.no_app).then_some(Load {
            clients: args.clients,
            rate: args.rate,
        }),
        baseline: args.baseline,
        keep: args.keep,
        dir: args.dir,
        program: std::env::current_exe().context("finding the crossfade program")?,
        settle: Duration::from_secs(5),
        durable: true,
        quiet: false,
    };
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let summary = tokio::select! {
        told = story::tell(options) => told?,
        // Leaving drops the story: the daemon, the application, the server and
        // its directory go with it.
        _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED),
        _ = terminate.recv() => return Ok(INTERRUPTED),
    };
    if json {
        let text = serde_json::to_string_pretty(&summary)
            .map_err(|e| Error::new(Kind::Io, format!("the summary does not serialize: {e}")))?;
        println!("{text}");
    } else {
        println!("{}", summary.text());
    }
    Ok(u8::from(!summary.good()))
}

/// Fills the shop, unless it is filled.
async fn load(url: &str, orders: u64) -> Result<u8> {
    if last_order(url).await? > 0 {
        println!("the shop has orders already");
        return Ok(0);
    }
    let size = shop::Size {
        orders,
        sessions: 2,
    };
    shop::load(url, size, &|_| {}).await?;
    println!("{orders} orders are there");
    Ok(0)
}

async fn last_order(url: &str) -> Result<i64> {
    let client = shop::connect(url).await?;
    let sql = "select coalesce(max(id), 0) from legacy.orders";
    let row = client.query_one(sql, &[]).await;
    Ok(row.context("reading the shop's orders")?.get(0))
}

/// The simulated application until a signal ends it; then what it saw.
async fn application(url: &str, clients: u32, rate: f64) -> Result<u8> {
    let orders = last_order(url).await?;
    let application = Application::start(Settings {
        url: url.to_owned(),
        clients,
        rate,
        orders: u64::try_from(orders).unwrap_or(0),
        seed: 1,
        layout: Layout::Split,
    })?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    let report = application.stop().await?;
    println!("{:?}", report.counts);
    for (sqlstate, error) in &report.errors {
        println!("error {sqlstate}: {error:?}");
    }
    Ok(u8::from(!report.errors.is_empty()))
}
