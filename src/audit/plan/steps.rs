//! What the plan leaves to people, written out: SQL to be read, changed and run by hand, one
//! step after the other.

use super::super::fix::Fix;
use super::super::schema::{Column, Database, ForeignKey, Identity, Table, TableKind};
use super::backfill::Backfill;
use super::belongings;
use super::name::{Names, ident, list, table};
use crate::pg::QualifiedName;
use crate::pg::ident::literal;
use crate::sql::token;

/// The statements with what they do as comments; `None` where a sentence is all there is.
///
/// # Errors
/// Why they cannot be written out for this table.
pub fn of(database: &Database, fix: &Fix, names: &mut Names) -> Result<Option<String>, String> {
    match fix {
        Fix::WidenInteger {
            table,
            column,
            sequence,
            referencing,
            ..
        } => widen(
            database,
            (table, column),
            sequence.as_ref(),
            referencing,
            names,
        ),
        Fix::AddForeignKey {
            table,
            columns,
            referenced,
            referenced_columns,
            convert_to: None,
            ..
        } => {
            let of = database.table(table);
            let of = of.filter(|of| of.kind == TableKind::Partitioned);
            let to = (referenced, &referenced_columns[..]);
            Ok(of.map(|of| by_partition(database, of, columns, to, names)))
        }
        _ => Ok(None),
    }
}

/// The constraint of each leaf is checked beside the writers; the one of the root takes them
/// over as they are.
fn by_partition(
    database: &Database,
    of: &Table,
    columns: &[String],
    (parent, parent_columns): (&QualifiedName, &[String]),
    names: &mut Names,
) -> String {
    let refers = format!(
        "foreign key ({}) references {} ({})",
        list(columns),
        table(parent),
        list(parent_columns)
    );
    let constraint = ident(&names.constraint(&of.name, columns, "_fkey"));
    let mut out = String::from("-- 1. Each partition, for what is written from now on.\n");
    let leaves = leaves(database, &of.name);
    for leaf in &leaves {
        out.push_str(&format!(
            "alter table {}\n    add constraint {constraint} {refers} not valid;\n",
            table(leaf)
        ));
    }
    out.push_str(
        "-- 2. The rows that are there: it fails where one refers to nothing; writers go on.\n",
    );
    for leaf in &leaves {
        out.push_str(&format!(
            "alter table {} validate constraint {constraint};\n",
            table(leaf)
        ));
    }
    out.push_str(&format!(
        "-- 3. The table: it takes the partitions' constraints over and reads no row.\n\
         set lock_timeout = '2s';\nalter table {}\n    add constraint {constraint} {refers};\n",
        table(&of.name)
    ));
    out
}

fn leaves(database: &Database, root: &QualifiedName) -> Vec<QualifiedName> {
    let children = database.tables.iter().filter(|t| t.parents.contains(root));
    children
        .flat_map(|t| match t.kind {
            TableKind::Partitioned => leaves(database, &t.name),
            _ => vec![t.name.clone()],
        })
        .collect()
}

/// A column that becomes bigint, with the one beside it.
struct Wide<'a> {
    of: &'a Table,
    column: &'a Column,
    /// The new column, its index, trigger and check, unquoted.
    new: String,
    index: QualifiedName,
    sync: QualifiedName,
    trigger: String,
    check: String,
}

impl<'a> Wide<'a> {
    fn of(
        database: &'a Database,
        (name, column): (&QualifiedName, &str),
        names: &mut Names,
    ) -> Option<Self> {
        let of = database.table(name)?;
        let new = names.column(name, column, "_wide");
        let index = QualifiedName::new(name.schema.clone(), format!("{}_{new}", name.name));
        Some(Self {
            of,
            column: of.column(column)?,
            index: names.relation(&index),
            sync: names.function(name, column, "_wide_sync"),
            trigger: names.trigger((name, &of.belongings), column, "_wide_sync"),
            check: names.constraint(name, std::slice::from_ref(&new), "_not_null"),
            new,
        })
    }

    fn own(&self) -> String {
        table(&self.of.name)
    }

    /// Column, trigger, rows and index beside what is there.
    fn prepare(&self, unique: bool) -> String {
        let (own, old, new) = (self.own(), ident(&self.column.name), ident(&self.new));
        let (sync, trigger) = (table(&self.sync), ident(&self.trigger));
        let key = self.of.keys().find(|k| k.not_null);
        let pending = format!("{new} is null and {old} is not null");
        let fill = Backfill {
            of: self.of,
            set: format!("{new} = {old}"),
            pending,
        };
        let fill = key.map_or_else(|| fill.sql(), |k| fill.walk(&k.columns));
        let mut out = format!("alter table {own} add column {new} bigint;\n");
        let place = (&self.of.name, &self.new[..]);
        push(
            &mut out,
            belongings::successor(self.of, &self.column.name, place, false),
        );
        out.push_str(&format!(
            "create function {sync}() returns trigger language plpgsql as\n    \
             $sync$ begin new.{new} := new.{old}; return new; end $sync$;\n\
             create trigger {trigger} before insert or update on {own}\n    \
             for each row execute function {sync}();\n{fill};\n\
             create {}index concurrently {} on {own} ({new});\n",
            if unique { "unique " } else { "" },
            ident(&self.index.name),
        ));
        if self.column.not_null {
            let check = ident(&self.check);
            out.push_str(&format!(
                "alter table {own} add constraint {check} check ({new} is not null) not valid;\n\
                 alter table {own} validate constraint {check};\n"
            ));
        }
        out
    }

