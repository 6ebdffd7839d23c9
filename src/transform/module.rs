//! A module as it stands in its folder: `transform.toml` and its SELECTs.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::script;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::QualifiedName;

/// A transform module, read and checked as far as text alone allows.
#[derive(Debug, Clone)]
pub struct Module {
    /// The folder's name.
    pub name: String,
    pub source: QualifiedName,
    /// In write order: parents before children.
    pub targets: Vec<TargetSpec>,
    /// Columns of the source that move to the targets while the source table stays
    /// (strategy `columns`); empty where the table is replaced as a whole.
    pub moved: Vec<String>,
    /// What rebuilds the source's rows from the targets, for the way back.
    pub reverse: Option<ReverseSpec>,
    /// What `strategy = "sql"` runs inside the switch.
    pub switch_sql: Option<String>,
    /// What `strategy = "sql"` runs inside the switch back.
    pub switch_back_sql: Option<String>,
    /// SHA-256 over every file of the module, hexadecimal. A changed module voids
    /// what was verified with the old one.
    pub text_hash: String,
}

/// `[reverse]`: one SELECT of the source's columns over the targets.
#[derive(Debug, Clone)]
pub struct ReverseSpec {
    pub select: String,
    /// The file it came from, for messages.
    pub file: String,
    /// Which source keys a change of a lookup touches.
    pub touches: Vec<TouchSpec>,
}

/// `[[reverse.touch]]`: a SELECT of source keys over the relation `changed`, which
/// holds the identities of changed rows of one lookup target.
#[derive(Debug, Clone)]
pub struct TouchSpec {
    pub table: QualifiedName,
    pub select: String,
    pub file: String,
}

#[derive(Debug, Clone)]
pub struct TargetSpec {
    pub table: QualifiedName,
    /// Rows mode: the target columns that carry the source row's key, in the
    /// key's order. Lookup mode: the columns that identify a looked-up row.
    pub key: Vec<String>,
    /// The SELECT, without a trailing semicolon.
    pub select: String,
    /// The file it came from, for messages.
    pub file: String,
    pub mode: Mode,
    /// The name the table takes at the switch (strategy `rename`).
    pub rename_to: Option<QualifiedName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every row belongs to one source row and lives and dies with it.
    #[default]
    Rows,
    /// Many source rows share one row: inserted if absent, never deleted.
    Lookup,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    #[serde(default, rename = "target")]
    targets: Vec<FileTarget>,
    #[serde(default)]
    moved: Vec<String>,
    reverse: Option<FileReverse>,
    switch: Option<String>,
    switch_back: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReverse {
    select: String,
    #[serde(default, rename = "touch")]
    touches: Vec<FileTouch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTouch {
    table: String,
    select: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTarget {
    table: String,
    source_key: Option<Vec<String>>,
    key: Option<Vec<String>>,
    select: String,
    #[serde(default)]
    mode: Mode,
    rename_to: Option<String>,
}

impl Module {
    /// Reads the module in folder `dir`.
    ///
    /// # Errors
    /// [`Kind::Module`] or [`Kind::Config`], naming file and key.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("transform.toml");
        let text = read(&path)?;
        let file: File = toml::from_str(&text)
            .map_err(|e| Error::new(Kind::Module, format!("{}: {e}", path.display())))?;
        let mut hash = Sha256::new();
        hash.update(&text);
        if file.targets.is_empty() {
            return Err(Error::new(
                Kind::Module,
                format!("{} has no [[target]]", path.display()),
            ));
        }
        let mut targets = Vec::new();
        for target in file.targets {
            let spec = target_spec(dir, target).context(path.display())?;
            hash.update([0]);
            hash.update(&spec.select);
            if targets.iter().any(|t: &TargetSpec| t.table == spec.table) {
                return Err(Error::new(
                    Kind::Module,
                    format!("{} names the target {} twice", path.display(), spec.table),
                ));
            }
            targets.push(spec);
        }
        let switch_sql = match file.switch {
            Some(name) => Some(switch_script(&dir.join(name))?),
            None => None,
        };
        hash.update(switch_sql.as_deref().unwrap_or_default());
        let switch_back_sql = match file.switch_back {
            Some(name) => Some(switch_script(&dir.join(name))?),
            None => None,
        };
        if let Some(text) = &switch_back_sql {
            hash.update([2]);
            hash.update(text);
        }
        let reverse = match file.reverse {
            Some(reverse) => Some(reverse_spec(dir, reverse).context(path.display())?),
            None => None,
        };
        for text in reverse.iter().flat_map(ReverseSpec::texts) {
            hash.update([1]);
            hash.update(text);
        }
        let name = dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Self {
            name,
            source: QualifiedName::parse(&file.source).context(path.display())?,
            targets,
            moved: file.moved,
            reverse,
            switch_sql,
            switch_back_sql,
            text_hash: hash.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        })
    }
}

/// Reads the file that runs inside the switch's transaction, which it must not end.
fn switch_script(path: &Path) -> Result<String> {
    let sql = read(path)?;
    match script::transaction_control(&sql) {
        None => Ok(sql),
        Some(statement) => Err(Error::new(
            Kind::Module,
            format!(
                "{} begins or ends a transaction (`{}`)",
                path.display(),
                statement.trim()
            ),
        )
        .remedy("leave that out: the file runs inside the transaction of the switch")),
    }
}

/// The hash of all modules together: what a migration is bound to.
#[must_use]
pub fn hash_all(modules: &[Module]) -> String {
    let parts: Vec<_> = modules.iter().map(|m| &m.text_hash[..16]).collect();
    parts.join("-")
}

fn target_spec(dir: &Path, target: FileTarget) -> Result<TargetSpec> {
    let table = QualifiedName::parse(&target.table)?;
    let key = match (target.mode, target.source_key, target.key) {
        (Mode::Rows, Some(key), None) | (Mode::Lookup, None, Some(key)) if !key.is_empty() => key,
        (Mode::Rows, ..) => {
            return Err(
                Error::new(Kind::Module, format!("target {table} needs `source_key`")).remedy(
                    "list the target's columns that carry the source row's key, in the key's order",
                ),
            );
        }
        (Mode::Lookup, ..) => {
            return Err(Error::new(
                Kind::Module,
                format!("lookup target {table} needs `key` and no `source_key`"),
            )
            .remedy("list the columns of the unique key by which a row is found"));
        }
    };
    Ok(TargetSpec {
        key,
        select: select(&dir.join(&target.select))?,
        file: target.select,
        mode: target.mode,
        rename_to: target
            .rename_to
            .as_deref()
            .map(QualifiedName::parse)
            .transpose()?,
        table,
    })
}

impl ReverseSpec {
    fn texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.select.as_str()).chain(self.touches.iter().map(|t| t.select.as_str()))
    }
}

