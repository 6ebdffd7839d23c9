//! A module bound to the tables of a database: what to read, what to write, and
//! which source columns each target depends on.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::module::{Mode, Module};
use super::reverse::Reverse;
use crate::error::{Error, Kind};
use crate::pg::QualifiedName;
use crate::pg::catalog::{Column, Table};

/// A bound module. Indexes into `source.columns` are used throughout; they are
/// positions in the vector, not attribute numbers.
#[derive(Debug, Clone)]
pub struct Plan {
    pub module: Module,
    pub source: Table,
    /// The key columns, in the key's order.
    pub key: Vec<usize>,
    /// Every column that some target depends on, and the key; ascending.
    pub used: Vec<usize>,
    pub targets: Vec<Target>,
    /// How source rows are rebuilt from the targets; `None` means that there is no
    /// way back after the switch.
    pub reverse: Option<Reverse>,
}

#[derive(Debug, Clone)]
pub struct Target {
    pub table: Table,
    pub mode: Mode,
    /// See [`super::module::TargetSpec::key`].
    pub key: Vec<String>,
    /// The columns the SELECT gives, in its order.
    pub columns: Vec<String>,
    /// Columns of the unique index by which rows are matched; contains `key`.
    pub arbiter: Vec<String>,
    pub select: String,
    pub depends: Dependencies,
    /// Earlier targets of this module that the SELECT reads (positions).
    pub reads: Vec<usize>,
    /// Every relation that the SELECT reads besides `source`, by OID.
    pub relations: Vec<u32>,
    /// The functions that somebody has made and the SELECT calls, by OID.
    pub functions: Vec<u32>,
    pub rename_to: Option<QualifiedName>,
}

/// What of a source row a target's rows are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// These columns and nothing else.
    Columns(BTreeSet<usize>),
    /// The row as a whole (`to_jsonb(o)`): every column, present and future.
    WholeRow,
}

impl Dependencies {
    #[must_use]
    pub fn on(&self, column: usize) -> bool {
        match self {
            Self::Columns(set) => set.contains(&column),
            Self::WholeRow => true,
        }
    }
}

impl Target {
    /// # Panics
    /// Never for a bound plan: binding checked that the column exists.
    #[must_use]
    pub fn column(&self, name: &str) -> &Column {
        self.table
            .column(name)
            .expect("binding checked every output column")
    }

    /// Columns that a row must have and the SELECT does not give, quoted. A column of the
    /// key is none of them: without it there is no plan.
    pub fn unproduced(&self) -> impl Iterator<Item = String> {
        let mandatory = self
            .table
            .columns
            .iter()
            .filter(|c| c.not_null && !c.has_default && !c.generated);
        mandatory
            .filter(|c| !self.columns.contains(&c.name) && !self.key.contains(&c.name))
            .map(Column::quoted)
    }

    #[must_use]
    pub fn is_lookup(&self) -> bool {
        self.mode == Mode::Lookup
    }
}

impl Plan {
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&i| &self.source.columns[i])
    }

    pub fn used_columns(&self) -> impl Iterator<Item = &Column> {
        self.used.iter().map(|&i| &self.source.columns[i])
    }

    /// Position of a source column among the used ones, the shape of an image.
    #[must_use]
    pub fn used_position(&self, column: usize) -> Option<usize> {
        self.used.binary_search(&column).ok()
    }

    /// The error of a row whose key is not that of the source row it is made of.
    #[must_use]
    pub fn stray(&self) -> Error {
        let targets: Vec<_> = self
            .row_targets()
            .map(|(_, t)| format!("{} ({})", t.table.name, t.list(&t.key, "")))
            .collect();
        let key: Vec<_> = self.key_columns().map(Column::quoted).collect();
        Error::new(
            Kind::Module,
            format!(
                "module {}: a row for {} carries another key than the row of {} that it is made of",
                self.module.name,
                targets.join(" or "),
                self.source.name
            ),
        )
        .remedy(format!(
            "name in source_key the columns that hold ({}) of the source row, and read its rows from `source`, not from the table",
            key.join(", ")
        ))
    }

    /// The key of an image, which has one value for each used column. The key's
    /// columns are among them and never NULL.
    #[must_use]
    pub fn key_of(&self, image: &[Option<Bytes>]) -> Vec<Bytes> {
        self.key
            .iter()
            .filter_map(|&k| self.used_position(k))
            .map(|i| image.get(i).cloned().flatten().unwrap_or_default())
            .collect()
    }

    /// Whether two keys are equal exactly when their texts are.
    #[must_use]
    pub fn key_text_is_identity(&self) -> bool {
        self.key_columns().all(|c| c.text_is_identity)
    }

    /// Targets that hold rows of one source row each (not lookups), by position.
    pub fn row_targets(&self) -> impl DoubleEndedIterator<Item = (usize, &Target)> {
        self.targets
            .iter()
            .enumerate()
            .filter(|(_, t)| !t.is_lookup())
    }

    /// Splits the row targets into runs that one statement can write: a target
    /// that reads an earlier one must see its rows, so it begins a new stage.
    #[must_use]
    pub fn stages(&self) -> Vec<Vec<usize>> {
        let mut stages: Vec<Vec<usize>> = Vec::new();
        for (i, target) in self.row_targets() {
            match stages.last_mut() {
                Some(stage) if !target.reads.iter().any(|r| stage.contains(r)) => stage.push(i),
                _ => stages.push(vec![i]),
            }
        }
        stages
    }
}
