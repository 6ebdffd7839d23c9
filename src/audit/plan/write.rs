//! Writing a plan's folder: all of it, or an error before anything is written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Plan, readme};
use crate::error::{Context, Error, Kind, Result};

impl Plan {
    /// Every file with its path below the plan's folder. `url` goes into configurations
    /// and must have no password in it.
    #[must_use]
    pub fn files(&self, url: &str) -> Vec<(PathBuf, String)> {
        let mut files = vec![(PathBuf::from("README.md"), readme::text(self))];
        for (at, entry) in self.migrations.iter().enumerate() {
            let migration = &entry.migration;
            let stem = format!("migrations/{:04}_{}", at + 1, migration.name);
            let mut comment = one_line(&migration.about);
            comment.push_str(&format!("\nMends: {}", one_line(&entry.finding)));
            for risk in &migration.risks {
                comment.push_str(&format!("\nMind: {}", one_line(risk)));
            }
            files.push((
                PathBuf::from(format!("{stem}.up.sql")),
                migration.up.text(&comment),
            ));
            let back = format!("Takes back {:04}_{}.up.sql.", at + 1, migration.name);
            files.push((
                PathBuf::from(format!("{stem}.down.sql")),
                migration.down.text(&back),
            ));
        }
        for module in &self.modules {
            for (name, text) in module.files() {
                files.push((Path::new("transforms").join(&module.name).join(name), text));
            }
            files.push((PathBuf::from(self.config_of(module)), module.config(url)));
        }
        files
    }

    /// Writes into `dir`, which is made or must be empty; returns the paths.
    ///
    /// # Errors
    /// [`Kind::Config`] where something is in it already; [`Kind::Io`].
    pub fn write(&self, dir: &Path, url: &str) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(dir).context(format!("creating {}", dir.display()))?;
        let mut entries = fs::read_dir(dir).context(format!("reading {}", dir.display()))?;
        if entries.next().is_some() {
            return Err(Error::new(
                Kind::Config,
                format!("{} is not empty: nothing was written", dir.display()),
            )
            .remedy("name another folder for the plan, or move what is in it away"));
        }
        let mut written = Vec::new();
        for (name, text) in self.files(url) {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).context(format!("creating {}", parent.display()))?;
            }
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .context(format!("writing {}", path.display()))?;
            written.push(path);
        }
        Ok(written)
    }
}

/// A comment's line: nothing in it can end it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}') {
                ' '
            } else {
                c
            }
        })
        .collect()
}
