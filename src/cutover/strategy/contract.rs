//! The contract migration of strategy `columns`: what drops the moved columns once
//! nobody needs the way back. crossfade writes it and leaves it to be reviewed and
//! applied.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::pg::catalog::Column;
use crate::pg::quote;
use crate::state::guard;
use crate::transform::Plan;

/// A numbered pair that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Behind the number: `contract_orders`.
    stem: String,
    pub up: String,
    pub down: String,
}

impl Contract {
    /// `None` where no columns move.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        let moved: Vec<&Column> = plan
            .source
            .columns
            .iter()
            .filter(|c| plan.module.moved.contains(&c.name))
            .collect();
        if moved.is_empty() {
            return None;
        }
        Some(Self {
            stem: format!("contract_{}", file_name(&plan.source.name.name)),
            up: up(plan, &moved),
            down: down(plan, &moved),
        })
    }

    /// Writes the pair into `dir`, under the number that comes next there, and returns
    /// the path of the file that drops the columns. Nothing is overwritten; a pair of
    /// the same text, from a run that was interrupted, is left as it is.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir).context(format!("creating {}", dir.display()))?;
        let numbers = numbered(dir)?;
        for (name, _) in &numbers {
            let path = dir.join(name);
            if name.ends_with(&format!("_{}.up.sql", self.stem))
                && fs::read_to_string(&path).is_ok_and(|text| text == self.up)
            {
                return Ok(path);
            }
        }
        let next = numbers.iter().map(|(_, number)| number).max().unwrap_or(&0) + 1;
        let path = |way: &str| dir.join(format!("{next:04}_{}.{way}.sql", self.stem));
        // The way up last: a pair that is there is whole.
        create(&path("down"), &self.down)?;
        create(&path("up"), &self.up)?;
        Ok(path("up"))
    }
}

fn up(plan: &Plan, moved: &[&Column]) -> String {
    let table = plan.source.name.sql();
    let drops: Vec<_> = moved
        .iter()
        .map(|c| format!("    drop column {}", c.quoted()))
        .collect();
    format!(
        "-- Written by `crossfade finish`: these columns of {table} have moved.\n\
         -- Apply it when nothing reads them any more. The lock is held for a moment, and not\n\
         -- waited for longer than this:\n\
         set lock_timeout = '2s';\n\n\
         {}\n\
         alter table {table}\n{};\n",
        guard::remove_columns_sql(&plan.source.name),
        drops.join(",\n")
    )
}

fn down(plan: &Plan, moved: &[&Column]) -> String {
    let table = plan.source.name.sql();
    let adds: Vec<_> = moved
        .iter()
        .map(|c| {
            let collation = c
                .collation
                .as_ref()
                .map(|name| format!(" collate {name}"))
                .unwrap_or_default();
            format!("    add column {} {}{collation}", c.quoted(), c.type_sql)
        })
        .collect();
    let mut text = format!(
        "-- The columns come back, without their NOT NULL and their defaults.\n\
         set lock_timeout = '2s';\n\n\
         alter table {table}\n{};\n",
        adds.join(",\n")
    );
    match &plan.reverse {
        None => text.push_str("\n-- The module has no [reverse]: their values are lost.\n"),
        Some(reverse) => {
            let set: Vec<_> = moved
                .iter()
                .map(|c| format!("{0} = rebuilt.{0}", quote(&c.name)))
                .collect();
            let on: Vec<_> = plan
                .key_columns()
                .map(|c| format!("stays.{0} = rebuilt.{0}", c.quoted()))
                .collect();
            text.push_str(&format!(
                "\n-- Every row, in one statement: on a large table do it in ranges of the key.\n\
                 update {table} as stays\nset {}\nfrom {} as rebuilt\nwhere {};\n",
                set.join(", "),
                reverse.inline(),
                on.join(" and ")
            ));
        }
    }
    text
}

/// A table's name as part of a file's.
fn file_name(table: &str) -> String {
    let plain: String = table
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    plain.trim_matches('_').chars().take(60).collect()
}

/// The numbered files of a folder.
fn numbered(dir: &Path) -> Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(dir).context(format!("reading {}", dir.display()))?;
    for entry in entries {
        let entry = entry.context(format!("reading {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = digits.parse() {
            found.push((name, number));
        }
    }
    Ok(found)
}

fn create(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|e| {
        Error::new(
            Kind::Io,
            format!("{} cannot be written: {e}", path.display()),
        )
        .remedy("give another folder with `--contract DIR`")
    })?;
    file.write_all(text.as_bytes())
        .context(format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let dir = std::env::temp_dir().join(format!(
            "crossfade_contract_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn contract(up: &str) -> Contract {
        Contract {
            stem: format!("contract_{}", file_name("Order \"Items\" ÄÖ")),
            up: up.to_owned(),
            down: "-- down\n".to_owned(),
        }
    }

    #[test]
    fn the_pair_takes_the_next_number_and_overwrites_nothing() {
        let dir = folder();
        for name in [
            "0007_a.up.sql",
            "0007_a.down.sql",
            "0008_b.down.sql",
            "notes.md",
        ] {
            fs::write(dir.join(name), "").unwrap();
        }
        let path = contract("one\n").write(&dir).unwrap();
        assert_eq!(path, dir.join("0009_contract_order__items.up.sql"));
        assert!(dir.join("0009_contract_order__items.down.sql").exists());
        // The same again, then another text under the same name.
        assert_eq!(contract("one\n").write(&dir).unwrap(), path);
        let other = contract("two\n").write(&dir).unwrap();
        assert_eq!(other, dir.join("0010_contract_order__items.up.sql"));
        assert_eq!(fs::read_to_string(path).unwrap(), "one\n");
        fs::remove_dir_all(dir).unwrap();
    }
}
