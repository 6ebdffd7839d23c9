//! Which locks a migration's statements really take on tables that were there before it,
//! and which of those tables they write anew.
//!
//! The run tells what the server says between its statements ([`look`]); what follows from
//! that is decided here, without one. A lock is a statement's own if the transaction did not
//! hold as much before it. What a file makes itself is left out: nobody uses it yet.

pub mod look;

use std::collections::{BTreeMap, BTreeSet};

use super::event::Event;
use super::history::Direction;
use super::lock::{Lock, Mode, Work};
use crate::sql::{Name, Operation, Statement};

/// A table, a view or an index, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub name: Name,
    /// The file of its rows, which is another one after a rewrite; 0 where it has none.
    pub file: u32,
    /// The table of an index.
    pub index_of: Option<u32>,
    /// The tables that it is a partition or an inheritance child of.
    pub parents: Vec<u32>,
}

/// A lock that stops reads or writes, held by the session that runs the migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub oid: u32,
    pub mode: Mode,
    /// Its name and file at this moment; `None` where the transaction has dropped it.
    pub now: Option<(Name, u32)>,
}

/// What a statement did to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// As it was called before the transaction.
    pub table: Name,
    /// `None` where an earlier statement of the transaction has taken as much.
    pub mode: Option<Mode>,
    /// The index that the mode is of, where the table itself is locked less. A query's plan
    /// needs all indexes of its tables, so it waits all the same.
    pub index: Option<Name>,
    pub rewritten: bool,
    /// What was predicted for the table.
    pub predicted: Option<(Mode, Work)>,
}

impl Taken {
    /// Whether the prediction says as much of the lock.
    #[must_use]
    pub fn lock_was_foreseen(&self) -> bool {
        self.mode <= self.predicted.map(|(mode, _)| mode)
    }

    /// Whether the prediction says that it is rewritten, where it is.
    #[must_use]
    pub fn rewrite_was_foreseen(&self) -> bool {
        !self.rewritten
            || self
                .predicted
                .is_some_and(|(_, work)| work == Work::Rewrite)
    }
}

/// One statement that stops somebody, or that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub direction: Direction,
    pub line: usize,
    pub statement: String,
    /// False for a statement that ends its own transactions: nothing can be asked inside
    /// of them. Rewrites are known of it nevertheless.
    pub measured: bool,
    pub tables: Vec<Taken>,
}

/// The trace of one file, one way; made of the events of its run.
#[derive(Debug)]
pub struct Trace {
    direction: Direction,
    /// What was there before the file; `None` until it has begun.
    known: Option<BTreeMap<u32, Relation>>,
    /// The strongest mode on each relation that the transaction holds so far.
    held: BTreeMap<u32, Mode>,
    settled: Vec<Entry>,
    /// Those of the transaction that is open: it may still be undone.
    open: Vec<Entry>,
}

impl Trace {
    #[must_use]
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            known: None,
            held: BTreeMap::new(),
            settled: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The entries, in the order of the file.
    #[must_use]
    pub fn finish(mut self) -> Vec<Entry> {
        self.settled.append(&mut self.open);
        self.settled
    }

    pub fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Begun { relations } => self.begin(relations),
            Event::Held {
                statement,
                foreseen,
                held,
            } => {
                let tables = self.taken(statement, foreseen, held);
                self.add(statement, true, tables);
            }
            Event::Outside {
                statement,
                foreseen,
                relations,
            } => {
                let tables = self.replaced(statement, foreseen, relations);
                self.add(statement, false, tables);
            }
            Event::Retry { .. } => self.open.clear(),
            // Each range of a batch commits.
            Event::Batch { .. } => self.settled.append(&mut self.open),
            _ => {}
        }
    }

    fn add(&mut self, statement: &Statement, measured: bool, tables: Vec<Taken>) {
        if measured && tables.is_empty() {
            return;
        }
        self.open.push(Entry {
            direction: self.direction,
            line: statement.place.line,
            statement: statement.headline(),
            measured,
            tables,
        });
    }

    /// A transaction, or a statement that makes its own, begins.
    fn begin(&mut self, relations: &[Relation]) {
        self.settled.append(&mut self.open);
        self.held.clear();
        let now = relations.iter().map(|r| (r.oid, r.clone()));
        match &mut self.known {
            None => self.known = Some(now.collect()),
            // Steps before may have renamed or rewritten it. Tables that they made stay
            // unknown, but a new index is used by whoever uses its table.
            Some(known) => {
                for (oid, relation) in now {
                    if known.contains_key(&relation.index_of.unwrap_or(oid)) {
                        known.insert(oid, relation);
                    }
                }
            }
        }
    }

    /// What is new among the locks after a statement.
    fn taken(&mut self, statement: &Statement, foreseen: &[Lock], held: &[Held]) -> Vec<Taken> {
        let Some(known) = &mut self.known else {
            return Vec::new();
        };
        let mut modes = self.held.clone();
        let mut names: BTreeMap<u32, Name> = BTreeMap::new();
        let mut rewritten = BTreeSet::new();
        for lock in held {
            let Some(relation) = known.get_mut(&lock.oid) else {
                continue;
            };
            let mode = modes.entry(lock.oid).or_insert(lock.mode);
            *mode = (*mode).max(lock.mode);
            if let Some((name, file)) = &lock.now {
                names.insert(lock.oid, name.clone());
                if is_rewrite(statement, relation, *file) {
                    rewritten.insert(lock.oid);
                }
                relation.file = *file;
            }
        }
        let before = std::mem::replace(&mut self.held, modes);
        let scene = Scene {
            known,
            names: &names,
            foreseen,
            before: &before,
            held: &self.held,
        };
        scene.tables(&rewritten)
    }

    /// Tables with another file than before a statement that ended its own transactions.
    fn replaced(
        &mut self,
        statement: &Statement,
        foreseen: &[Lock],
        relations: &[Relation],
    ) -> Vec<Taken> {
        let Some(known) = &self.known else {
            return Vec::new();
        };
        let changed = relations.iter().filter(|now| {
            let then = known.get(&now.oid);
            then.is_some_and(|then| is_rewrite(statement, then, now.file))
        });
        let rewritten: BTreeSet<u32> = changed.map(|r| r.oid).collect();
        let none = BTreeMap::new();
        let scene = Scene {
            known,
            names: &BTreeMap::new(),
            foreseen,
            before: &none,
            held: &none,
        };
        scene.tables(&rewritten)
    }
}

