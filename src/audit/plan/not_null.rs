//! NOT NULL without reading the table under a lock: a check that is validated beside the
//! writers proves it.

use super::name::{Names, ident, table};
use crate::pg::QualifiedName;

/// Statements for a file without a transaction.
#[must_use]
pub fn set(of: &QualifiedName, column: &str, names: &mut Names) -> Vec<String> {
    let columns = [column.to_owned()];
    let check = ident(&names.constraint(of, &columns, "_not_null"));
    let (own, column) = (table(of), ident(column));
    vec![
        format!("alter table {own} add constraint {check} check ({column} is not null) not valid"),
        format!("alter table {own} validate constraint {check}"),
        format!("alter table {own} alter column {column} set not null"),
        format!("alter table {own} drop constraint {check}"),
    ]
}
