//! A transform module for one table: its children, its way back, its configuration.

use std::fmt::Write;

use super::super::schema::{Database, Table};
use super::belongings;
use super::child::Child;
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, kept, list, slug, table};
use super::trigger;
use crate::pg::QualifiedName;

/// One table whose columns move to children, all in one switch.
#[derive(Debug, Clone)]
pub struct Module {
    /// The folder under `transforms/`, the migration's name.
    pub name: String,
    pub parent: QualifiedName,
    pub children: Vec<Child>,
    /// For the plan's reader.
    pub notes: Vec<String>,
    /// Whether the moved columns can be rebuilt.
    pub way_back: bool,
}

impl Module {
    /// The files: names below the module's folder, and texts.
    #[must_use]
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![("transform.toml".to_owned(), self.toml())];
        for (child, file) in self.children.iter().zip(self.select_files()) {
            files.push((file, child.select()));
        }
        if self.way_back {
            files.push(("reverse.sql".to_owned(), self.reverse()));
        }
        files
    }

    /// `order_items.sql`: no name twice.
    fn select_files(&self) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        for child in &self.children {
            let stem = slug(&child.name.name);
            let mut file = format!("{stem}.sql");
            let mut number = 2;
            while files.contains(&file) || file == "reverse.sql" {
                file = format!("{stem}_{number}.sql");
                number += 1;
            }
            files.push(file);
        }
        files
    }

    fn moved(&self) -> Vec<String> {
        self.children.iter().flat_map(Child::moved).collect()
    }

    fn toml(&self) -> String {
        let mut toml = format!(
            "# Columns of {} move to tables of their own; the table itself stays.\nsource = {}\n\
             # Read-only from the switch on, dropped by the migration that `crossfade finish` writes.\nmoved = [{}]\n",
            table(&self.parent),
            quoted(&table(&self.parent)),
            strings(&self.moved()),
        );
        for (child, file) in self.children.iter().zip(self.select_files()) {
            let _ = write!(
                toml,
                "\n[[target]]\ntable      = {}\nsource_key = [{}]\nselect     = {}\n",
                quoted(&table(&child.name)),
                strings(&child.key_names()),
                quoted(&file)
            );
        }
        if self.way_back {
            toml.push_str("\n[reverse]\nselect = \"reverse.sql\"\n");
        }
        toml
    }

    /// The key and the moved columns, out of the children.
    fn reverse(&self) -> String {
        let mut parts: Vec<String> = self.children.first().map_or_else(Vec::new, |child| {
            child
                .key
                .iter()
                .map(|(key, _)| format!("o.{}", ident(&key.name)))
                .collect()
        });
        parts.extend(self.children.iter().flat_map(Child::rebuilt));
        format!(
            "-- The moved columns, out of the new tables. It begins with the table itself, of which it\n\
             -- reads nothing but the key: a row without children has them too.\n\
             select\n    {}\nfrom {} o\n",
            parts.join(",\n    "),
            table(&self.parent)
        )
    }

    /// The configuration of this migration. `url` has no password in it.
    #[must_use]
    pub fn config(&self, url: &str) -> String {
        format!(
            "# Passwords belong in PGPASSWORD, ~/.pgpass or CROSSFADE_SOURCE_URL.\n\
             name = {}\ntransforms = [{}]\n\n[source]\nurl = {}\n\n[switch]\n\
             # The table stays; only the moved columns become read-only.\nstrategy = \"columns\"\n",
            quoted(&self.name),
            quoted(&format!("transforms/{}", self.name)),
            quoted(url)
        )
    }

    /// The new tables, empty; `of` is the parent, and who may use it may use them.
    #[must_use]
    pub fn expand(&self, of: &Table) -> Migration {
        let mut creates: Vec<String> = self.children.iter().map(Child::create).collect();
        let new = self.children.iter().map(|c| &c.name);
        creates.extend(new.flat_map(|name| belongings::beside(of, name)));
        let drops = self
            .children
            .iter()
            .rev()
            .map(|c| format!("drop table {}", table(&c.name)))
            .collect();
        Migration {
            phase: Phase::Expand,
            name: format!("children_of_{}", slug(&self.parent.name)),
            about: format!(
                "The new tables of {}, empty: `crossfade run` fills them.",
                table(&self.parent)
            ),
            risks: Vec::new(),
            up: Script::Transaction(creates),
            down: Script::Transaction(drops),
        }
    }

    /// The foreign keys of the children: once the old columns are gone for good. Before
    /// that a cascade would meet the guard of whichever side is read-only.
    #[must_use]
    pub fn foreign_keys(&self, names: &mut Names) -> Migration {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for child in &self.children {
            let own = table(&child.name);
            let keys = child.key_names();
            let name = ident(&names.constraint(&child.name, &keys, "_fkey"));
            let referenced: Vec<&str> = child.key.iter().map(|(k, _)| k.name.as_str()).collect();
            up.push(format!(
                "alter table {own}\n    add constraint {name} foreign key ({}) references {} ({}) on delete cascade not valid",
                list(&keys),
                table(&child.parent),
                list(&referenced)
            ));
            up.push(format!("alter table {own} validate constraint {name}"));
            down.push(format!("alter table {own} drop constraint {name}"));
        }
        down.reverse();
        Migration {
            phase: Phase::Contract,
            name: format!("references_of_{}", slug(&self.parent.name)),
            about: format!(
                "The children of {} refer to it. After `crossfade finish` only: until then a cascade would meet the guard of the side that is read-only.",
                table(&self.parent)
            ),
            risks: vec![format!(
                "validating fails where a child's row has no row in {}, and changes nothing then",
                self.parent
            )],
            up: Script::Statements(up),
            down: Script::Transaction(down),
        }
    }

    /// Rows without children are told in one way only; which of them had the other is kept by
    /// their keys for the way down.
    #[must_use]
    pub fn normalise(
        &self,
        database: &Database,
        of: &Table,
        (column, empty): (&str, &str),
        names: &mut Names,
    ) -> Migration {
        let (own, name) = (table(&of.name), ident(column));
        let aside = names.relation(&QualifiedName::new(
            of.name.schema.clone(),
            format!("{}_{column}_kept", of.name.name),
        ));
        let key = of.key_columns();
        let typed: Vec<_> = key
            .iter()
            .map(|c| format!("{} {}", ident(&c.name), c.data_type.sql))
            .collect();
        let keys: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
        let on: Vec<_> = keys
            .iter()
            .map(|c| format!("t.{0} = k.{0}", ident(c)))
            .collect();
        let back = format!(
            "update {own} t set {name} = null\nfrom {} k\nwhere {} and t.{name} = {empty}",
            table(&aside),
            on.join(" and ")
        );
        let up = vec![
            format!(
                "create table {} (\n    {},\n    primary key ({})\n)",
                table(&aside),
                typed.join(",\n    "),
                list(&keys)
            ),
            kept(&aside),
            format!(
                "insert into {}\nselect {} from {own} where {name} is null\non conflict do nothing",
                table(&aside),
                list(&keys)
            ),
            super::backfill::Backfill {
                of,
                set: format!("{name} = {empty}"),
                pending: format!("{name} is null"),
            }
            .sql(),
        ];
        let down = vec![
            match &keys[..] {
                [only] => format!(
                    "-- batch: {own} by {0}, 5000 rows\n{back} and t.{0} between $1 and $2",
                    ident(only)
                ),
                _ => back,
            },
            format!("drop table {}", table(&aside)),
        ];
        let mut risks = vec![format!(
            "an application that goes on writing NULL into {name} keeps the verification from passing: let it write {empty}"
        )];
        risks.extend(trigger::fired(
            database,
            of,
            &[column.to_owned()],
            "writing these rows, here and on the way down, fires",
        ));
        Migration {
            phase: Phase::Expand,
            name: format!("one_empty_{}", slug(&format!("{}_{column}", of.name.name))),
            about: format!(
                "{own}.{name} says \"nothing\" as NULL and as {empty}; from here on as {empty}. Which row had NULL is kept in {}.",
                table(&aside)
            ),
            risks,
            up: Script::Statements(up),
            down: Script::Statements(down),
        }
    }
}

/// A TOML basic string: JSON's escapes are a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn strings(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|t| quoted(t)).collect();
    quoted.join(", ")
}
