//! A column of another type beside the old one, kept equal by a trigger, filled in
//! batches, and at last alone.

mod carry;
mod contract;
mod conversion;

use super::super::schema::{Column, Database, Table, TableKind};
use super::backfill::Backfill;
use super::belongings;
use super::keep::{Keep, Witness};
use super::migration::{Migration, Phase, Script, together};
use super::name::{Names, ident, slug, table};
use super::not_null;
use super::reference;
use super::trigger;
use crate::pg::QualifiedName;
pub use conversion::Conversion;
use conversion::VALUE;

/// One column's change, with the names that it takes.
pub struct Change<'a> {
    of: &'a Table,
    old: &'a Column,
    new: String,
    /// The trigger's function, and the trigger.
    sync: QualifiedName,
    trigger: String,
    /// Values that `backward` would not give back.
    kept: Keep<'a>,
    conversion: Conversion,
    /// Collation, operator classes and storage of the old column fit the new one.
    stays_text: bool,
}

/// What becomes of a column, for now without its indexes: other changes may share them.
///
/// # Errors
/// There is no such column.
pub fn column<'a>(
    of: &'a Table,
    column: &str,
    conversion: Conversion,
    names: &mut Names,
) -> Result<Change<'a>, String> {
    let Some(old) = of.column(column) else {
        return Err(format!("{} has no column {column}", of.name));
    };
    let stays_text = old.data_type.class.is_text() && belongings::is_text(&conversion.to_type);
    if !stays_text {
        carry::sortable(of, column)?;
    }
    let new = if conversion.keeps_name {
        names.column(&of.name, column, "_new")
    } else {
        new_name(of, column, names)
    };
    let mut type_sql = conversion.to_type.clone();
    if stays_text {
        type_sql.push_str(&belongings::collation(of, column));
    }
    let witness = Witness {
        name: new.clone(),
        type_sql,
        now: format!("t.{}", ident(&new)),
        as_text: false,
    };
    let values = vec![column.to_owned()];
    Ok(Change {
        of,
        old,
        sync: names.function(&of.name, column, "_sync"),
        trigger: names.trigger((&of.name, &of.belongings), column, "_sync"),
        kept: Keep::of(of, column, values, vec![witness], names),
        new,
        conversion,
        stays_text,
    })
}

