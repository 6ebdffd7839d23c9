//! From fixes to migrations and modules: what is asked for twice is planned once, and
//! what goes away is not changed before.

mod extraction;

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::super::fix::Fix;
use super::super::schema::{Database, Table};
use super::child::Child;
use super::name::{Names, slug};
use super::{
    Entry, Left, Migration, Module, Plan, convert, extract, fit, identity, index, reference, steps,
};
use crate::error::Result;
use crate::pg::QualifiedName;

pub struct Draft<'a> {
    database: &'a Database,
    names: Names,
    entries: Vec<Entry>,
    splits: Vec<Split>,
    modules: Vec<Module>,
    left: Vec<Left>,
    /// What is planned already: two findings may ask for the same.
    planned: BTreeSet<String>,
    /// Foreign keys that the plan adds.
    keys: Vec<(QualifiedName, extract::Reference)>,
    /// Columns that go away: nothing else is planned for them.
    leaving: BTreeSet<(QualifiedName, String)>,
}

/// The children that one table gets, and the first finding that asked for one.
struct Split {
    parent: QualifiedName,
    finding: String,
    children: Vec<Child>,
}

impl<'a> Draft<'a> {
    pub fn new(database: &'a Database) -> Self {
        Self {
            database,
            names: Names::of(database),
            entries: Vec::new(),
            splits: Vec::new(),
            modules: Vec::new(),
            left: Vec::new(),
            planned: BTreeSet::new(),
            keys: Vec::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// What primary keys bring along needs no index of its own, and what a table will refer to
    /// a table that is made of its columns refers to as well.
    pub fn expect<'f>(&mut self, fixes: impl Iterator<Item = &'f Fix>) {
        for fix in fixes {
            if let Fix::AddForeignKey {
                table,
                columns,
                referenced,
                referenced_columns,
                orphans: 0,
                convert_to: None,
                ..
            } = fix
            {
                let reference = extract::Reference {
                    columns: columns.clone(),
                    referenced: referenced.clone(),
                    referenced_columns: referenced_columns.clone(),
                };
                self.keys.push((table.clone(), reference));
            }
            if let Fix::AddPrimaryKey { table, columns, .. } = fix
                && !columns.is_empty()
            {
                self.planned.insert(identity::of_index(table, columns));
            }
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
        match self.migrations(finding, fix) {
            Ok(migrations) => {
                for migration in migrations {
                    self.entries.push(Entry {
                        migration,
                        finding: finding.to_owned(),
                    });
                }
            }
            Err(why) => {
                let steps = steps::of(self.database, fix, &mut self.names);
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

    fn stays(&self, table: &QualifiedName, column: &str) -> std::result::Result<(), String> {
        if self.leaving.contains(&(table.clone(), column.to_owned())) {
            return Err(format!(
                "{table}.{column} goes away by another step of the plan"
            ));
        }
        Ok(())
    }

    #[allow(clippy::too_many_lines, reason = "one arm a fix")]
    fn migrations(
        &mut self,
        finding: &str,
        fix: &Fix,
    ) -> std::result::Result<Vec<Migration>, String> {
        let database = self.database;
        match fix {
            Fix::AddPrimaryKey {
                table,
                columns,
                existing_index,
            } => {
                let of = self.table(table)?;
                Ok(index::primary_key(
                    of,
                    columns,
                    existing_index.as_deref(),
                    &mut self.names,
                ))
            }
            Fix::AddIndex {
                table,
                columns,
                predicate,
                unique,
            } => {
                if index::is_there(self.table(table)?, columns, predicate.as_deref(), *unique) {
                    return Ok(Vec::new());
                }
                let wanted = index::Wanted {
                    table: self.table(table)?,
                    columns,
                    predicate: predicate.as_deref(),
                    unique: *unique,
                };
                Ok(vec![index::add(database, &wanted, &mut self.names)])
            }
            Fix::DropIndex {
                table,
                index,
                definition,
            } => Ok(vec![index::drop(self.table(table)?, index, definition)]),
            Fix::Reindex { table, index } => Ok(vec![index::rebuild(self.table(table)?, index)]),
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
                Ok(vec![reference::validate(table, constraint)])
            }
            Fix::DropForeignKey { table, constraint } => {
                let of = self.table(table)?;
                let key = of.foreign_keys.iter().find(|f| &f.name == constraint);
                let key = key.ok_or_else(|| format!("{table} has no constraint {constraint}"))?;
                Ok(vec![reference::drop(of, key)])
            }
            Fix::ConvertTimestamp {
                table,
                column,
                from_type,
                format,
                to_type,
                unparsable,
            } => {
                self.stays(table, column)?;
                let conversion =
                    convert::Conversion::timestamp(from_type, *format, to_type, *unparsable);
                convert::column(
                    database,
                    self.table(table)?,
                    column,
                    &conversion,
                    &mut self.names,
                )
            }
            Fix::ConvertColumn {
                table,
                column,
                from_type,
                to_type,
                using,
            } => {
                self.stays(table, column)?;
                let conversion = convert::Conversion::cast(column, from_type, to_type, using);
                convert::column(
                    database,
                    self.table(table)?,
                    column,
                    &conversion,
                    &mut self.names,
                )
            }
            Fix::WidenInteger {
                table,
                column,
                from_type,
                to_type,
                ..
            } => {
                self.stays(table, column)?;
                let using = crate::pg::quote(column);
                let conversion = convert::Conversion::cast(column, from_type, to_type, &using);
                convert::column(
                    database,
                    self.table(table)?,
                    column,
                    &conversion,
                    &mut self.names,
                )
            }
            Fix::SplitJson { .. } | Fix::SplitList { .. } | Fix::SplitRepeatingGroup { .. } => {
                self.split(finding, fix).map(|()| Vec::new())
            }
            Fix::ExtractTable {
                table,
                determinant,
                dependents,
                target,
                existing,
            } => {
                let of = self.table(table)?;
                if existing.is_none() && database.table(target).is_some() {
                    return Err(format!(
                        "{target} is there already, without these columns: decide whether they become columns of it, or are read from what it has"
                    ));
                }
                for column in dependents {
                    self.stays(table, &column.name)?;
                }
                let references = self.references(of, determinant);
                let extraction = extract::Extraction {
                    of,
                    references: &references,
                    determinant,
                    dependents,
                    target,
                    existing: existing.as_deref(),
                };
                let mut made = extract::table_of(database, &extraction, &mut self.names)?;
                made.splice(0..0, self.index_of(of, determinant));
                for column in dependents {
                    self.leaving.insert((table.clone(), column.name.clone()));
                }
                Ok(made)
            }
            Fix::DropColumn {
                table,
                column,
                derivation,
            } => {
                self.stays(table, column)?;
                let made = extract::derived(
                    database,
                    self.table(table)?,
                    column,
                    derivation,
                    &mut self.names,
                )?;
                self.leaving.insert((table.clone(), column.clone()));
                Ok(made)
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

    fn foreign_key(&mut self, fix: &Fix) -> std::result::Result<Vec<Migration>, String> {
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
        let mut migrations = Vec::new();
        if let (Some(kind), [column]) = (convert_to, &columns[..]) {
            let key = identity::of_type(table, column);
            if self.planned.insert(key) {
                let from = of.column(column).map(|c| c.data_type.sql.as_str());
                let using = format!("{}::{kind}", crate::pg::quote(column));
                let conversion =
                    convert::Conversion::cast(column, from.unwrap_or("text"), kind, &using);
                migrations =
                    convert::column(self.database, of, column, &conversion, &mut self.names)?;
            }
        }
        let converted = migrations.len();
        if *needs_index && self.planned.insert(identity::of_index(table, columns)) {
            let wanted = index::Wanted {
                table: of,
                columns,
                predicate: None,
                unique: false,
            };
            migrations.push(index::add(self.database, &wanted, &mut self.names));
        }
        let wanted = reference::Wanted {
            child: of,
            columns,
            parent: referenced,
            parent_columns: referenced_columns,
            orphans: *orphans,
        };
        migrations.extend(reference::add(&wanted, &mut self.names)?);
        if convert_to.is_some() {
            // The column has the other type under its name only in the end.
            for migration in &mut migrations[converted..] {
                migration.phase = super::Phase::Contract;
            }
        }
        Ok(migrations)
    }

    /// A child table of its own; those of one parent become one module.
    fn split(&mut self, finding: &str, fix: &Fix) -> std::result::Result<(), String> {
        let (Fix::SplitJson { table: parent, .. }
        | Fix::SplitList { table: parent, .. }
        | Fix::SplitRepeatingGroup { table: parent, .. }) = fix
        else {
            return Ok(());
        };
        if self.table(parent)?.primary_key.is_none() {
            return Err(format!(
                "{parent} needs a primary key before its rows can be followed; run the audit again after that"
            ));
        }
        let Some(child) = Child::of(fix, &mut self.names) else {
            return Err("this split has no child table".to_owned());
        };
        for column in child.moved() {
            self.stays(parent, &column)?;
            self.leaving.insert((parent.clone(), column));
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
                        migrations.push(module.normalise(of, &column, &empty));
                    }
                }
            }
            migrations.push(module.expand());
            migrations.push(module.foreign_keys(&mut self.names));
            for migration in migrations {
                self.entries.push(Entry {
                    migration,
                    finding: split.finding.clone(),
                });
            }
            self.modules.push(module);
        }
        Ok(())
    }

    /// Numbers: what only adds first, keys before what refers to them.
    pub fn finish(mut self) -> Plan {
        self.entries.sort_by_key(|e| {
            (
                e.migration.phase,
                !e.migration.name.starts_with("primary_key"),
                e.migration.name.starts_with("drop_index"),
            )
        });
        Plan {
            migrations: self.entries,
            modules: self.modules,
            left: self.left,
        }
    }
}

/// `split_orders`: a migration's name has at most 40 characters.
fn module_name(parent: &QualifiedName) -> String {
    let name = format!("split_{}", slug(&parent.name));
    let name: String = name.chars().take(36).collect();
    name.trim_end_matches('_').to_owned()
}
