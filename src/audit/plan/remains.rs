//! The database as it is once the plan has dropped and mended indexes: no other step moves an
//! index that goes, nor makes it again on the way down.

use super::super::fix::Fix;
use super::super::schema::Database;

#[must_use]
pub fn of<'f>(database: &Database, fixes: impl Iterator<Item = &'f Fix>) -> Database {
    let mut remaining = database.clone();
    for fix in fixes {
        let (Fix::DropIndex { table, index, .. } | Fix::Reindex { table, index }) = fix else {
            continue;
        };
        let Some(of) = remaining.tables.iter_mut().find(|t| &t.name == table) else {
            continue;
        };
        if matches!(fix, Fix::DropIndex { .. }) {
            of.indexes.retain(|i| &i.name != index);
        } else {
            of.indexes
                .iter_mut()
                .filter(|i| &i.name == index)
                .for_each(|i| i.valid = true);
        }
    }
    remaining
}
