//! Everything a rule may look at.

use std::collections::HashMap;

use super::profile::{ColumnProfile, Profile};
use super::reference::Reference;
use super::schema::{Column, Database, Table};
use super::statement::Statements;

pub struct Facts {
    pub database: Database,
    /// By the table's OID; tables whose rows were not looked at have none.
    pub profiles: HashMap<u32, Profile>,
    /// Declared and inferred.
    pub references: Vec<Reference>,
    /// `None` where `pg_stat_statements` is not there or may not be read.
    pub statements: Option<Statements>,
    pub thresholds: Thresholds,
}

/// What a user may set.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Days that the server must have counted scans for before an index counts as unused.
    pub unused_after_days: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            unused_after_days: 14,
        }
    }
}

impl Facts {
    #[must_use]
    pub fn profile(&self, table: &Table) -> Option<&Profile> {
        self.profiles.get(&table.oid)
    }

    #[must_use]
    pub fn column_profile(&self, table: &Table, column: &str) -> Option<&ColumnProfile> {
        self.profile(table)?.column(column)
    }

    /// Every column of the designed tables.
    pub fn columns(&self) -> impl Iterator<Item = (&Table, &Column)> {
        self.database
            .designed()
            .flat_map(|t| t.columns.iter().map(move |c| (t, c)))
    }

    /// References of a table, declared and inferred.
    pub fn references_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Reference> {
        self.references.iter().filter(|r| r.table == table.name)
    }

    /// Whether a reference, declared or inferred, uses the column.
    #[must_use]
    pub fn refers(&self, table: &Table, column: &str) -> bool {
        self.references_of(table)
            .any(|r| r.columns.iter().any(|c| c == column))
    }
}
