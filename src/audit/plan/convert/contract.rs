//! The old column goes, and comes back with every value on the way down.

use super::super::backfill::Backfill;
use super::super::index::concurrent;
use super::super::migration::{Migration, Phase, Script};
use super::super::name::{Names, ident, kept, list, table};
use super::super::not_null;
use super::Change;

impl Change<'_> {
    fn default_of(&self) -> Option<String> {
        let default = self.old.default.as_ref()?;
        Some(self.forward(&format!("({default})")))
    }

    /// The old column again, with the trigger: what a way down begins with.
    fn bring_back(&self) -> Vec<String> {
        let old = ident(&self.old.name);
        let mut back = vec![format!(
            "alter table {} add column {old} {}",
            self.own(),
            self.old.data_type.sql
        )];
        back.extend(self.trigger());
        back
    }

    /// Sets values aside that the new column does not tell exactly, by the table's key.
    fn keep(&self) -> Vec<String> {
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        let differs = format!("{} is distinct from {old}", self.backward(&new));
        match self.of.keys().find(|k| k.not_null) {
            // As text: what is kept for a while need not have the type that is left behind.
            Some(key) => {
                let kind = |c: &String| {
                    let column = self.of.column(c);
                    column.map_or("text", |c| c.data_type.sql.as_str())
                };
                let columns: Vec<_> = key
                    .columns
                    .iter()
                    .map(|c| format!("{} {}", ident(c), kind(c)))
                    .collect();
                let keys = list(&key.columns);
                vec![
                    format!(
                        "create table {} (\n    {},\n    {old} text,\n    primary key ({keys})\n)",
                        table(&self.kept),
                        columns.join(",\n    ")
                    ),
                    kept(&self.kept),
                    format!(
                        "insert into {}\nselect {keys}, {old}::text from {own} where {differs}\non conflict do nothing",
                        table(&self.kept),
                    ),
                ]
            }
            // Without a key nothing can be kept, so nothing may be lost.
            None => vec![format!(
                "do $check$\nbegin\n    if exists (select from {own} where {differs}) then\n        \
                 raise exception 'some values of the old column cannot be told from the new one';\n    \
                 end if;\nend\n$check$"
            )],
        }
    }

    /// Fills the old column again, and makes it what it was.
    fn restore(&self, names: &mut Names) -> Vec<String> {
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        let mut restore = vec![
            Backfill {
                of: self.of,
                set: format!("{old} = {}", self.backward(&new)),
                pending: format!("{old} is null and {new} is not null"),
            }
            .sql(),
        ];
        if let Some(key) = self.of.keys().find(|k| k.not_null) {
            let on: Vec<_> = key
                .columns
                .iter()
                .map(|c| format!("t.{0} = k.{0}", ident(c)))
                .collect();
            let on = on.join(" and ");
            let set = format!(
                "update {own} t set {old} = k.{old}::{}\nfrom {} k\nwhere {on}",
                self.old.data_type.sql,
                table(&self.kept)
            );
            restore.push(match &key.columns[..] {
                [only] => format!(
                    "-- batch: {own} by {0}, 5000 rows\n{set} and t.{0} between $1 and $2",
                    ident(only)
                ),
                _ => set,
            });
            restore.push(format!("drop table {}", table(&self.kept)));
        }
        if let Some(default) = &self.old.default {
            restore.push(format!(
                "alter table {own} alter column {old} set default {default}"
            ));
        }
        if self.old.not_null {
            restore.extend(not_null::set(&self.of.name, &self.old.name, names));
        }
        restore.extend(self.old_indexes());
        restore
    }

    fn old_indexes(&self) -> Vec<String> {
        self.of
            .indexes
            .iter()
            .filter(|i| {
                i.keys
                    .iter()
                    .any(|k| k.column.as_ref() == Some(&self.old.name))
                    || i.included.contains(&self.old.name)
            })
            .map(|i| concurrent(&i.definition))
            .collect()
    }

    /// Those that have other columns, too: their successors with the new column are there.
    fn drop_shared_indexes(&self) -> Vec<String> {
        self.of
            .indexes
            .iter()
            .filter(|i| {
                let columns = i
                    .keys
                    .iter()
                    .filter_map(|k| k.column.as_ref())
                    .chain(&i.included);
                columns.clone().count() > 1 && columns.into_iter().any(|c| *c == self.old.name)
            })
            .map(|i| format!("drop index {}", table(&i.name)))
            .collect()
    }

    /// The application reads and writes the new column; the old one goes.
    pub(super) fn contract(&self, names: &mut Names) -> Vec<Migration> {
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        let mut release = Vec::new();
        let mut hold = Vec::new();
        if let Some(default) = self.default_of() {
            release.push(format!(
                "alter table {own} alter column {new} set default {default}"
            ));
            hold.push(format!("alter table {own} alter column {new} drop default"));
        }
        release.extend(self.drop_trigger());
        release.extend(self.drop_shared_indexes());
        release.push(format!("alter table {own} drop column {old}"));
        hold.extend(self.bring_back());
        vec![
            Migration {
                phase: Phase::Contract,
                name: self.name("release"),
                about: format!(
                    "Keeps what {new} does not tell of {own}.{old}, so that the way down restores every value."
                ),
                risks: vec![format!(
                    "from here on every reader and writer of {own}.{old} must use {new}"
                )],
                up: Script::Statements(self.keep()),
                down: Script::Statements(self.restore(names)),
            },
            Migration {
                phase: Phase::Contract,
                name: self.name("contract"),
                about: format!("Drops {own}.{old}."),
                risks: Vec::new(),
                up: Script::Transaction(release),
                down: Script::Transaction(hold),
            },
        ]
    }

    /// The new column takes the old one's name; the old one stays beside it for the way
    /// down and goes in the end.
    pub(super) fn take_over(&self, names: &mut Names) -> Vec<Migration> {
        let mut migrations = self.contract(names);
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        migrations.push(Migration {
            phase: Phase::Contract,
            name: self.name("rename"),
            about: format!("{own}.{new} takes the name {old}."),
            risks: Vec::new(),
            up: Script::Transaction(vec![format!(
                "alter table {own} rename column {new} to {old}"
            )]),
            down: Script::Transaction(vec![format!(
                "alter table {own} rename column {old} to {new}"
            )]),
        });
        migrations
    }
}