/// TRUNCATE gives a table another file too, but writes no row into it.
fn is_rewrite(statement: &Statement, relation: &Relation, file: u32) -> bool {
    let truncates = statement
        .parts
        .iter()
        .any(|p| matches!(p.operation, Operation::Truncate { .. }));
    relation.index_of.is_none() && file != relation.file && !truncates
}

/// Before and after one statement.
struct Scene<'a> {
    known: &'a BTreeMap<u32, Relation>,
    /// Names as they are now, where the transaction may have changed them.
    names: &'a BTreeMap<u32, Name>,
    foreseen: &'a [Lock],
    before: &'a BTreeMap<u32, Mode>,
    held: &'a BTreeMap<u32, Mode>,
}

impl Scene<'_> {
    /// The mode on a relation, where the statement has brought it.
    fn gained(&self, oid: u32) -> Option<Mode> {
        let mode = self.held.get(&oid).copied();
        if mode > self.before.get(&oid).copied() {
            mode
        } else {
            None
        }
    }

    fn tables(&self, rewritten: &BTreeSet<u32>) -> Vec<Taken> {
        let mut tables = Vec::new();
        for (oid, relation) in self.known {
            if relation.index_of.is_some() {
                continue;
            }
            let own = self.gained(*oid);
            let index = self.index(*oid);
            if own.is_none() && index.is_none() && !rewritten.contains(oid) {
                continue;
            }
            tables.push(Taken {
                table: relation.name.clone(),
                mode: index.map_or(own, |(_, mode)| Some(mode)),
                predicted: self.predicted(*oid, index.map(|(i, _)| i.oid)),
                index: index.map(|(i, _)| i.name.clone()),
                rewritten: rewritten.contains(oid),
            });
        }
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        tables
    }

    /// The index with the strongest new mode, where the table itself is locked less.
    fn index(&self, table: u32) -> Option<(&Relation, Mode)> {
        let own = self.held.get(&table).copied();
        self.known
            .values()
            .filter(|r| r.index_of == Some(table))
            .filter_map(|r| Some((r, self.gained(r.oid)?)))
            .filter(|(_, mode)| Some(*mode) > own)
            .max_by_key(|(_, mode)| *mode)
    }

    /// The strongest prediction for a table, its index, or a table that it is a part of:
    /// who names a table means its partitions and children.
    fn predicted(&self, table: u32, index: Option<u32>) -> Option<(Mode, Work)> {
        let mut meant: BTreeSet<u32> = index.into_iter().collect();
        let mut open = vec![table];
        while let Some(oid) = open.pop() {
            if meant.insert(oid) {
                open.extend(self.known.get(&oid).iter().flat_map(|r| &r.parents));
            }
        }
        let names: Vec<&Name> = meant
            .iter()
            .flat_map(|oid| {
                let then = self.known.get(oid).map(|r| &r.name);
                then.into_iter().chain(self.names.get(oid))
            })
            .collect();
        let fits = |lock: &&Lock| {
            names.iter().any(|n| {
                let schema = n.schema.as_deref().unwrap_or_default();
                lock.table.may_be(schema, &n.name)
            })
        };
        let locks = self.foreseen.iter().filter(fits);
        locks.fold(None, |most: Option<(Mode, Work)>, lock| {
            Some(most.map_or((lock.mode, lock.work), |(mode, work)| {
                (mode.max(lock.mode), work.max(lock.work))
            }))
        })
    }
}

#[cfg(test)]
mod tests;
