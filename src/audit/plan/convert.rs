//! A column of another type beside the old one, kept equal by a trigger, filled in
//! batches, and at last alone.

mod conversion;
mod contract;

use super::super::schema::{Column, Database, Table, TableKind};
use super::backfill::Backfill;
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, slug, table};
use super::not_null;
use super::reference;
use crate::pg::QualifiedName;
use crate::sql::token;
pub use conversion::Conversion;
use conversion::VALUE;

/// One column's change, with the names that it takes.
struct Change<'a> {
    of: &'a Table,
    old: &'a Column,
    new: String,
    sync: QualifiedName,
    /// Where values are kept that `backward` would not give back.
    kept: QualifiedName,
    conversion: &'a Conversion,
}

/// The migrations, in order.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn column(
    database: &Database,
    of: &Table,
    column: &str,
    conversion: &Conversion,
    names: &mut Names,
) -> Result<Vec<Migration>, String> {
    let Some(old) = of.column(column) else {
        return Err(format!("{} has no column {column}", of.name));
    };
    refuse(database, of, old)?;
    let change = Change {
        of,
        old,
        new: if conversion.keeps_name {
            names.column(&of.name, column, "_new")
        } else {
            new_name(of, column, names)
        },
        sync: names.function(&of.name, column, "_sync"),
        kept: names.relation(&QualifiedName::new(
            of.name.schema.clone(),
            format!("{}_{column}_kept", of.name.name),
        )),
        conversion,
    };
    let mut migrations = vec![change.expand(), change.fill()];
    migrations.extend(change.indexes(names)?);
    if old.not_null && conversion.unreadable == 0 {
        migrations.push(change.not_null(names));
    }
    migrations.extend(if conversion.keeps_name {
        change.take_over(names)
    } else {
        change.contract(names)
    });
    Ok(migrations)
}

/// What a second column cannot stand in for.
fn refuse(database: &Database, of: &Table, old: &Column) -> Result<(), String> {
    let why = if of.kind == TableKind::Partitioned {
        "the table is partitioned"
    } else if of.keys().any(|k| k.columns.contains(&old.name)) {
        "it is part of a key"
    } else if reference::uses(database, of, &old.name) {
        "a foreign key uses it"
    } else if old.generated || old.identity.is_some() {
        "the server computes its values"
    } else if of.checks.iter().any(|c| c.definition.contains(&old.name)) {
        "a CHECK mentions it"
    } else {
        return Ok(());
    };
    Err(format!("{}.{}: {why}", of.name, old.name))
}

/// A name for the moment: `created_epoch` becomes `created_at`, where that is free.
fn new_name(of: &Table, column: &str, names: &mut Names) -> String {
    for end in [
        "_epoch",
        "_unix",
        "_ts",
        "_ms",
        "_timestamp",
        "_str",
        "_text",
        "_txt",
        "_utc",
    ] {
        if let Some(stem) = column.strip_suffix(end).filter(|s| !s.is_empty()) {
            let name = names.column(&of.name, &format!("{stem}_at"), "");
            if name == format!("{stem}_at") {
                return name;
            }
        }
    }
    names.column(&of.name, column, "_tz")
}

