//! The advice as a migration, and how its indexes are found again later.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::advise::{Recommended, Way};
use super::experiment::Change;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::ident::literal;
use crate::pg::{QualifiedName, quote};

/// What the comment of an index begins with, so that `explain --used` finds it.
pub const MARK: &str = "crossfade explain: ";

/// What makes it, as far as possible without a lock that writers would wait for: one
/// statement, or several with semicolons between them.
#[must_use]
pub fn up(change: &Recommended) -> String {
    statements(change).join(";\n")
}

fn statements(change: &Recommended) -> Vec<String> {
    let name = quote(&change.name);
    let candidate = match &change.change {
        Change::Index(candidate) => candidate,
        Change::Statistics { table, columns } => {
            let columns: Vec<_> = columns.iter().map(|c| quote(c)).collect();
            return vec![format!(
                "CREATE STATISTICS {}.{name} (ndistinct, dependencies, mcv) ON {} FROM {}",
                quote(&table.schema),
                columns.join(", "),
                table.sql()
            )];
        }
    };
    let parts = match &change.way {
        Way::Concurrently => {
            return vec![format!(
                "CREATE INDEX CONCURRENTLY {name} {}",
                candidate.shape()
            )];
        }
        Way::Whole => return vec![candidate.create(&change.name)],
        Way::Parts(parts) => parts,
    };
    let columns = candidate.columns_text();
    let mut all = vec![format!(
        "CREATE INDEX {name} ON ONLY {} {columns}",
        candidate.table.sql()
    )];
    all.extend(parts.iter().map(|part| {
        let (concurrently, only) = if part.leaf {
            ("CONCURRENTLY ", "")
        } else {
            ("", "ONLY ")
        };
        let (name, table) = (quote(&part.name), part.table.sql());
        format!("CREATE INDEX {concurrently}{name} ON {only}{table} {columns}")
    }));
    // An index is valid once all its parts are: the lowest ones come first.
    all.extend(parts.iter().rev().map(|part| {
        let own = QualifiedName::new(&part.table.schema, &part.name);
        format!(
            "ALTER INDEX {} ATTACH PARTITION {}",
            part.of.sql(),
            own.sql()
        )
    }));
    all
}

/// What takes it away again.
fn down(change: &Recommended) -> String {
    let name = full_name(change);
    match (&change.change, &change.way) {
        (Change::Statistics { .. }, _) => format!("DROP STATISTICS IF EXISTS {name}"),
        (Change::Index(_), Way::Concurrently) => {
            format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")
        }
        // The parts go with the whole, which cannot be dropped beside anybody.
        (Change::Index(_), _) => format!("DROP INDEX IF EXISTS {name}"),
    }
}

fn full_name(change: &Recommended) -> String {
    QualifiedName::new(&change.change.table().schema, &change.name).sql()
}

/// The indexes that have statistics of their own: those of the partitions, where there are
/// some.
fn counted(change: &Recommended) -> Vec<String> {
    match &change.way {
        Way::Parts(parts) => parts
            .iter()
            .filter(|p| p.leaf)
            .map(|p| QualifiedName::new(&p.table.schema, &p.name).sql())
            .collect(),
        _ => vec![full_name(change)],
    }
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
                    "\n-- {} → {} when it was measured.\n{};\n",
                    super::words::time(change.before),
                    super::words::time(change.after),
                    up(change),
                );
                for index in counted(change) {
                    let comment = literal(&comment);
                    let comment = comment.trim_start();
                    let _ = writeln!(forth, "COMMENT ON INDEX {index} IS {comment};");
                }
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
            }
        }
        let _ = writeln!(back, "{};", down(change));
    }
    (forth, back)
}

/// The folder that migrations are written into. To be asked before anything takes long.
///
/// # Errors
/// [`Kind::Config`] where the folder is none.
pub fn folder(dir: &Path) -> Result<std::fs::ReadDir> {
    std::fs::read_dir(dir).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("cannot read the folder {}: {e}", dir.display()),
        )
        .remedy("name the folder of your migrations, or make it first")
    })
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
    for entry in folder(dir)? {
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
