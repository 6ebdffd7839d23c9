//! From fixes to migrations and modules: what is asked for twice is planned once, and
//! what goes away is not changed before.

mod claim;
mod extraction;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::super::fix::Fix;
use super::super::schema::{Database, Table};
use super::child::Child;
use super::name::{Names, slug};
use super::{
    Left, Migration, Module, convert, extract, fit, identity, index, leave, obstacle, reference,
    steps, trigger,
};
use crate::error::Result;
use crate::pg::QualifiedName;
use settle::Piece;

pub struct Draft<'a> {
    /// As it is now.
    whole: &'a Database,
    /// Without the indexes that the plan drops.
    database: &'a Database,
    names: Names,
    /// What is planned, with the findings, in their order.
    pieces: Vec<(Piece<'a>, String)>,
    splits: Vec<Split>,
    modules: Vec<Module>,
    left: Vec<Left>,
    /// What is planned already: two findings may ask for the same.
    planned: BTreeSet<String>,
    /// Foreign keys that the plan adds.
    keys: Vec<(QualifiedName, extract::Reference)>,
    /// Primary keys that it adds: their columns.
    primary: Vec<(QualifiedName, Vec<String>)>,
    /// Columns that go away, with the findings: nothing else is planned for them.
    leaving: BTreeMap<(QualifiedName, String), String>,
    /// Columns that the plan's keys and references stand on: they stay as they are.
    held: BTreeSet<(QualifiedName, String)>,
    /// Columns that others are computed from on the way down.
    computed: BTreeSet<(QualifiedName, String)>,
}

/// The children that one table gets, and the first finding that asked for one.
struct Split {
    parent: QualifiedName,
    finding: String,
    children: Vec<Child>,
}

impl<'a> Draft<'a> {
    /// `remaining` is the database without the indexes that the plan drops; their names are
    /// taken until then.
    pub fn new(database: &'a Database, remaining: &'a Database) -> Self {
        Self {
            whole: database,
            database: remaining,
            names: Names::of(database),
            pieces: Vec::new(),
            splits: Vec::new(),
            modules: Vec::new(),
            left: Vec::new(),
            planned: BTreeSet::new(),
            keys: Vec::new(),
            primary: Vec::new(),
            leaving: BTreeMap::new(),
            held: BTreeSet::new(),
            computed: BTreeSet::new(),
        }
    }

    pub fn leave(&mut self, finding: &str, why: &str) {
        self.left.push(Left {
            finding: finding.to_owned(),
            why: why.to_owned(),
            steps: None,
        });
    }

    /// Takes up one fix, or says why not.
    pub fn fix(&mut self, finding: &str, fix: &Fix) {
        if let Some(what) = identity::of(fix)
            && !self.planned.insert(what)
        {
            return;
        }
        match self.pieces_of(finding, fix) {
            Ok(pieces) => {
                let pieces = pieces.into_iter().map(|p| (p, finding.to_owned()));
                self.pieces.extend(pieces);
            }
            Err(why) => {
                let (why, steps) = match steps::of(self.database, fix, &mut self.names) {
                    Ok(steps) => (why, steps),
                    Err(not) => (
                        format!("{why}; steps to go by hand are not written out, since {not}"),
                        None,
                    ),
                };
                self.left.push(Left {
                    finding: finding.to_owned(),
                    why,
                    steps,
                });
            }
        }
    }