impl Change<'_> {
    fn own(&self) -> String {
        table(&self.of.name)
    }

    fn forward(&self, value: &str) -> String {
        self.conversion.forward.replace(VALUE, value)
    }

    fn backward(&self, value: &str) -> String {
        self.conversion.backward.replace(VALUE, value)
    }

    fn name(&self, what: &str) -> String {
        slug(&format!("{what}_{}_{}", self.of.name.name, self.old.name))
    }

    /// The trigger: whichever of the two is written, the other follows.
    fn trigger(&self) -> Vec<String> {
        let (old, new) = (ident(&self.old.name), ident(&self.new));
        let (ahead, back) = (
            self.forward(&format!("new.{old}")),
            self.backward(&format!("new.{new}")),
        );
        vec![
            format!(
                "create function {sync}() returns trigger language plpgsql\n\
                 set timezone to 'UTC' set datestyle to 'ISO, YMD'\nas $sync$\n\
                 declare\n    ahead {kind};\n\
                 begin\n    \
                 begin\n        \
                 ahead := {ahead};\n    \
                 exception when data_exception then\n        \
                 -- A value that cannot be read stays where it is, and is NULL in the new column.\n        \
                 ahead := null;\n    \
                 end;\n    \
                 if tg_op = 'INSERT' then\n        \
                 if new.{new} is null then\n            \
                 new.{new} := ahead;\n        \
                 elsif new.{new} is distinct from ahead then\n            \
                 new.{old} := {back};\n        \
                 end if;\n    \
                 elsif new.{old} is distinct from old.{old} then\n        \
                 new.{new} := ahead;\n    \
                 elsif new.{new} is distinct from old.{new} then\n        \
                 if new.{new} is distinct from ahead then\n            \
                 new.{old} := {back};\n        \
                 end if;\n    \
                 elsif new.{new} is null then\n        \
                 -- Not filled yet.\n        \
                 new.{new} := ahead;\n    \
                 end if;\n    \
                 return new;\n\
                 end\n$sync$",
                sync = table(&self.sync),
                kind = self.conversion.to_type,
            ),
            format!(
                "create trigger {} before insert or update on {}\n    for each row execute function {}()",
                ident(&self.sync.name),
                self.own(),
                table(&self.sync)
            ),
        ]
    }

    fn drop_trigger(&self) -> Vec<String> {
        vec![
            format!("drop trigger {} on {}", ident(&self.sync.name), self.own()),
            format!("drop function {}()", table(&self.sync)),
        ]
    }

    fn expand(&self) -> Migration {
        let mut up = vec![format!(
            "alter table {} add column {} {}",
            self.own(),
            ident(&self.new),
            self.conversion.to_type
        )];
        up.extend(self.trigger());
        let mut down = self.drop_trigger();
        down.push(format!(
            "alter table {} drop column {}",
            self.own(),
            ident(&self.new)
        ));
        let mut risks: Vec<String> = self.conversion.assumption.clone().into_iter().collect();
        if self.conversion.unreadable > 0 {
            risks.push(format!(
                "{} values of {}.{} cannot be read: the new column is NULL there, and stays nullable",
                self.conversion.unreadable, self.of.name, self.old.name
            ));
        }
        Migration {
            phase: Phase::Expand,
            name: self.name("expand"),
            about: format!(
                "{}.{} beside {}, as {}; a trigger keeps the two equal, whichever is written.",
                self.own(),
                ident(&self.new),
                ident(&self.old.name),
                self.conversion.to_type
            ),
            risks,
            up: Script::Transaction(up),
            down: Script::Transaction(down),
        }
    }

    fn fill(&self) -> Migration {
        let (old, new) = (ident(&self.old.name), ident(&self.new));
        let fill = Backfill {
            of: self.of,
            // The trigger computes the new one, and knows what cannot be read.
            set: format!("{old} = {old}"),
            pending: format!("{new} is null and {old} is not null"),
        };
        Migration {
            phase: Phase::Expand,
            name: self.name("backfill"),
            about: format!("Fills {}.{new} for the rows that were there.", self.own()),
            risks: Vec::new(),
            up: Script::Statements(vec![fill.sql()]),
            down: Script::Nothing("The column goes with the migration before.".to_owned()),
        }
    }

    /// The old column's indexes on the new one.
    fn indexes(&self, names: &mut Names) -> Result<Option<Migration>, String> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for index in &self.of.indexes {
            let own =
                |k: &super::super::schema::IndexKey| k.column.as_ref() == Some(&self.old.name);
            let mentioned = index
                .keys
                .iter()
                .filter(|k| k.column.is_none())
                .map(|k| &k.sql)
                .chain(&index.predicate)
                .any(|sql| sql.contains(&self.old.name));
            if mentioned {
                return Err(format!(
                    "{}.{}: the index {} uses it in an expression",
                    self.of.name, self.old.name, index.name
                ));
            }
            if !index.keys.iter().any(own) && !index.included.contains(&self.old.name) {
                continue;
            }
            let plain: Vec<String> = index
                .keys
                .iter()
                .filter_map(|k| k.column.clone())
                .map(|c| {
                    if c == self.old.name {
                        self.new.clone()
                    } else {
                        c
                    }
                })
                .collect();
            let name = names.index(&self.of.name, &plain, "_idx");
            up.push(format!(
                "create {}index concurrently {} on {} using {}",
                if index.unique { "unique " } else { "" },
                ident(&name),
                self.own(),
                instead(&index.definition, &self.old.name, &self.new),
            ));
            down.push(format!(
                "drop index concurrently {}",
                table(&QualifiedName::new(self.of.name.schema.clone(), name))
            ));
        }
        Ok((!up.is_empty()).then(|| Migration {
            phase: Phase::Expand,
            name: self.name("index"),
            about: format!(
                "The indexes of the old column, on {}.{}.",
                self.own(),
                ident(&self.new)
            ),
            risks: Vec::new(),
            up: Script::Statements(up),
            down: Script::Statements(down),
        }))
    }

    fn not_null(&self, names: &mut Names) -> Migration {
        let (own, new) = (self.own(), ident(&self.new));
        Migration {
            phase: Phase::Expand,
            name: self.name("not_null"),
            about: format!("{own}.{new} is NOT NULL, as {} is.", ident(&self.old.name)),
            risks: Vec::new(),
            up: Script::Statements(not_null::set(&self.of.name, &self.new, names)),
            down: Script::Transaction(vec![format!(
                "alter table {own} alter column {new} drop not null"
            )]),
        }
    }
}

