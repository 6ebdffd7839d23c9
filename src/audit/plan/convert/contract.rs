//! The old column goes, and comes back with every value on the way down.

use super::super::super::schema::Database;
use super::super::super::schema::Index;
use super::super::backfill::Backfill;
use super::super::belongings::{self, index_again};
use super::super::migration::{Migration, Phase, Script, together};
use super::super::name::{Names, ident};
use super::super::not_null;
use super::super::trigger;
use super::Change;

impl Change<'_> {
    fn default_of(&self) -> Option<String> {
        let default = self.old.default.as_ref()?;
        Some(self.forward(&format!("({default})")))
    }

    /// The old column again, with the trigger: what a way down begins with. Its default is set
    /// once the rows that are there are without it.
    fn bring_back(&self, database: &Database) -> Vec<String> {
        let (own, old) = (self.own(), ident(&self.old.name));
        let mut back = vec![format!(
            "alter table {own} add column {old} {}",
            belongings::typed(self.of, self.old)
        )];
        if let Some(default) = &self.old.default {
            back.push(format!(
                "alter table {own} alter column {old} set default {default}"
            ));
        }
        back.extend(belongings::column(database, self.of, &self.old.name));
        back.extend(self.trigger());
        back
    }

    /// Sets values aside that the new column does not tell exactly, by the table's key.
    fn keep(&self) -> Vec<String> {
        let (old, new) = (ident(&self.old.name), ident(&self.new));
        let told = self.backward(&format!("t.{new}"));
        let mut keep = self.kept.create();
        keep.push(
            self.kept
                .collect(&format!("{told} is distinct from t.{old}")),
        );
        keep
    }

    /// Fills the old column again, and makes it what it was.
    fn restore(&self, database: &Database, ended: &[&Index], names: &mut Names) -> Vec<String> {
        let (old, new) = (ident(&self.old.name), ident(&self.new));
        let mut restore = vec![
            Backfill {
                of: self.of,
                set: format!("{old} = {}", self.backward(&new)),
                pending: format!("{old} is null and {new} is not null"),
            }
            .sql(),
        ];
        // As the statement before left it: what the application wrote meanwhile is newer.
        let untouched = format!(
            "t.{old} is not distinct from {}",
            self.backward(&format!("t.{new}"))
        );
        restore.extend(self.kept.restore("", &untouched));
        restore.extend(self.kept.drop());
        if self.old.not_null {
            restore.extend(not_null::set(&self.of.name, &self.old.name, names));
        }
        let again = ended.iter().flat_map(|i| index_again(database, self.of, i));
        restore.extend(again);
        restore
    }

    /// The application reads and writes the new column; the old one goes. `ended` are the
    /// indexes that go with it.
    pub(super) fn contract(
        &self,
        database: &Database,
        ended: &[&Index],
        names: &mut Names,
    ) -> Migration {
        let (own, old, new) = (self.own(), ident(&self.old.name), ident(&self.new));
        let (mut release, mut hold) = (Vec::new(), Vec::new());
        if self.conversion.keeps_name {
            hold.push(format!("alter table {own} rename column {old} to {new}"));
        }
        if let Some(default) = self.default_of() {
            release.push(format!(
                "alter table {own} alter column {new} set default {default}"
            ));
            hold.push(format!("alter table {own} alter column {new} drop default"));
        }
        // The default of the new column goes by it, and must not go with the old one.
        release.extend(belongings::sequences(self.of, &self.old.name, &self.new));
        release.extend(self.drop_trigger());
        // What takes its place is there.
        release.extend(belongings::more_than_one_column(ended.iter().copied()));
        release.push(format!("alter table {own} drop column {old}"));
        hold.extend(self.bring_back(database));
        if self.conversion.keeps_name {
            release.push(format!("alter table {own} rename column {new} to {old}"));
        }
        let mut up = self.keep();
        up.extend(together(release));
        let mut down = together(hold);
        down.extend(self.restore(database, ended, names));
        let about = if self.conversion.keeps_name {
            format!("Drops {own}.{old}; {new} takes its name.")
        } else {
            format!("Drops {own}.{old}.")
        };
        Migration {
            phase: Phase::Contract,
            name: self.name("contract"),
            about: format!(
                "{about} What the new column does not tell of it is kept, so that the way down restores every value that nobody has changed since."
            ),
            risks: self.risks(database, &new),
            up: Script::Statements(up),
            down: Script::Statements(down),
        }
    }

    fn risks(&self, database: &Database, new: &str) -> Vec<String> {
        let (own, old) = (self.own(), ident(&self.old.name));
        let named = [self.old.name.clone()];
        let mut risks = vec![format!(
            "every reader and writer of {own}.{old} must use {} from here on",
            if self.conversion.keeps_name {
                format!("it as {}", self.conversion.to_type)
            } else {
                new.to_owned()
            }
        )];
        if !self.conversion.keeps_name {
            risks.extend(trigger::readers(database, self.of, &named));
        }
        risks.extend(trigger::fired(
            database,
            self.of,
            &[],
            "the way down writes every row, and fires",
        ));
        risks
    }
}
