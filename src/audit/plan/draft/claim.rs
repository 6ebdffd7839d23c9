//! What one step of a plan needs of a column, and another must not take.

use super::super::super::fix::Fix;
use super::super::extract;
use super::{Draft, Piece};
use crate::pg::QualifiedName;

impl Draft<'_> {
    /// What the fixes hold on to, before any is taken up: what primary keys bring along needs no
    /// index of its own, and what a table will refer to a table that is made of its columns
    /// refers to as well.
    pub fn expect<'f>(&mut self, fixes: impl Iterator<Item = &'f Fix>) {
        for fix in fixes {
            match fix {
                Fix::AddForeignKey {
                    table,
                    columns,
                    referenced,
                    referenced_columns,
                    orphans,
                    convert_to,
                    ..
                } => {
                    self.hold(referenced, referenced_columns.iter());
                    if convert_to.is_some() {
                        continue;
                    }
                    self.hold(table, columns.iter());
                    if *orphans == 0 {
                        let reference = extract::Reference {
                            columns: columns.clone(),
                            referenced: referenced.clone(),
                            referenced_columns: referenced_columns.clone(),
                        };
                        self.keys.push((table.clone(), reference));
                    }
                }
                Fix::AddPrimaryKey { table, columns, .. } if !columns.is_empty() => {
                    self.hold(table, columns.iter());
                    self.primary.push((table.clone(), columns.clone()));
                }
                Fix::ExtractTable {
                    table, determinant, ..
                } => self.hold(table, determinant.iter().map(|c| &c.name)),
                _ => {}
            }
        }
    }

    fn hold<'c>(&mut self, table: &QualifiedName, columns: impl Iterator<Item = &'c String>) {
        self.held
            .extend(columns.map(|c| (table.clone(), c.clone())));
    }

    /// The plan takes the column away.
    pub(super) fn leaves(&mut self, table: &QualifiedName, column: &str, finding: &str) {
        let column = (table.clone(), column.to_owned());
        self.leaving.insert(column, finding.to_owned());
    }

    /// Nothing takes the column away.
    pub(super) fn stays(&self, table: &QualifiedName, column: &str) -> Result<(), String> {
        let column_of = (table.clone(), column.to_owned());
        if self.leaving.contains_key(&column_of) {
            return Err(format!(
                "{table}.{column} goes away by another step of the plan"
            ));
        }
        Ok(())
    }

    /// Nothing stands on the column as it is now.
    pub(super) fn is_free(&self, table: &QualifiedName, column: &str) -> Result<(), String> {
        if self.held.contains(&(table.clone(), column.to_owned())) {
            return Err(format!(
                "{table}.{column} is part of a key or reference that the plan adds: run the audit again after that"
            ));
        }
        Ok(())
    }

    /// The column can be taken away: no other step does something with it.
    pub(super) fn goes(&self, table: &QualifiedName, column: &str) -> Result<(), String> {
        self.stays(table, column)?;
        self.is_free(table, column)?;
        if self.computed.contains(&(table.clone(), column.to_owned())) {
            return Err(format!(
                "another column is computed from {table}.{column} on the plan's way down: run the audit again after that"
            ));
        }
        if self.changes(table, column) {
            return Err(format!(
                "{table}.{column} changes its type by another step of the plan: run the audit again after that"
            ));
        }
        Ok(())
    }

    /// The plan has another type for the column.
    pub(super) fn changes(&self, table: &QualifiedName, column: &str) -> bool {
        self.pieces
            .iter()
            .any(|(p, _)| matches!(p, Piece::Change(change) if change.what() == (table, column)))
    }
}
