//! `crossfade quarantine list|retry`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::state::{migration, quarantine};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// List the source rows set aside: key, reason, SQLSTATE.
    List,
    /// Have the daemon read and write every one of them again.
    Retry,
}

/// # Errors
/// No such migration; connection errors.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let (config, client) = context.open("quarantine").await?;
    let row = migration::require(&client, &config.name).await?;
    match args.action {
        Action::Retry => {
            let rows = quarantine::retry_all(&client, row.id).await?;
            context.print(
                &json!({"retrying": rows}),
                &format!("{rows} rows are tried again\n"),
            );
        }
        Action::List => {
            let entries = quarantine::list(&client, row.id).await?;
            let mut text = String::new();
            for e in &entries {
                let _ = writeln!(
                    text,
                    "{:8} {}  {}",
                    e.reason.name(),
                    e.key.join(", "),
                    e.message
                );
            }
            if entries.is_empty() {
                text.push_str("no rows are set aside\n");
            }
            let list: Vec<_> = entries
                .iter()
                .map(|e| json!({"key": e.key, "reason": e.reason.name(), "sqlstate": e.sqlstate, "message": e.message}))
                .collect();
            context.print(&json!({"rows": list}), &text);
        }
    }
    Ok(ExitCode::SUCCESS)
}
