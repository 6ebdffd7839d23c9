//! The advice as a migration, and how its indexes are found again later.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::advise::Recommended;
use super::experiment::Change;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::ident::literal;
use crate::pg::quote;

/// What the comment of an index begins with, so that `explain --used` finds it.
pub const MARK: &str = "crossfade explain: ";

/// The statement that makes it, without a lock that writers would wait for.
#[must_use]
pub fn up(change: &Recommended) -> String {
    match &change.change {
        Change::Index(candidate) => format!(
            "CREATE INDEX CONCURRENTLY {} {}",
            quote(&change.name),
            candidate.shape()
        ),
        Change::Statistics { table, columns } => {
            let columns: Vec<_> = columns.iter().map(|c| quote(c)).collect();
            format!(
                "CREATE STATISTICS {}.{} (ndistinct, dependencies, mcv) ON {} FROM {}",
                quote(&table.schema),
                quote(&change.name),
                columns.join(", "),
                table.sql()
            )
        }
    }
}

fn full_name(change: &Recommended) -> String {
    format!(
        "{}.{}",
        quote(&change.change.table().schema),
        quote(&change.name)
    )
}

/// The text of both directions.
#[must_use]
pub fn texts(changes: &[Recommended], query: &str) -> (String, String) {
    let mut head =
        String::from("-- no-transaction\n-- Recommended by crossfade explain for this query:\n");
    for line in query.lines().take(40) {
        let _ = writeln!(head, "--   {line}");
    }
    let mut forth = head;
    let mut back = String::from("-- no-transaction\n");
    for change in changes {
        let comment = format!("{MARK}{}", super::words::short(query));
        match &change.change {
            Change::Index(candidate) => {
                let _ = writeln!(
                    forth,
                    "\n-- {} → {} when it was measured.\n{};\n\nCOMMENT ON INDEX {} IS {};",
                    super::words::time(change.before),
                    super::words::time(change.after),
                    up(change),
                    full_name(change),
                    literal(&comment).trim_start()
                );
                let _ = writeln!(
                    back,
                    "DROP INDEX CONCURRENTLY IF EXISTS {};",
                    full_name(change)
                );
                if candidate.keys.iter().any(|k| k.sql.starts_with('(')) {
                    let _ = writeln!(
                        forth,
                        "\n-- An expression has statistics only after this.\nANALYZE {};",
                        candidate.table.sql()
                    );
                }
            }
            Change::Statistics { table, .. } => {
                let _ = writeln!(forth, "\n{};\n\nANALYZE {};", up(change), table.sql());
                let _ = writeln!(back, "DROP STATISTICS IF EXISTS {};", full_name(change));
            }
        }
    }
    (forth, back)
}

/// Writes the pair of files with the next free number; returns their paths.
///
/// # Errors
/// [`Kind::Config`] where the folder is none; what the operating system says.
pub fn write(dir: &Path, changes: &[Recommended], query: &str) -> Result<Vec<PathBuf>> {
    let Some(first) = changes.first() else {
        return Ok(Vec::new());
    };
    let mut last = 0_u32;
    let entries = std::fs::read_dir(dir).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("cannot read the folder {}: {e}", dir.display()),
        )
        .remedy("name the folder of your migrations, or make it first")
    })?;
    for entry in entries {
        let name = entry
            .context(format!("reading {}", dir.display()))?
            .file_name();
        let digits: String = name
            .to_string_lossy()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        last = last.max(digits.parse().unwrap_or(0));
    }
    // File names take plain letters only; the index's own name may be anything.
    let plain: String = first
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let stem = format!("{:04}_{plain}", last + 1);
    let (forth, back) = texts(changes, query);
    let mut written = Vec::new();
    for (direction, text) in [("up", forth), ("down", back)] {
        let path = dir.join(format!("{stem}.{direction}.sql"));
        std::fs::write(&path, text).context(format!("writing {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}