/// What stands behind USING in an index's definition, with another column. A collation
/// and an operator class belonged to the old column's type.
fn instead(definition: &str, old: &str, new: &str) -> String {
    let tokens = token::tokens(definition);
    let using = tokens.iter().position(|t| t.is_word(definition, "using"));
    let mut text = String::new();
    let mut tokens = tokens[using.map_or(0, |at| at + 1)..].iter().peekable();
    let mut end = None;
    while let Some(token) = tokens.next() {
        if end.is_some_and(|end| end < token.range.start) {
            text.push(' ');
        }
        end = Some(token.range.end);
        if token.identifier(definition).as_deref() != Some(old) {
            text.push_str(token.text(definition));
            continue;
        }
        text.push_str(&ident(new));
        if tokens
            .next_if(|t| t.is_word(definition, "collate"))
            .is_some()
        {
            tokens.next();
            while tokens.next_if(|t| t.is(definition, '.')).is_some() {
                tokens.next();
            }
        }
        tokens.next_if(|t| t.text(definition).ends_with("_ops"));
        end = tokens.peek().map(|t| t.range.start - 1).or(end);
        if tokens
            .peek()
            .is_none_or(|t| t.is(definition, ',') || t.is(definition, ')'))
        {
            end = None;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_index_moves_to_another_column_without_what_belonged_to_its_type() {
        for (definition, moved) in [
            (
                "CREATE INDEX i ON s.t USING btree (created DESC, id) WHERE (id > 3)",
                "btree (at DESC, id) WHERE (id > 3)",
            ),
            (
                "CREATE INDEX i ON s.t USING btree (id, created COLLATE pg_catalog.\"C\" text_pattern_ops) INCLUDE (created)",
                "btree (id, at) INCLUDE (at)",
            ),
            (
                "CREATE INDEX i ON s.t USING brin (created text_minmax_ops DESC NULLS LAST, \"Created\")",
                "brin (at DESC NULLS LAST, \"Created\")",
            ),
        ] {
            assert_eq!(super::instead(definition, "created", "at"), moved);
        }
    }
}
