//! Which lock a statement takes on which table, and what it does while it holds it.
//!
//! The table is PostgreSQL's own behaviour; a test runs the statements on a server and
//! compares with `pg_locks`.

mod ties;

use std::fmt;

use super::facts::Facts;
use super::rewrite::{fills_each_row, retype};
use crate::sql::{
    ConstraintKind, Name, NewColumn, NewConstraint, ObjectKind, Operation, Statement,
};

/// The lock modes of tables, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

const NAMES: &[(Mode, &str, &str)] = &[
    (Mode::AccessShare, "ACCESS SHARE", "AccessShareLock"),
    (Mode::RowShare, "ROW SHARE", "RowShareLock"),
    (Mode::RowExclusive, "ROW EXCLUSIVE", "RowExclusiveLock"),
    (
        Mode::ShareUpdateExclusive,
        "SHARE UPDATE EXCLUSIVE",
        "ShareUpdateExclusiveLock",
    ),
    (Mode::Share, "SHARE", "ShareLock"),
    (
        Mode::ShareRowExclusive,
        "SHARE ROW EXCLUSIVE",
        "ShareRowExclusiveLock",
    ),
    (Mode::Exclusive, "EXCLUSIVE", "ExclusiveLock"),
    (
        Mode::AccessExclusive,
        "ACCESS EXCLUSIVE",
        "AccessExclusiveLock",
    ),
];

impl Mode {
    /// From SQL's name or that of `pg_locks`.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, sql, catalog)| *sql == text || *catalog == text)
            .map(|(mode, _, _)| *mode)
    }

    /// Whom it keeps waiting.
    #[must_use]
    pub fn blocks(self) -> Blocks {
        match self {
            Self::AccessExclusive => Blocks::Everything,
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => Blocks::Writes,
            _ => Blocks::SchemaChanges,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(mode, _, _)| mode == self);
        f.write_str(name.map_or("", |(_, sql, _)| sql))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocks {
    /// Neither reads nor writes.
    SchemaChanges,
    Writes,
    Everything,
}

impl Blocks {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::SchemaChanges => "neither reads nor writes",
            Self::Writes => "writes",
            Self::Everything => "reads and writes",
        }
    }
}

/// What is done while the lock is held; how long depends on the table's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Catalog only.
    Instant,
    /// Every row is read.
    Scan,
    /// Every row is read and an index is built.
    BuildIndex,
    /// The statement's own rows: at most all of them.
    Rows,
    /// Every row and every index is written anew.
    Rewrite,
}

impl Work {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Instant => "catalog only",
            Self::Scan => "reads every row",
            Self::BuildIndex => "builds an index",
            Self::Rows => "writes rows",
            Self::Rewrite => "rewrites the table and its indexes",
        }
    }
}

/// One lock of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    pub table: Name,
    pub mode: Mode,
    pub work: Work,
}

/// Whether PostgreSQL refuses the statement in a transaction block.
#[must_use]
pub fn needs_no_transaction(statement: &Statement) -> bool {
    statement.parts.iter().any(|part| match &part.operation {
        Operation::CreateIndex { concurrently, .. }
        | Operation::DropIndex { concurrently, .. }
        | Operation::DetachPartition { concurrently, .. }
        | Operation::Reindex { concurrently, .. } => *concurrently,
        Operation::Vacuum { .. } | Operation::NeverInTransaction => true,
        Operation::Repack { table } => statement.command == "VACUUM" || table.is_none(),
        _ => false,
    })
}

/// The locks a statement takes, strongest first for each table, as far as they are
/// known; a table that the statement itself makes is left out.
#[must_use]
pub fn locks(statement: &Statement, facts: &Facts) -> Vec<Lock> {
    let mut locks: Vec<Lock> = Vec::new();
    for lock in statement
        .parts
        .iter()
        .flat_map(|part| of(&part.operation, facts))
    {
        match locks.iter_mut().find(|l| l.table == lock.table) {
            Some(known) => {
                known.mode = known.mode.max(lock.mode);
                known.work = known.work.max(lock.work);
            }
            None => locks.push(lock),
        }
    }
    let beyond = statement.parts.iter();
    for lock in beyond.flat_map(|part| ties::beyond(&part.operation, facts)) {
        // These names are full, those of the statement may not be.
        match locks.iter_mut().find(|l| ties::is(&l.table, &lock.table)) {
            Some(known) => {
                known.mode = known.mode.max(lock.mode);
                known.work = known.work.max(lock.work);
            }
            None => locks.push(lock),
        }
    }
    locks
}

