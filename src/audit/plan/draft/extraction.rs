//! What belongs to columns that move to a table of their own.

use super::super::super::fix::{Fix, KeyColumn};
use super::super::super::schema::Table;
use super::super::{extract, index};
use super::{Draft, Piece};

impl<'a> Draft<'a> {
    pub(super) fn extract(&mut self, finding: &str, fix: &Fix) -> Result<Vec<Piece<'a>>, String> {
        let Fix::ExtractTable {
            table,
            determinant,
            dependents,
            target,
            existing,
        } = fix
        else {
            return Ok(Vec::new());
        };
        let of = self.table(table)?;
        if existing.is_none() && self.database.table(target).is_some() {
            return Err(format!(
                "{target} is there already, without these columns: decide whether they become columns of it, or are read from what it has"
            ));
        }
        for column in dependents {
            self.goes(table, &column.name)?;
        }
        for column in determinant {
            self.stays(table, &column.name)?;
        }
        let references = self.references(of, determinant);
        let extraction = extract::Extraction {
            of,
            references: &references,
            determinant,
            dependents,
            target,
            existing: existing.as_deref(),
        };
        let made = extract::table_of(self.database, &extraction, &mut self.names)?;
        for column in dependents {
            self.leaves(table, &column.name, finding);
        }
        // For the foreign key to come.
        let columns: Vec<String> = determinant.iter().map(|c| c.name.clone()).collect();
        let needed = !of.has_index_on(&columns);
        let index = needed.then_some(Piece::Index(index::Wanted {
            table: of,
            columns,
            predicate: None,
            unique: false,
        }));
        let made = made.into_iter().map(Piece::from);
        Ok(index.into_iter().chain(made).collect())
    }

    /// What columns of the determinant refer to, or will.
    pub(super) fn references(
        &self,
        of: &Table,
        determinant: &[KeyColumn],
    ) -> Vec<extract::Reference> {
        let declared = of.foreign_keys.iter().map(|f| extract::Reference {
            columns: f.columns.clone(),
            referenced: f.referenced.clone(),
            referenced_columns: f.referenced_columns.clone(),
        });
        let planned = self.keys.iter().filter(|(table, _)| table == &of.name);
        let mut found: Vec<extract::Reference> = Vec::new();
        for reference in declared.chain(planned.map(|(_, r)| r.clone())) {
            let within = reference
                .columns
                .iter()
                .all(|c| determinant.iter().any(|d| &d.name == c));
            if within && !found.contains(&reference) {
                found.push(reference);
            }
        }
        found
    }
}