    /// The wide column takes the narrow one's name, which stays beside it for a while.
    fn swap(&self, with_default: bool) -> String {
        let (own, old, new) = (self.own(), ident(&self.column.name), ident(&self.new));
        let mut out = format!("drop trigger {} on {own};\n", ident(&self.trigger));
        if self.column.not_null {
            out.push_str(&format!(
                "alter table {own} alter column {new} set not null, drop constraint {};\n\
                 alter table {own} alter column {old} drop not null;\n",
                ident(&self.check)
            ));
        }
        let default = self.column.default.as_ref().filter(|_| with_default);
        if let Some(default) = default {
            out.push_str(&format!(
                "alter table {own} alter column {old} drop default, alter column {new} set default {default};\n"
            ));
        }
        out.push_str(&format!(
            "alter table {own} rename column {old} to {narrow};\n\
             alter table {own} rename column {new} to {old};\n",
            narrow = ident(&self.narrow())
        ));
        out
    }

    /// What stands on the column and would neither follow nor be missed by anybody: uniqueness,
    /// a check. `primary` is the index that is made again.
    fn refuse(&self, primary: Option<&str>) -> Result<(), String> {
        let (name, column) = (&self.of.name, &self.column.name);
        let heirs = self.of.belongings.children > 0;
        if self.of.kind != TableKind::Plain || heirs || !self.of.parents.is_empty() {
            return Err(format!("{name} is partitioned, or inherits"));
        }
        if self.column.generated || self.column.data_type.domain.is_some() {
            return Err(format!("{name}.{column} is generated, or of a domain"));
        }
        let stands = self.of.indexes.iter().find(|i| {
            let more = i.unique
                || i.constraint.is_some()
                || i.predicate.is_some()
                || i.keys.iter().any(|k| k.column.is_none());
            let uses = self.of.belongings.index(&i.name).uses;
            more && uses.contains(column) && Some(&i.name.name[..]) != primary
        });
        if let Some(index) = stands {
            return Err(format!(
                "{name}.{column} is in {}, which the new column would have to take over with its other columns",
                index.name.name
            ));
        }
        let checked = self.of.checks.iter().find(|c| {
            let tokens = token::tokens(&c.definition);
            let mut named = tokens.iter().filter_map(|t| t.identifier(&c.definition));
            named.any(|n| &n == column)
        });
        checked.map_or(Ok(()), |check| {
            Err(format!(
                "{name}.{column} has the CHECK {}, which the new column would have to take over",
                check.name
            ))
        })
    }

    fn narrow(&self) -> String {
        format!("{}_narrow", self.column.name)
    }

    fn leave(&self) -> String {
        format!(
            "drop function {}();\nalter table {} drop column {};\n",
            table(&self.sync),
            self.own(),
            ident(&self.narrow())
        )
    }
}

/// The key beside itself as bigint, with what refers to it; at the end they change places.
fn widen(
    database: &Database,
    (name, column): (&QualifiedName, &str),
    sequence: Option<&QualifiedName>,
    referencing: &[(QualifiedName, String)],
    names: &mut Names,
) -> Result<Option<String>, String> {
    let Some(key) = Wide::of(database, (name, column), names) else {
        return Ok(None);
    };
    let primary = key.of.primary_key.as_ref();
    let Some(primary) = primary.filter(|p| p.columns == [column]) else {
        return Ok(None);
    };
    if primary.deferrable {
        return Err(format!("the primary key {} is deferrable", primary.name));
    }
    key.refuse(Some(primary.name.as_str()))?;
    let others: Vec<Wide<'_>> = referencing
        .iter()
        .filter_map(|(t, c)| Wide::of(database, (t, c), names))
        .filter(|w| w.column.data_type.sql != "bigint")
        .collect();
    others.iter().try_for_each(|o| o.refuse(None))?;
    let references = references(database, &key, &others);
    let mut out = String::from(
        "-- 1. Beside what is there; the application goes on. Each of these by itself.\n",
    );
    out.push_str(&key.prepare(true));
    for other in &others {
        out.push_str(&other.prepare(false));
    }
    out.push_str(
        "-- 2. They change places, in one short transaction at a quiet time; again where the lock is\n\
         --    not had in time. Views, functions, policies, triggers, publications that list columns,\n\
         --    and other indexes on the old columns stay with those: make them anew. Clients must be\n\
         --    able to read a bigint before.\n\
         begin;\nset local lock_timeout = '3s';\n",
    );
    let mut locked = vec![key.own()];
    locked.extend(others.iter().map(Wide::own));
    out.push_str(&format!(
        "lock table {} in access exclusive mode;\n",
        locked.join(", ")
    ));
    for (of, foreign) in &references {
        out.push_str(&format!(
            "alter table {} drop constraint {};\n",
            table(&of.name),
            ident(&foreign.name)
        ));
    }
    out.push_str(&format!(
        "alter table {} drop constraint {};\n",
        key.own(),
        ident(&primary.name)
    ));
    out.push_str(&numbers(&key, sequence, true));
    // A sequence's default is set with the sequence.
    out.push_str(&key.swap(sequence.is_none()));
    out.push_str(&format!(
        "alter table {} add constraint {} primary key using index {};\n",
        key.own(),
        ident(&primary.name),
        ident(&key.index.name)
    ));
    if let Some(old) = key.of.indexes.iter().find(|i| i.primary) {
        push(&mut out, belongings::index(key.of, old));
    }
    out.push_str(&numbers(&key, sequence, false));
    others.iter().for_each(|o| out.push_str(&o.swap(true)));
    out.push_str(&again(&references));
    out.push_str("-- 4. When nobody wants to go back.\n");
    out.push_str(&key.leave());
    others.iter().for_each(|o| out.push_str(&o.leave()));
    Ok(Some(out))
}