fn of(operation: &Operation, facts: &Facts) -> Vec<Lock> {
    use Mode::{
        AccessExclusive, Exclusive, RowExclusive, Share, ShareRowExclusive, ShareUpdateExclusive,
    };
    let one = |table: &Name, mode: Mode, work: Work| {
        vec![Lock {
            table: table.clone(),
            mode,
            work,
        }]
    };
    match operation {
        Operation::CreateTable {
            columns,
            constraints,
            partition_of,
            ..
        } => create_table(columns, constraints, partition_of.as_ref()),
        Operation::AddColumn { table, column } => add_column(table, column),
        Operation::AlterType {
            table,
            column,
            ty,
            using,
        } => {
            let work = retype(table, column, ty, using.as_deref(), facts);
            one(table, AccessExclusive, work)
        }
        Operation::SetNotNull { table, column } => {
            let proven = facts.find(table).is_some_and(|t| t.proves_not_null(column));
            let work = if proven { Work::Instant } else { Work::Scan };
            one(table, AccessExclusive, work)
        }
        Operation::AddConstraint { table, constraint } => add_constraint(table, constraint),
        Operation::ValidateConstraint { table, .. } => one(table, ShareUpdateExclusive, Work::Scan),
        Operation::SetStatistics { table } | Operation::SetOptions { table } => {
            one(table, ShareUpdateExclusive, Work::Instant)
        }
        Operation::DropColumn { table, .. }
        | Operation::RenameColumn { table, .. }
        | Operation::DropNotNull { table, .. }
        | Operation::SetDefault { table, .. }
        | Operation::DropConstraint { table, .. }
        | Operation::AlterTable { table }
        | Operation::Policy { table, .. } => one(table, AccessExclusive, Work::Instant),
        Operation::AttachPartition { table, partition } => {
            let mut locks = one(table, ShareUpdateExclusive, Work::Instant);
            locks.extend(one(partition, AccessExclusive, Work::Scan));
            locks
        }
        Operation::DetachPartition {
            table,
            partition,
            concurrently,
        } => {
            let parent = if *concurrently {
                ShareUpdateExclusive
            } else {
                AccessExclusive
            };
            let mut locks = one(table, parent, Work::Instant);
            locks.extend(one(partition, AccessExclusive, Work::Instant));
            locks
        }
        Operation::Rewrite { table, .. } => one(table, AccessExclusive, Work::Rewrite),
        Operation::Trigger { table, drop, .. } => {
            let mode = if *drop {
                AccessExclusive
            } else {
                ShareRowExclusive
            };
            one(table, mode, Work::Instant)
        }
        Operation::CreateIndex {
            table,
            concurrently,
            ..
        } => {
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                Share
            };
            one(table, mode, Work::BuildIndex)
        }
        Operation::DropIndex {
            index,
            concurrently,
        } => {
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                AccessExclusive
            };
            facts
                .table_of_index(index)
                .map_or_else(Vec::new, |table| one(&table, mode, Work::Instant))
        }
        Operation::Reindex {
            target,
            index,
            concurrently,
        } => {
            // The table itself is locked SHARE, but the index ACCESS EXCLUSIVE, and the plan
            // of a query needs every index of its tables.
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                AccessExclusive
            };
            let table = if *index {
                facts.table_of_index(target)
            } else {
                Some(target.clone())
            };
            table.map_or_else(Vec::new, |table| one(&table, mode, Work::BuildIndex))
        }
        Operation::Drop { kind, name, .. } | Operation::SetSchema { kind, name, .. } => {
            relation(*kind).map_or_else(Vec::new, |()| one(name, AccessExclusive, Work::Instant))
        }
        Operation::Rename { kind, from, .. } => {
            relation(*kind).map_or_else(Vec::new, |()| one(from, AccessExclusive, Work::Instant))
        }
        Operation::CreateView {
            view,
            replace: true,
        } => one(view, AccessExclusive, Work::Instant),
        Operation::Refresh { view, concurrently } => {
            let (mode, work) = if *concurrently {
                (Exclusive, Work::Scan)
            } else {
                (AccessExclusive, Work::Rewrite)
            };
            one(view, mode, work)
        }
        Operation::Truncate { tables } => tables
            .iter()
            .flat_map(|t| one(t, AccessExclusive, Work::Instant))
            .collect(),
        Operation::LockTable { tables, mode } => tables
            .iter()
            .flat_map(|t| one(t, Mode::of(mode).unwrap_or(AccessExclusive), Work::Instant))
            .collect(),
        Operation::Repack { table: Some(table) } => one(table, AccessExclusive, Work::Rewrite),
        Operation::Vacuum { table: Some(table) } => one(table, ShareUpdateExclusive, Work::Scan),
        Operation::Write { table, .. } => one(table, RowExclusive, Work::Rows),
        _ => Vec::new(),
    }
}

