//! `crossfade init`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::error::{Context as _, Error, Kind, Result};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write; made if it does not exist.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// What is written, in this order.
const FILES: &[(&str, &str)] = &[
    ("crossfade.toml", include_str!("init/crossfade.toml")),
    (
        "migrations/0001_new_schema.up.sql",
        include_str!("init/new_schema.up.sql"),
    ),
    (
        "migrations/0001_new_schema.down.sql",
        include_str!("init/new_schema.down.sql"),
    ),
    (
        "transforms/example/transform.toml",
        include_str!("init/transform.toml"),
    ),
    (
        "transforms/example/orders.sql",
        include_str!("init/orders.sql"),
    ),
    (
        "transforms/example/order_items.sql",
        include_str!("init/order_items.sql"),
    ),
];

/// # Errors
/// [`Kind::Config`] where one of the files exists: nothing is written then;
/// [`Kind::Io`].
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let paths: Vec<_> = FILES.iter().map(|(name, _)| args.dir.join(name)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(
            Error::new(Kind::Config, format!("{} exists already", path.display()))
                .remedy("choose another folder, or move the file away: nothing was written"),
        );
    }
    for (path, (_, text)) in paths.iter().zip(FILES) {
        write_new(path, text)?;
    }
    let mut text: String = paths
        .iter()
        .map(|path| format!("wrote {}\n", path.display()))
        .collect();
    text.push_str("\nNext: set the connection in crossfade.toml, describe the new rows under\ntransforms/, then `crossfade preflight` and `crossfade preview transforms/example`.\n");
    let written: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    context.print(&json!({"written": written}), &text);
    Ok(ExitCode::SUCCESS)
}

/// Never over a file that came into being meanwhile.
fn write_new(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context(format!("creating {}", parent.display()))?;
    }
    fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .context(format!("writing {}", path.display()))
}
