//! Findings that are known: a file that is kept beside the code, one line each, so that
//! a change of it is a change that can be reviewed.

use std::collections::BTreeSet;
use std::path::Path;

use super::finding::Finding;
use crate::error::{Context, Error, Kind, Result};

const HEADER: &str = "\
# Known findings of `crossfade audit`: they are neither shown nor counted.
# Rule and objects; written by --update-baseline.
";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    known: BTreeSet<String>,
}

impl Baseline {
    /// Those of the findings.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        Self {
            known: findings.iter().flat_map(Finding::fingerprints).collect(),
        }
    }

    /// # Errors
    /// [`Kind::Config`] where the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(Kind::Config, format!("cannot read {}: {e}", path.display()))
                .remedy("write it first: --baseline FILE --update-baseline")
        })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        Self {
            known: lines
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// # Errors
    /// [`Kind::Io`] where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.text()).context(format!("writing {}", path.display()))
    }

    fn text(&self) -> String {
        let lines: Vec<_> = self.known.iter().map(|l| format!("{l}\n")).collect();
        format!("{HEADER}{}", lines.concat())
    }

    /// Everything that the finding is about is known.
    #[must_use]
    pub fn knows(&self, finding: &Finding) -> bool {
        finding
            .fingerprints()
            .iter()
            .all(|f| self.known.contains(f))
    }

    /// Lines that no finding has any more.
    #[must_use]
    pub fn gone(&self, findings: &[Finding]) -> usize {
        self.known.difference(&Self::of(findings).known).count()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::finding::{Category, Object, Severity};
    use crate::pg::QualifiedName;

    fn finding(columns: &[&str]) -> Finding {
        let table = QualifiedName::new("s", "T \"x\"");
        columns.iter().fold(
            Finding::new("bloat", Category::Index, Severity::Low, String::new()),
            |f, c| f.on(Object::column(&table, c)),
        )
    }

    #[test]
    fn what_was_written_is_known_when_it_is_read() {
        let baseline = Baseline::of(&[finding(&["a", "b"]), finding(&["c"])]);
        let again = Baseline::parse(&baseline.text());
        assert_eq!(again, baseline);
        assert!(again.knows(&finding(&["c"])));
        assert!(!again.knows(&finding(&["a"])));
        assert_eq!(again.gone(&[finding(&["c"])]), 1);
    }

    #[test]
    fn a_list_is_known_when_each_of_its_objects_is() {
        let baseline = Baseline::of(&[finding(&["a", "b"]).each()]);
        assert!(baseline.knows(&finding(&["b"]).each()));
        assert!(!baseline.knows(&finding(&["b", "c"]).each()));
    }
}