fn relation(kind: ObjectKind) -> Option<()> {
    matches!(
        kind,
        ObjectKind::Table
            | ObjectKind::ForeignTable
            | ObjectKind::View
            | ObjectKind::MaterializedView
    )
    .then_some(())
}

fn create_table(
    columns: &[NewColumn],
    constraints: &[NewConstraint],
    partition_of: Option<&Name>,
) -> Vec<Lock> {
    let referenced = columns
        .iter()
        .flat_map(|c| &c.constraints)
        .chain(constraints)
        .filter_map(|c| c.references.clone())
        .map(|table| Lock {
            table,
            mode: Mode::ShareRowExclusive,
            work: Work::Instant,
        });
    let parent = partition_of.map(|table| Lock {
        table: table.clone(),
        mode: Mode::AccessExclusive,
        work: Work::Instant,
    });
    referenced.chain(parent).collect()
}

fn add_column(table: &Name, column: &NewColumn) -> Vec<Lock> {
    let unique = column
        .constraints
        .iter()
        .any(|c| matches!(c.kind, ConstraintKind::Unique | ConstraintKind::PrimaryKey));
    let checked = column
        .constraints
        .iter()
        .any(|c| c.kind == ConstraintKind::Check);
    let work = if fills_each_row(column) {
        Work::Rewrite
    } else if unique {
        Work::BuildIndex
    } else if checked {
        Work::Scan
    } else {
        Work::Instant
    };
    let mut locks = vec![Lock {
        table: table.clone(),
        mode: Mode::AccessExclusive,
        work,
    }];
    locks.extend(create_table(std::slice::from_ref(column), &[], None));
    locks
}

fn add_constraint(table: &Name, constraint: &NewConstraint) -> Vec<Lock> {
    let (mode, work) = match constraint.kind {
        ConstraintKind::ForeignKey => (Mode::ShareRowExclusive, Work::Scan),
        ConstraintKind::Check | ConstraintKind::NotNull => (Mode::AccessExclusive, Work::Scan),
        ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude => {
            (Mode::AccessExclusive, Work::BuildIndex)
        }
    };
    let quick = constraint.not_valid || constraint.using_index;
    let work = if quick { Work::Instant } else { work };
    let own = Lock {
        table: table.clone(),
        mode,
        work,
    };
    let referenced = constraint.references.clone().map(|table| Lock {
        table,
        mode: Mode::ShareRowExclusive,
        work: Work::Instant,
    });
    std::iter::once(own).chain(referenced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    fn lock(sql: &str) -> (Mode, Work) {
        let statement = &split(sql)[0];
        let lock = &locks(statement, &Facts::default())[0];
        (lock.mode, lock.work)
    }

    #[test]
    fn whether_a_new_column_is_computed_for_each_row() {
        for (column, work) in [
            ("a int", Work::Instant),
            ("a int default 3", Work::Instant),
            ("a timestamptz default now()", Work::Instant),
            ("a varchar(10) default 'x'::varchar(10)", Work::Instant),
            ("a uuid default gen_random_uuid()", Work::Rewrite),
            ("a int generated always as (b + 1) stored", Work::Rewrite),
            ("a bigserial", Work::Rewrite),
            ("a int generated always as identity", Work::Rewrite),
            ("a int check (a > 0)", Work::Scan),
            ("a int unique", Work::BuildIndex),
        ] {
            let sql = format!("alter table t add column {column}");
            assert_eq!(lock(&sql), (Mode::AccessExclusive, work), "{column}");
        }
    }

    #[test]
    fn the_strongest_lock_of_a_statement_counts() {
        let (mode, work) = lock("alter table t validate constraint c, add column a int");
        assert_eq!((mode, work), (Mode::AccessExclusive, Work::Scan));
    }
}
