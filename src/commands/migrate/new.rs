//! `crossfade migrate new`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Context, Place};
use crate::error::{Context as _, Error, Kind, Result};
use crate::migrate::Folder;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What it does, in a few words
    name: String,
    /// One file with a section for each direction
    #[arg(long)]
    sections: bool,
}

const UP: &str = "\
-- All of this file is one transaction. With `-- no-transaction` on a line of its own each
-- statement commits alone, as CREATE INDEX CONCURRENTLY needs it, and an interrupted file
-- goes on where it stopped.

";
const DOWN: &str = "\
-- Takes the other file back. `crossfade migrate check` proves that it does.
-- Where there is no way back, delete this file and say in the other one:
-- `-- irreversible: ` and why.

";

pub(super) fn run(context: &Context, place: &Place, args: &Args) -> Result<ExitCode> {
    let dir = place.dir(context);
    std::fs::create_dir_all(&dir).context(format!("making the folder {}", dir.display()))?;
    let folder = Folder::read(&dir)?;
    let name = plain(&args.name)?;
    let stem = format!("{:04}_{name}", folder.newest() + 1);
    let files: Vec<(PathBuf, String)> = if args.sections {
        vec![(
            dir.join(format!("{stem}.sql")),
            format!("{UP}-- Up\n\n-- Down\n"),
        )]
    } else {
        vec![
            (dir.join(format!("{stem}.up.sql")), UP.to_owned()),
            (dir.join(format!("{stem}.down.sql")), DOWN.to_owned()),
        ]
    };
    let mut text = String::new();
    for (path, content) in &files {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        file.and_then(|mut f| f.write_all(content.as_bytes()))
            .context(format!("writing {}", path.display()))?;
        text.push_str(&format!("{}\n", path.display()));
    }
    let paths: Vec<&PathBuf> = files.iter().map(|(p, _)| p).collect();
    context.print(&json!({"files": paths}), &text);
    Ok(ExitCode::SUCCESS)
}

/// `Add VAT!` → `add_vat`.
fn plain(name: &str) -> Result<String> {
    let words: Vec<String> = name
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        return Err(Error::new(Kind::Config, format!("`{name}` is no name"))
            .remedy("say in a few words what the migration does"));
    }
    Ok(words.join("_"))
}
