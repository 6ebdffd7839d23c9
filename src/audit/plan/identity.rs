//! When two fixes ask for the same.

use super::super::fix::Fix;
use crate::pg::QualifiedName;

/// What two fixes have in common when they are the same.
#[must_use]
pub fn of(fix: &Fix) -> Option<String> {
    match fix {
        Fix::ConvertTimestamp { table, column, .. }
        | Fix::ConvertColumn { table, column, .. }
        | Fix::WidenInteger { table, column, .. } => Some(of_type(table, column)),
        Fix::DropIndex { index, .. } | Fix::Reindex { index, .. } => {
            Some(format!("index {}", index.sql()))
        }
        Fix::AddForeignKey { table, columns, .. } => {
            Some(format!("key of {} {columns:?}", table.sql()))
        }
        Fix::DropForeignKey { table, constraint }
        | Fix::ValidateForeignKey {
            table, constraint, ..
        } => Some(format!("constraint of {} {constraint}", table.sql())),
        Fix::AddPrimaryKey { table, .. } => Some(format!("primary key of {}", table.sql())),
        _ => None,
    }
}

#[must_use]
pub fn of_type(table: &QualifiedName, column: &str) -> String {
    format!("type of {}.{column}", table.sql())
}