/// The foreign keys to the key, and those from it and from what refers to it: with the narrow
/// columns they would go.
fn references<'d>(
    database: &'d Database,
    key: &Wide<'_>,
    others: &[Wide<'_>],
) -> Vec<(&'d Table, &'d ForeignKey)> {
    let wide = |of: &Table, column: &String| {
        let mut all = others.iter().chain([key]);
        all.any(|w| w.of.name == of.name && &w.column.name == column)
    };
    let to_key = |f: &ForeignKey| {
        f.referenced == key.of.name && f.referenced_columns.contains(&key.column.name)
    };
    let all = database.tables.iter();
    all.flat_map(|t| t.foreign_keys.iter().map(move |f| (t, f)))
        .filter(|(t, f)| to_key(f) || f.columns.iter().any(|c| wide(t, c)))
        .collect()
}

/// Foreign keys as they were declared, and the check of those that were checked, to the end of
/// the transaction and behind it.
fn again(references: &[(&Table, &ForeignKey)]) -> String {
    let mut out = String::new();
    for (of, foreign) in references {
        let declared = of.belongings.constraints.get(&foreign.name);
        out.push_str(&format!(
            "alter table {} add constraint {} {} not valid;\n",
            table(&of.name),
            ident(&foreign.name),
            declared.map_or("", |c| c.definition.as_str()),
        ));
        push(&mut out, belongings::constraint(of, &foreign.name));
    }
    out.push_str("commit;\n");
    let checked: Vec<_> = references.iter().filter(|(_, f)| f.valid).collect();
    if !checked.is_empty() {
        out.push_str("-- 3. The rows that are there; writers go on.\n");
    }
    for (of, foreign) in checked {
        out.push_str(&format!(
            "alter table {} validate constraint {};\n",
            table(&of.name),
            ident(&foreign.name)
        ));
    }
    out
}

/// Statements, each on its own lines.
fn push(out: &mut String, statements: impl IntoIterator<Item = String>) {
    for statement in statements {
        out.push_str(&statement);
        out.push_str(";\n");
    }
}

/// Where the key's numbers come from: before the columns change their names, and after.
fn numbers(key: &Wide<'_>, sequence: Option<&QualifiedName>, before: bool) -> String {
    let (own, column) = (key.own(), ident(&key.column.name));
    let mut out = String::new();
    match (key.column.identity, sequence, before) {
        (Some(_), sequence, true) => {
            // Numbers of rows that are gone are not given out again.
            if let Some(sequence) = sequence {
                out.push_str(&format!(
                    "select set_config('crossfade.last_number', last_value::text, true) from {};\n",
                    table(sequence)
                ));
            }
            out.push_str(&format!(
                "alter table {own} alter column {column} drop identity;\n"
            ));
        }
        (Some(identity), _, false) => {
            let when = match identity {
                Identity::Always => "always",
                Identity::ByDefault => "by default",
            };
            out.push_str(&format!(
                "alter table {own} alter column {column} add generated {when} as identity;\n\
                 select setval(pg_get_serial_sequence({}, {}), greatest(max({column}), nullif(current_setting('crossfade.last_number', true), '')::bigint)) from {own};\n",
                literal(&key.of.name.sql()),
                literal(&key.column.name)
            ));
        }
        (None, Some(sequence), false) => {
            let sequence = table(sequence);
            let default = key.column.default.as_deref().unwrap_or_default();
            out.push_str(&format!("alter sequence {sequence} as bigint;\n"));
            if !default.is_empty() {
                out.push_str(&format!(
                    "alter table {own} alter column {} drop default;\n\
                     alter table {own} alter column {column} set default {default};\n\
                     alter sequence {sequence} owned by {own}.{column};\n",
                    ident(&key.narrow())
                ));
            }
        }
        _ => {}
    }
    out
}
