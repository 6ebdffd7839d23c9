//! `crossfade throttle`.

use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::config::Live;
use crate::config::live::KEYS;
use crate::error::{Error, Kind, Result};
use crate::preflight;
use crate::state::{migration, setting};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Settings as KEY=VALUE; `default` gives a key back to the file. Without any, what
    /// holds now is shown.
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Give all keys back to the file.
    #[arg(long, conflicts_with = "set")]
    reset: bool,
}

/// Shows what slows the copy, or changes it; a running daemon takes it up within a
/// second, and one that starts later finds it so.
///
/// # Errors
/// An unknown key or a wrong value, before anything is changed; no such migration;
/// connection errors.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let (config, mut client) = context.open("throttle").await?;
    let row = migration::require(&client, &config.name).await?;
    let file = Live::of(&config);
    let wanted = parse(&file, &args.set, args.reset)?;
    for (_, value) in wanted.iter().filter(|(key, _)| key == "window") {
        // `off` is no window, nor is what goes back to the file.
        if let Some(window) = value.as_ref().and_then(|v| v.parse().ok()) {
            preflight::check_window(&client, &window).await?;
        }
    }
    let tx = client.transaction().await?;
    for (key, value) in &wanted {
        setting::write(&tx, row.id, key, value.as_deref()).await?;
    }
    tx.commit().await?;
    let set = setting::read(&client, row.id).await?;
    let live = setting::over(&file, &set);
    let shown = live.shown();
    let mut text = String::new();
    for (key, value) in &shown {
        let what = KEYS.iter().find(|k| k.0 == *key).map_or("", |k| k.1);
        let from = if set.contains_key(*key) {
            "set"
        } else {
            "file"
        };
        text.push_str(&format!("{key:<24} {value:<16} {from:<5} {what}\n"));
    }
    text.push_str("\n`crossfade status` says what slows the copy now.\n");
    let settings: serde_json::Map<_, _> = shown
        .iter()
        .map(|(key, value)| {
            let json = json!({"value": value, "set": set.contains_key(*key)});
            ((*key).to_owned(), json)
        })
        .collect();
    context.print(&json!({"name": config.name, "settings": settings}), &text);
    Ok(ExitCode::SUCCESS)
}

/// Every change, checked; `None` gives the key back.
fn parse(file: &Live, set: &[String], reset: bool) -> Result<Vec<(String, Option<String>)>> {
    if reset {
        return Ok(KEYS.iter().map(|k| (k.0.to_owned(), None)).collect());
    }
    let mut live = file.clone();
    set.iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::new(Kind::Config, format!("`{pair}` is not KEY=VALUE"))
                    .remedy("as in `crossfade throttle max_lag_seconds=2`")
            })?;
            if value == "default" && KEYS.iter().any(|k| k.0 == key) {
                return Ok((key.to_owned(), None));
            }
            live.set(key, value)?;
            Ok((key.to_owned(), Some(value.to_owned())))
        })
        .collect()
}
