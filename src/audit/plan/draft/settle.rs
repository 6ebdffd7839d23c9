//! From what is planned to migrations, once all of it is known: indexes follow columns that
//! change, and one new index may stand in for others.

use std::collections::BTreeSet;

use super::super::belongings::family;
use super::super::convert::{self, Change};
use super::super::cover::{self, Fate};
use super::super::index::{self, Wanted};
use super::super::statistics;
use super::super::{Entry, Migration, Phase, Plan};
use super::Draft;
use crate::pg::QualifiedName;

/// What is planned for a finding.
pub enum Piece<'a> {
    Migration(Migration),
    Change(Box<Change<'a>>),
    Index(Wanted<'a>),
}

impl From<Migration> for Piece<'_> {
    fn from(migration: Migration) -> Self {
        Self::Migration(migration)
    }
}

impl Draft<'_> {
    /// Numbers: what only adds first, keys before what refers to them.
    pub fn finish(mut self) -> Plan {
        self.drop_what_leaves();
        let pieces = std::mem::take(&mut self.pieces);
        let changes: Vec<&Change<'_>> = pieces
            .iter()
            .filter_map(|(p, _)| match p {
                Piece::Change(change) => Some(change.as_ref()),
                _ => None,
            })
            .collect();
        let mut wanted = Vec::new();
        for (at, (piece, _)) in pieces.iter().enumerate() {
            if let Piece::Index(index) = piece {
                wanted.push((at, index));
            }
        }
        let places = self.places(&pieces, &wanted);
        let mut entries = Vec::new();
        let mut change = 0;
        for (at, (piece, finding)) in pieces.iter().enumerate() {
            let mut made = Vec::new();
            match piece {
                Piece::Migration(migration) => made.push((migration.clone(), finding)),
                Piece::Change(_) => {
                    let migrations =
                        convert::migrations(self.database, &changes, change, &mut self.names);
                    made.extend(migrations.into_iter().map(|m| (m, finding)));
                    change += 1;
                }
                Piece::Index(_) => {}
            }
            for (n, (asked, index)) in wanted.iter().enumerate() {
                if places[n] == Some(at) {
                    made.push((self.index(index, &changes), &pieces[*asked].1));
                }
            }
            entries.extend(made.into_iter().map(|(migration, finding)| Entry {
                migration,
                finding: finding.clone(),
            }));
        }
        entries.extend(self.statistics(&pieces, &changes));
        entries.sort_by_key(|e| {
            let name = &e.migration.name;
            let contract = e.migration.phase == Phase::Contract;
            (
                e.migration.phase,
                !name.starts_with("primary_key"),
                name.starts_with("drop_index"),
                // They need every column, and come back when all are there.
                contract && !name.starts_with("statistics_"),
                // What a column follows from is what it was when the way down computes it.
                contract && !(name.starts_with("optional_") || name.starts_with("drop_")),
            )
        });
        Plan {
            migrations: entries,
            modules: self.modules,
            left: self.left,
        }
    }

    /// An index on a column that goes would go with it.
    fn drop_what_leaves(&mut self) {
        let leaving = &self.leaving;
        let mut left = Vec::new();
        self.pieces.retain(|(piece, finding)| {
            let Piece::Index(wanted) = piece else {
                return true;
            };
            let table = &wanted.table.name;
            let gone = |c: &&String| leaving.contains_key(&(table.clone(), (*c).clone()));
            let Some(column) = wanted.columns.iter().find(gone) else {
                return true;
            };
            left.push((
                finding.clone(),
                format!("{table}.{column} goes away by another step of the plan"),
            ));
            false
        });
        for (finding, why) in left {
            self.leave(&finding, &why);
        }
    }

    /// Behind which piece each wanted index is built: at the first finding that it serves, but
    /// not before its columns are there.
    fn places(
        &self,
        pieces: &[(Piece<'_>, String)],
        wanted: &[(usize, &Wanted<'_>)],
    ) -> Vec<Option<usize>> {
        let all: Vec<&Wanted<'_>> = wanted.iter().map(|(_, w)| *w).collect();
        let fates = cover::fates(&all, &self.primary);
        let place = |n: usize| {
            if fates[n] != Fate::Built {
                return None;
            }
            let served = (0..all.len()).filter(|m| fates[*m] == Fate::ServedBy(n));
            let first = served.chain([n]).map(|m| wanted[m].0).min();
            let columns = pieces.iter().rposition(|(piece, _)| match piece {
                Piece::Change(change) => {
                    let (table, column) = change.what();
                    *table == all[n].table.name && all[n].columns.iter().any(|c| c == column)
                }
                _ => false,
            });
            first.max(columns)
        };
        (0..all.len()).map(place).collect()
    }

    /// For every table whose statistics objects are over columns that change or go.
    fn statistics(
        &mut self,
        pieces: &[(Piece<'_>, String)],
        changes: &[&Change<'_>],
    ) -> Vec<Entry> {
        let database = self.database;
        let mut entries = Vec::new();
        let with = database.tables.iter();
        for of in with.filter(|t| !t.belongings.statistics.is_empty()) {
            // A column goes from partitions and heirs as well.
            let in_it = |name: &QualifiedName| {
                let family = database.table(name).map(|t| family(database, t));
                family.is_some_and(|f| f.iter().any(|t| t.name == of.name))
            };
            let (mut findings, mut leaving) = (Vec::new(), BTreeSet::new());
            for (piece, finding) in pieces {
                if let Piece::Change(change) = piece
                    && in_it(change.what().0)
                {
                    findings.push(finding);
                    if *change.what().0 != of.name {
                        leaving.insert(change.what().1.to_owned());
                    }
                }
            }
            for ((table, column), finding) in &self.leaving {
                if in_it(table) {
                    findings.push(finding);
                    leaving.insert(column.clone());
                }
            }
            let Some(finding) = findings.first() else {
                continue;
            };
            let made = statistics::migrations(of, changes, &leaving, &mut self.names);
            entries.extend(made.into_iter().map(|migration| Entry {
                migration,
                finding: (*finding).clone(),
            }));
        }
        entries
    }

    fn index(&mut self, wanted: &Wanted<'_>, changes: &[&Change<'_>]) -> Migration {
        let change = |column: &str| {
            changes
                .iter()
                .find(|c| c.what() == (&wanted.table.name, column))
        };
        let (mut columns, mut named) = (Vec::new(), Vec::new());
        for column in &wanted.columns {
            let change = change(column);
            columns.push(change.map_or(column.as_str(), |c| c.successor()).to_owned());
            named.push(change.map_or(column.as_str(), |c| c.last_name()).to_owned());
        }
        index::add(self.database, wanted, (&columns, &named), &mut self.names)
    }
}
