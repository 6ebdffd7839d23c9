//! One page of the demo's shop that takes seconds over JSON, and milliseconds after the
//! split and the indexes that `crossfade explain` recommends, with an equal result.
//!
//! Arguments: `--orders N` (default 2300000), `--html FILE`, `--full 1` (both reports).

use crossfade::demo::listing;
use crossfade::error::{Context, Result};
use crossfade::server::{Options, Server};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let orders = argument("--orders")
        .and_then(|a| a.parse().ok())
        .unwrap_or(2_300_000);
    // The server's defaults, but for what makes loading faster.
    let options = Options::default().setting("max_wal_size", "8GB");
    let server = Server::start(options)?;
    let told = listing::tell(&server.socket_url("postgres"), orders, &|step| {
        eprintln!("… {step}")
    })
    .await?;
    if argument("--full").is_some() {
        println!("{}\n{}", told.reports[0], told.reports[1]);
    }
    if let Some(path) = argument("--html") {
        std::fs::write(&path, &told.page).context(format!("writing {path}"))?;
    }
    println!("{}", told.text());
    Ok(())
}

/// The value after an option.
fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|a| a == name)?;
    arguments.next()
}