    fn table(&self, name: &QualifiedName) -> std::result::Result<&'a Table, String> {
        self.database
            .table(name)
            .ok_or_else(|| format!("{name} is not there"))
    }

    #[allow(clippy::too_many_lines, reason = "one arm a fix")]
    fn pieces_of(
        &mut self,
        finding: &str,
        fix: &Fix,
    ) -> std::result::Result<Vec<Piece<'a>>, String> {
        let database = self.database;
        obstacle::unread(self.whole, fix)?;
        let one = |migration: Migration| Ok(vec![Piece::Migration(migration)]);
        match fix {
            Fix::AddPrimaryKey {
                table,
                columns,
                existing_index,
            } => {
                let of = self.table(table)?;
                obstacle::keyed(of, columns)?;
                let existing = existing_index.as_deref();
                let made = index::primary_key(of, columns, existing, &mut self.names);
                Ok(made.into_iter().map(Piece::from).collect())
            }
            Fix::AddIndex {
                table,
                columns,
                predicate,
                unique,
            } => Ok(vec![Piece::Index(index::Wanted {
                table: self.table(table)?,
                columns: columns.clone(),
                predicate: predicate.clone(),
                unique: *unique,
            })]),
            Fix::DropIndex {
                table,
                index,
                definition: _,
            } => {
                let whole = self.whole.table(table);
                let made = whole.and_then(|of| index::drop(self.whole, of, index));
                one(made.ok_or_else(|| format!("{table} has no index {index}"))?)
            }
            Fix::Reindex { table, index } => one(index::rebuild(self.table(table)?, index)),
            Fix::AddForeignKey { .. } => self.foreign_key(fix),
            Fix::ValidateForeignKey {
                table,
                constraint,
                orphans,
            } => {
                if *orphans > 0 {
                    return Err(format!(
                        "{orphans} rows of {table} refer to nothing: mend or delete them, then validate {constraint}"
                    ));
                }
                one(reference::validate(table, constraint))
            }
            Fix::DropForeignKey { table, constraint } => {
                let of = self.table(table)?;
                let key = of.foreign_keys.iter().find(|f| &f.name == constraint);
                let key = key.ok_or_else(|| format!("{table} has no constraint {constraint}"))?;
                one(reference::drop(of, key))
            }
            Fix::ConvertTimestamp {
                table,
                column,
                from_type,
                format,
                to_type,
                unparsable,
            } => {
                let conversion =
                    convert::Conversion::timestamp(from_type, *format, to_type, *unparsable);
                self.change(table, column, conversion)
            }
            Fix::ConvertColumn {
                table,
                column,
                from_type,
                to_type,
                using,
            } => {
                let conversion = convert::Conversion::cast(column, from_type, to_type, using);
                self.change(table, column, conversion)
            }
            Fix::WidenInteger {
                table,
                column,
                from_type,
                to_type,
                ..
            } => {
                let using = crate::pg::quote(column);
                let conversion = convert::Conversion::cast(column, from_type, to_type, &using);
                self.change(table, column, conversion)
            }
            Fix::SplitJson { .. } | Fix::SplitList { .. } | Fix::SplitRepeatingGroup { .. } => {
                self.split(finding, fix).map(|()| Vec::new())
            }
            Fix::ExtractTable { .. } => self.extract(finding, fix),
            Fix::DropColumn {
                table,
                column,
                derivation,
            } => {
                self.goes(table, column)?;
                let of = self.table(table)?;
                let parts = leave::parts(of, derivation);
                for part in &parts {
                    self.stays(table, part)?;
                }
                obstacle::written(of)?;
                let made = leave::derived(database, of, column, derivation, &mut self.names)?;
                self.leaves(table, column, finding);
                let parts = parts.into_iter().map(|c| (table.clone(), c));
                self.computed.extend(parts);
                Ok(made.into_iter().map(Piece::from).collect())
            }
            Fix::Rename { table, column, to } => Err(format!(
                "renaming {} to {to} breaks every statement that names it at that moment; do it together with a change that touches them anyway",
                column
                    .as_ref()
                    .map_or_else(|| table.to_string(), |c| format!("{table}.{c}"))
            )),
            Fix::PivotAttributes { target, .. } => Err(format!(
                "create {target} with the columns named in the finding, write both for a while, and fill it from the rows: which attributes matter is the application's to say"
            )),
        }
    }

    /// A column of another type; where a planned key or reference stands on it, that would
    /// vanish with the old column.
    fn change(
        &mut self,
        table: &QualifiedName,
        column: &str,
        conversion: convert::Conversion,
    ) -> std::result::Result<Vec<Piece<'a>>, String> {
        self.stays(table, column)?;
        let of = self.table(table)?;
        obstacle::written(of)?;
        convert::refuse(self.database, of, column)?;
        self.is_free(table, column)?;
        let change = convert::column(of, column, conversion, &mut self.names)?;
        Ok(vec![Piece::Change(Box::new(change))])
    }

    fn foreign_key(&mut self, fix: &Fix) -> std::result::Result<Vec<Piece<'a>>, String> {
        let Fix::AddForeignKey {
            table,
            columns,
            referenced,
            referenced_columns,
            orphans,
            needs_index,
            convert_to,
        } = fix
        else {
            return Ok(Vec::new());
        };
        let of = self.table(table)?;
        for column in columns {
            self.stays(table, column)?;
        }
        let mut pieces = Vec::new();
        if let (Some(kind), [column]) = (convert_to, &columns[..]) {
            if self.planned.insert(identity::of_type(table, column)) {
                let from = of.column(column).map(|c| c.data_type.sql.as_str());
                let using = format!("{}::{kind}", crate::pg::quote(column));
                let conversion =
                    convert::Conversion::cast(column, from.unwrap_or("text"), kind, &using);
                pieces = self.change(table, column, conversion)?;
            } else if !self.changes(table, column) {
                return Err(format!(
                    "{table}.{column} cannot become {kind} by this plan"
                ));
            }
        }
        if *needs_index {
            pieces.push(Piece::Index(index::Wanted {
                table: of,
                columns: columns.clone(),
                predicate: None,
                unique: false,
            }));
        }
        let wanted = reference::Wanted {
            child: of,
            columns,
            parent: referenced,
            parent_columns: referenced_columns,
            orphans: *orphans,
        };
        let mut added = reference::add(self.database, &wanted, &mut self.names)?;
        if convert_to.is_some() {
            // The column has the other type under its name only in the end.
            added.phase = super::Phase::Contract;
        }
        pieces.push(added.into());
        Ok(pieces)
    }

    /// A child table of its own; those of one parent become one module.
    fn split(&mut self, finding: &str, fix: &Fix) -> std::result::Result<(), String> {
        let (Fix::SplitJson { table: parent, .. }
        | Fix::SplitList { table: parent, .. }
        | Fix::SplitRepeatingGroup { table: parent, .. }) = fix
        else {
            return Ok(());
        };
        let of = self.table(parent)?;
        obstacle::moved(of)?;
        if of.primary_key.is_none() {
            return Err(format!(
                "{parent} needs a primary key before its rows can be followed; run the audit again after that"
            ));
        }
        let Some(child) = Child::of(fix, &mut self.names) else {
            return Err("this split has no child table".to_owned());
        };
        for column in child.moved() {
            self.goes(parent, &column)?;
        }
        trigger::refuse(self.database, of, &child.moved())?;
        for column in child.moved() {
            self.leaves(parent, &column, finding);
        }
        let children = [Some(child.clone()), child.remainder()]
            .into_iter()
            .flatten();
        match self.splits.iter_mut().find(|s| &s.parent == parent) {
            Some(split) => split.children.extend(children),
            None => self.splits.push(Split {
                parent: parent.clone(),
                finding: finding.to_owned(),
                children: children.collect(),
            }),
        }
        Ok(())
    }
}

