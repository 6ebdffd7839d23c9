//! What keeps a plan from a table: rows that it would not reach, or that would be seen by
//! others than before.

use super::super::fix::Fix;
use super::super::schema::{Database, Table, TableKind};
use super::belongings::family;
use crate::pg::QualifiedName;

/// Every part of a partitioned table was read: what is made of each must not miss one.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn unread(database: &Database, fix: &Fix) -> Result<(), String> {
    let Some(of) = database.table(table_of(fix)) else {
        return Ok(());
    };
    if !of.readable {
        return Err(format!(
            "the rows of {} were not looked at: the role may not read it",
            of.name
        ));
    }
    for part in family(database, of) {
        let read = database.tables.iter();
        let read = read.filter(|t| t.parents.contains(&part.name)).count();
        if part.kind == TableKind::Partitioned && read != part.belongings.children {
            return Err(format!(
                "{} has {} partitions, of which {read} were read: audit all of their schemas at once",
                part.name, part.belongings.children
            ));
        }
    }
    Ok(())
}

/// The rows of the table can be written through it, all of them and no others.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn written(of: &Table) -> Result<(), String> {
    let name = &of.name;
    inherited(of)?;
    let guards = of.belongings.guards;
    if guards.forced {
        return Err(format!(
            "row level security of {name} is forced: a migration that its owner runs sees, and writes, only some of its rows"
        ));
    }
    if guards.rules {
        return Err(format!(
            "{name} has rules (CREATE RULE) that make something else of a statement: replace them first"
        ));
    }
    Ok(())
}

/// Inheritance: the columns are those of a parent, or its heirs have them and no trigger and no
/// key of it.
fn inherited(of: &Table) -> Result<(), String> {
    let name = &of.name;
    if of.kind == TableKind::Plain && of.belongings.children > 0 {
        return Err(format!(
            "other tables inherit from {name}: its triggers and keys are not theirs, so that their rows would be left behind"
        ));
    }
    match of.parents.first().filter(|_| of.kind == TableKind::Plain) {
        Some(parent) => Err(format!(
            "{name} inherits from {parent}: its columns are changed there"
        )),
        None => Ok(()),
    }
}

/// What is in the table may be in another one as well, under the same privileges.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn moved(of: &Table) -> Result<(), String> {
    written(of)?;
    if of.belongings.guards.row_security {
        return Err(format!(
            "{name} has row level security: in a table of their own its columns would be read by all who may read {name}. Say first which policies that table gets, and make it by hand",
            name = of.name
        ));
    }
    Ok(())
}

/// A primary key can be added beside the writers.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn keyed(of: &Table, columns: &[String]) -> Result<(), String> {
    let name = &of.name;
    if of.kind == TableKind::Partitioned {
        return Err(format!(
            "{name} is partitioned: its key must contain the partition key ({}), and an identity column cannot be added to it. Say which columns are its key, build a unique index on each partition, and attach these",
            of.partition_key.as_deref().unwrap_or_default()
        ));
    }
    if columns.is_empty() && of.belongings.children > 0 {
        return Err(format!(
            "other tables inherit from {name}: an identity column cannot be added to it"
        ));
    }
    Ok(())
}

fn table_of(fix: &Fix) -> &QualifiedName {
    match fix {
        Fix::AddPrimaryKey { table, .. }
        | Fix::AddForeignKey { table, .. }
        | Fix::ValidateForeignKey { table, .. }
        | Fix::DropForeignKey { table, .. }
        | Fix::AddIndex { table, .. }
        | Fix::DropIndex { table, .. }
        | Fix::Reindex { table, .. }
        | Fix::ConvertTimestamp { table, .. }
        | Fix::ConvertColumn { table, .. }
        | Fix::WidenInteger { table, .. }
        | Fix::SplitJson { table, .. }
        | Fix::SplitRepeatingGroup { table, .. }
        | Fix::SplitList { table, .. }
        | Fix::ExtractTable { table, .. }
        | Fix::DropColumn { table, .. }
        | Fix::Rename { table, .. }
        | Fix::PivotAttributes { table, .. } => table,
    }
}