fn reverse_spec(dir: &Path, reverse: FileReverse) -> Result<ReverseSpec> {
    let mut touches = Vec::new();
    for touch in reverse.touches {
        touches.push(TouchSpec {
            table: QualifiedName::parse(&touch.table)?,
            select: select(&dir.join(&touch.select))?,
            file: touch.select,
        });
    }
    Ok(ReverseSpec {
        select: select(&dir.join(&reverse.select))?,
        file: reverse.select,
        touches,
    })
}

/// A SELECT's text without a trailing semicolon.
fn select(path: &Path) -> Result<String> {
    Ok(script::without_end(&read(path)?).to_owned())
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::new(Kind::Module, format!("cannot read {}: {e}", path.display())))?;
    // What some editors begin a file with, and no parser takes.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removed with all that is in it.
    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(toml: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!(
            "crossfade_module_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("transform.toml"), toml).unwrap();
        std::fs::write(dir.join("a.sql"), "select 1 as id;\n").unwrap();
        Folder(dir)
    }

    #[test]
    fn a_module_is_read_with_its_selects_and_a_hash_of_all_its_text() {
        let toml = "source = 'legacy.orders'\n[[target]]\ntable = 'shop.\"Ä b\"'\nsource_key = ['id']\nselect = 'a.sql'\n";
        let dir = folder(toml);
        let module = Module::load(&dir.0).unwrap();
        assert_eq!(module.targets[0].table.name, "Ä b");
        assert_eq!(module.targets[0].select, "select 1 as id");
        std::fs::write(dir.0.join("a.sql"), "select 2 as id").unwrap();
        assert_ne!(Module::load(&dir.0).unwrap().text_hash, module.text_hash);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let target = "[[target]]\ntable = 't'\nselect = 'a.sql'\n";
        for (toml, word) in [
            ("sourc = 'x'\n", "sourc"),
            ("source = 'x'\n", "[[target]]"),
            (&format!("source = 'x'\n{target}"), "source_key"),
            (
                &format!("source = 'x'\n{target}mode = 'lookup'\nsource_key = ['a']\n"),
                "`key`",
            ),
            (
                &format!("source = 'x'\n{target}source_key = ['id']\nselekt = 'b'\n"),
                "selekt",
            ),
            (
                "source = 'x'\n[[target]]\ntable = 't'\nsource_key = ['id']\nselect = 'no.sql'\n",
                "no.sql",
            ),
        ] {
            let e = Module::load(&folder(toml).0).unwrap_err();
            assert!(e.to_string().contains(word), "{e} should name {word}");
        }
    }
}