impl Draft<'_> {
    /// Makes the modules, each child tried on the rows that are there.
    pub async fn fit(&mut self, client: &Client) -> Result<()> {
        for split in std::mem::take(&mut self.splits) {
            let Some(of) = self.database.table(&split.parent) else {
                continue;
            };
            let mut module = Module {
                name: module_name(&split.parent),
                parent: split.parent.clone(),
                children: split.children,
                notes: Vec::new(),
                way_back: true,
            };
            let mut migrations = Vec::new();
            for at in 0..module.children.len() {
                if module.children[at].is_json_text() {
                    module.way_back = false;
                    module.notes.push(format!(
                        "{} is json, which keeps blanks and the order of keys: its text cannot be rebuilt",
                        module.children[at].moved().join(", ")
                    ));
                    continue;
                }
                let fitted = fit::fit(client, of, &mut module.children[at]).await?;
                module.notes.extend(fitted.notes);
                if let Some(empty) = fitted.normalise {
                    for column in module.children[at].moved() {
                        let made =
                            module.normalise(self.database, of, (&column, &empty), &mut self.names);
                        migrations.push(made);
                    }
                }
            }
            migrations.push(module.expand(of));
            migrations.push(module.foreign_keys(&mut self.names));
            for migration in migrations {
                self.pieces.push((migration.into(), split.finding.clone()));
            }
            self.modules.push(module);
        }
        Ok(())
    }
}

/// `split_orders`: a migration's name has at most 40 characters.
fn module_name(parent: &QualifiedName) -> String {
    let name = format!("split_{}", slug(&parent.name));
    let name: String = name.chars().take(36).collect();
    name.trim_end_matches('_').to_owned()
}