/// The migrations of the change at `at` among all that the plan has, in its order. An index
/// that several of them share is built on all of the new columns once the last of these is
/// there; the old one goes with the first column that goes, and is made again, on the way down,
/// when that comes back as the last.
pub fn migrations(
    database: &Database,
    changes: &[&Change<'_>],
    at: usize,
    names: &mut Names,
) -> Vec<Migration> {
    let change = changes[at];
    let (mut completed, mut ended) = (Vec::new(), Vec::new());
    for index in &change.of.indexes {
        let sharing = |c: &&Change<'_>| c.of.name == change.of.name && c.is_in(index);
        if !change.is_in(index) {
            continue;
        }
        if !changes[at + 1..].iter().any(sharing) {
            completed.push(index);
        }
        if !changes[..at].iter().any(sharing) {
            ended.push(index);
        }
    }
    let mut migrations = vec![change.expand(database)];
    migrations.extend(change.indexes(&completed, changes, names));
    if change.old.not_null && change.conversion.unreadable == 0 {
        migrations.push(change.not_null(names));
    }
    migrations.push(change.contract(database, &ended, names));
    migrations
}

/// What a second column cannot stand in for.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn refuse(database: &Database, of: &Table, column: &str) -> Result<(), String> {
    let Some(old) = of.column(column) else {
        return Err(format!("{} has no column {column}", of.name));
    };
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
        carry::refuse(of, &old.name)?;
        return trigger::refuse(database, of, std::slice::from_ref(&old.name));
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
                 set timezone to 'UTC' set datestyle to 'ISO, YMD' set extra_float_digits to 1\nas $sync$\n\
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
                 -- What the new column says already stays as exact as it is there.\n        \
                 if {back} is distinct from new.{old} then\n            \
                 new.{new} := ahead;\n        \
                 end if;\n    \
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
                ident(&self.trigger),
                self.own(),
                table(&self.sync)
            ),
        ]
    }

    fn drop_trigger(&self) -> Vec<String> {
        vec![
            format!("drop trigger {} on {}", ident(&self.trigger), self.own()),
            format!("drop function {}()", table(&self.sync)),
        ]
    }

    /// The table and the column that changes.
    #[must_use]
    pub fn what(&self) -> (&QualifiedName, &str) {
        (&self.of.name, &self.old.name)
    }

    /// The new column, under the name that it has while both are there.
    #[must_use]
    pub fn successor(&self) -> &str {
        &self.new
    }

    /// What the new column is called in the end.
    #[must_use]
    pub fn last_name(&self) -> &str {
        if self.conversion.keeps_name {
            &self.old.name
        } else {
            &self.new
        }
    }

    /// The new column, and the rows that are there: one file, since a filled column is not
    /// emptied by anything but taking it away.
    fn expand(&self, database: &Database) -> Migration {
        let (old, new) = (ident(&self.old.name), ident(&self.new));
        let mut up = vec![format!(
            "alter table {} add column {new} {}{}",
            self.own(),
            self.conversion.to_type,
            if self.stays_text {
                belongings::collation(self.of, &self.old.name)
            } else {
                String::new()
            }
        )];
        // Who may use the old one may use the new one, from the first moment.
        up.extend(belongings::successor(
            self.of,
            &self.old.name,
            (&self.of.name, &self.new),
            self.stays_text,
        ));
        up.extend(self.trigger());
        let mut up = together(up);
        up.push(
            Backfill {
                of: self.of,
                // The trigger computes it, and knows what cannot be read. The old column is not
                // written: triggers that wait for that do not fire.
                set: format!("{new} = {new}"),
                pending: format!("{new} is null and {old} is not null"),
            }
            .sql(),
        );
        let mut down = self.drop_trigger();
        down.push(format!("alter table {} drop column {new}", self.own()));
        let mut risks: Vec<String> = self.conversion.assumption.clone().into_iter().collect();
        if self.conversion.unreadable > 0 {
            risks.push(format!(
                "{} values of {}.{} cannot be read: the new column is NULL there, and stays nullable",
                self.conversion.unreadable, self.of.name, self.old.name
            ));
        }
        risks.extend(trigger::fired(
            database,
            self.of,
            &[],
            "filling the new column writes every row that has a value, and fires",
        ));
        risks.push(format!(
            "statements that name no columns, such as COPY {own} FROM or INSERT INTO {own} SELECT *, meet one more from here on, and a subscriber of a publication of it needs the column first",
            own = self.own()
        ));
        risks.extend(belongings::notes(
            self.of,
            std::slice::from_ref(&self.old.name),
        ));
        Migration {
            phase: Phase::Expand,
            name: self.name("expand"),
            about: format!(
                "{}.{new} beside {old}, as {}; a trigger keeps the two equal, whichever is written. Then the rows that are there.",
                self.own(),
                self.conversion.to_type
            ),
            risks,
            up: Script::Statements(up),
            down: Script::Transaction(down),
        }
    }

    /// In the contract: until then an application may write what cannot be read into the old
    /// column, and the new one is NULL there.
    fn not_null(&self, names: &mut Names) -> Migration {
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        let mut up = vec![format!(
            "do $check$\nbegin\n    if exists (select from {own} where {new} is null) then\n        \
             raise exception 'some values of the old column cannot be read: mend them first';\n    \
             end if;\nend\n$check$"
        )];
        up.extend(not_null::set(&self.of.name, &self.new, names));
        Migration {
            phase: Phase::Contract,
            name: self.name("not_null"),
            about: format!("{own}.{new} is NOT NULL, as {old} is."),
            risks: vec![format!(
                "it fails where a value of {old} cannot be read, and changes nothing then; from here on such a value is refused"
            )],
            up: Script::Statements(up),
            down: Script::Transaction(vec![format!(
                "alter table {own} alter column {new} drop not null"
            )]),
        }
    }
}
