//! What belongs to columns that move to a table of their own.

use super::super::super::fix::KeyColumn;
use super::super::super::schema::Table;
use super::super::{Migration, extract, identity, index};
use super::Draft;

impl Draft<'_> {
    /// An index on the determinant, for the foreign key to come.
    pub(super) fn index_of(&mut self, of: &Table, determinant: &[KeyColumn]) -> Option<Migration> {
        let columns: Vec<String> = determinant.iter().map(|c| c.name.clone()).collect();
        let needed = !of.has_index_on(&columns)
            && self.planned.insert(identity::of_index(&of.name, &columns));
        let wanted = index::Wanted {
            table: of,
            columns: &columns,
            predicate: None,
            unique: false,
        };
        needed.then(|| index::add(self.database, &wanted, &mut self.names))
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
