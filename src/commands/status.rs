//! `crossfade status`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::{Context, Output};
use crate::error::Result;
use crate::status::{self, text};

/// To the top left, and what was there before is cleared line by line, so that the
/// screen does not flicker.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it again every second, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// # Errors
/// No such migration; connection errors.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let (config, client) = context.open("status").await?;
    let screen = args.watch && context.output == Output::Text && std::io::stdout().is_terminal();
    if screen {
        print!("{HOME}{CLEAR_BELOW}");
    }
    loop {
        let status = status::read(&client, &config).await?;
        let shown = text::render(&status);
        if screen {
            let lines = shown.replace('\n', &format!("{CLEAR_LINE}\n"));
            print!("{HOME}{lines}{CLEAR_BELOW}");
            std::io::stdout().flush()?;
        } else {
            context.print(&status, &shown);
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
