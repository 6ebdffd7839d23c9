//! Locks on tables that a statement does not name: what it drops or changes hangs together
//! with them. They are known only where a database was asked.

use super::{Lock, Mode, Work};
use crate::migrate::facts::Facts;
use crate::migrate::facts::ties::ForeignKey;
use crate::migrate::rewrite::retype;
use crate::sql::{Name, ObjectKind, Operation};

/// The locks of an operation beyond those on the tables that it names.
pub(super) fn beyond(operation: &Operation, facts: &Facts) -> Vec<Lock> {
    match operation {
        // A foreign key has triggers on both tables, which go with it.
        Operation::DropConstraint { table, constraint } => {
            other_sides(facts, Work::Instant, |k| Ends {
                own: is(table, &k.table) && k.name == *constraint,
                other: is(table, &k.references) && k.key.as_ref() == Some(constraint),
            })
        }
        Operation::DropColumn { table, column, .. } => {
            other_sides(facts, Work::Instant, |k| of_column(k, table, column))
        }
        // A foreign key of the column is made anew, and proven by the rows of both tables
        // where their bytes change.
        Operation::AlterType {
            table,
            column,
            ty,
            using,
        } => {
            let work = retype(table, column, ty, using.as_deref(), facts);
            other_sides(facts, work.min(Work::Scan), |k| of_column(k, table, column))
        }
        Operation::Drop {
            kind: ObjectKind::Table,
            name,
            ..
        } => {
            let mut locks = other_sides(facts, Work::Instant, |k| Ends {
                own: is(name, &k.table),
                other: is(name, &k.references),
            });
            let parents = facts.ties.partitions.iter();
            for partition in parents.filter(|p| is(name, &p.table)) {
                locks.push(exclusive(&partition.of, Work::Instant));
                locks.extend(default_of(&partition.of, Work::Instant, facts));
            }
            locks
        }
        // Without CASCADE it fails where a table that refers to it is not emptied too.
        Operation::Truncate { tables } => other_sides(facts, Work::Instant, |k| Ends {
            own: false,
            other: tables.iter().any(|t| is(t, &k.references)),
        }),
        // Its rows must not fit the new partition, and it takes those of a detached one.
        Operation::AttachPartition { table, .. } => default_of(table, Work::Scan, facts),
        Operation::CreateTable {
            partition_of: Some(table),
            ..
        } => default_of(table, Work::Scan, facts),
        Operation::DetachPartition {
            table,
            concurrently: false,
            ..
        } => default_of(table, Work::Instant, facts),
        _ => Vec::new(),
    }
}

/// Which end of a foreign key an operation is about.
struct Ends {
    /// The table that refers.
    own: bool,
    /// The table that is referred to.
    other: bool,
}

fn of_column(key: &ForeignKey, table: &Name, column: &String) -> Ends {
    Ends {
        own: is(table, &key.table) && key.columns.contains(column),
        other: is(table, &key.references) && key.referenced.contains(column),
    }
}

/// ACCESS EXCLUSIVE on the table at the other end of each foreign key that is meant.
fn other_sides(facts: &Facts, work: Work, ends: impl Fn(&ForeignKey) -> Ends) -> Vec<Lock> {
    let keys = facts.ties.foreign_keys.iter();
    let sides = keys.flat_map(|key| {
        let Ends { own, other } = ends(key);
        let there = own.then_some(&key.references);
        there.into_iter().chain(other.then_some(&key.table))
    });
    sides.map(|table| exclusive(table, work)).collect()
}

fn default_of(parent: &Name, work: Work, facts: &Facts) -> Vec<Lock> {
    let partitions = facts.ties.partitions.iter();
    partitions
        .filter(|p| p.is_default && is(parent, &p.of))
        .map(|p| exclusive(&p.table, work))
        .collect()
}

fn exclusive(table: &Name, work: Work) -> Lock {
    Lock {
        table: table.clone(),
        mode: Mode::AccessExclusive,
        work,
    }
}

/// Whether a name of a statement means the table with this full name.
pub(super) fn is(name: &Name, table: &Name) -> bool {
    name.may_be(table.schema.as_deref().unwrap_or_default(), &table.name)
}
