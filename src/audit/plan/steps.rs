//! What the plan leaves to people, written out: SQL to be read, changed and run by hand, one
//! step after the other.

use super::super::fix::Fix;
use super::super::schema::{Column, Database, ForeignKey, Identity, Table, TableKind};
use super::backfill::Backfill;
use super::name::{Names, ident, list, table};
use super::reference::action;
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

/// The statements with what they do as comments; `None` where a sentence is all there is.
#[must_use]
pub fn of(database: &Database, fix: &Fix, names: &mut Names) -> Option<String> {
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
            let of = database.table(table)?;
            let to = (referenced, &referenced_columns[..]);
            (of.kind == TableKind::Partitioned)
                .then(|| by_partition(database, of, columns, to, names))
        }
        _ => None,
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
        let mut out = format!(
            "alter table {own} add column {new} bigint;\n\
             create function {sync}() returns trigger language plpgsql as\n    \
             $sync$ begin new.{new} := new.{old}; return new; end $sync$;\n\
             create trigger {trigger} before insert or update on {own}\n    \
             for each row execute function {sync}();\n{fill};\n\
             create {}index concurrently {} on {own} ({new});\n",
            if unique { "unique " } else { "" },
            ident(&self.index.name),
        );
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
    fn swap(&self) -> String {
        let (own, old, new) = (self.own(), ident(&self.column.name), ident(&self.new));
        let mut out = format!("drop trigger {} on {own};\n", ident(&self.trigger));
        if self.column.not_null {
            out.push_str(&format!(
                "alter table {own} alter column {new} set not null, drop constraint {};\n\
                 alter table {own} alter column {old} drop not null;\n",
                ident(&self.check)
            ));
        }
        out.push_str(&format!(
            "alter table {own} rename column {old} to {narrow};\n\
             alter table {own} rename column {new} to {old};\n",
            narrow = ident(&self.narrow())
        ));
        out
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
) -> Option<String> {
    let key = Wide::of(database, (name, column), names)?;
    let primary = key.of.primary_key.as_ref()?;
    if key.of.kind != TableKind::Plain || primary.columns != [column] {
        return None;
    }
    let others: Vec<Wide<'_>> = referencing
        .iter()
        .filter_map(|(t, c)| Wide::of(database, (t, c), names))
        .filter(|w| w.of.kind == TableKind::Plain && w.column.data_type.sql != "bigint")
        .collect();
    let checked: Vec<(&Table, &ForeignKey)> = database
        .tables
        .iter()
        .flat_map(|t| t.foreign_keys.iter().map(move |f| (t, f)))
        .filter(|(_, f)| &f.referenced == name && f.referenced_columns == [column])
        .collect();
    if !is_simple(&key, &others, &checked) {
        return None;
    }
    let mut out = String::from(
        "-- 1. Beside what is there; the application goes on. Each of these by itself.\n",
    );
    out.push_str(&key.prepare(true));
    for other in &others {
        out.push_str(&other.prepare(false));
    }
    out.push_str(
        "-- 2. They change places, in one short transaction at a quiet time; again where the lock is\n\
         --    not had in time. Views, functions and other indexes on the old columns stay with those:\n\
         --    make them anew. Clients must be able to read a bigint before.\n\
         begin;\nset local lock_timeout = '3s';\n",
    );
    let mut locked = vec![key.own()];
    locked.extend(others.iter().map(Wide::own));
    out.push_str(&format!(
        "lock table {} in access exclusive mode;\n",
        locked.join(", ")
    ));
    for (of, foreign) in &checked {
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
    out.push_str(&key.swap());
    out.push_str(&format!(
        "alter table {} add constraint {} primary key using index {};\n",
        key.own(),
        ident(&primary.name),
        ident(&key.index.name)
    ));
    out.push_str(&numbers(&key, sequence, false));
    others.iter().for_each(|o| out.push_str(&o.swap()));
    for (of, foreign) in &checked {
        out.push_str(&format!(
            "alter table {} add constraint {} foreign key ({}) references {} ({}){}{} not valid;\n",
            table(&of.name),
            ident(&foreign.name),
            list(&foreign.columns),
            key.own(),
            list(&foreign.referenced_columns),
            action("delete", foreign.on_delete),
            action("update", foreign.on_update),
        ));
    }
    out.push_str("commit;\n");
    if !checked.is_empty() {
        out.push_str("-- 3. The rows that are there; writers go on.\n");
    }
    for (of, foreign) in &checked {
        out.push_str(&format!(
            "alter table {} validate constraint {};\n",
            table(&of.name),
            ident(&foreign.name)
        ));
    }
    out.push_str("-- 4. When nobody wants to go back.\n");
    out.push_str(&key.leave());
    others.iter().for_each(|o| out.push_str(&o.leave()));
    Some(out)
}

/// Nothing else hangs on the columns that would go with them: what these steps do not carry over
/// is nothing that they may lose.
fn is_simple(key: &Wide<'_>, others: &[Wide<'_>], checked: &[(&Table, &ForeignKey)]) -> bool {
    let free = |wide: &Wide<'_>, known: &dyn Fn(&ForeignKey) -> bool| {
        let column = &wide.column.name;
        let belongings = wide.of.belongings.column(column);
        let refers = |f: &ForeignKey| f.columns.contains(column) && !known(f);
        belongings.grants.is_empty()
            && wide.column.comment.is_none()
            && wide.of.belongings.children == 0
            && wide.of.parents.is_empty()
            && !wide.of.foreign_keys.iter().any(refers)
            && wide
                .of
                .checks
                .iter()
                .all(|c| !c.definition.contains(column.as_str()))
    };
    let known = |f: &ForeignKey| checked.iter().any(|(_, c)| std::ptr::eq(*c, f));
    free(key, &|_| false)
        && others.iter().all(|o| {
            let keyed = o.of.keys().any(|k| k.columns.contains(&o.column.name));
            !keyed && free(o, &known)
        })
        && checked.iter().all(|(of, f)| {
            let declared = of.belongings.constraints.get(&f.name);
            let full =
                declared.is_some_and(|c| c.comment.is_some() || c.definition.contains("MATCH"));
            !f.deferrable && f.valid && f.enforced && !full
        })
}

/// Where the key's numbers come from: before the columns change their names, and after.
fn numbers(key: &Wide<'_>, sequence: Option<&QualifiedName>, before: bool) -> String {
    let (own, column) = (key.own(), ident(&key.column.name));
    let mut out = String::new();
    match (key.column.identity, sequence, before) {
        (Some(_), _, true) => {
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
                 select setval(pg_get_serial_sequence({}, {}), max({column})) from {own};\n",
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
