//! Columns that say what another table says.

mod sync;
mod told;

use super::super::fix::KeyColumn;
use super::super::schema::{Database, Table};
use super::backfill;
use super::belongings;
use super::keep::Keep;
use super::leave;
use super::migration::{Migration, Phase, Script, together};
use super::name::{Names, ident, list, slug, table};
use super::obstacle;
use super::reference;
use super::trigger;
use crate::pg::QualifiedName;

pub use told::homeless;

/// Columns that depend on a part of the row, in a table of their own.
pub struct Extraction<'a> {
    pub of: &'a Table,
    pub determinant: &'a [KeyColumn],
    pub dependents: &'a [KeyColumn],
    pub target: &'a QualifiedName,
    /// Of columns of the determinant, declared or planned.
    pub references: &'a [Reference],
    /// The target is there, with these columns for determinant and dependents.
    pub existing: Option<&'a [String]>,
}

/// What columns refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub columns: Vec<String>,
    pub referenced: QualifiedName,
    pub referenced_columns: Vec<String>,
}

/// # Errors
/// Why the plan leaves it to people.
pub fn table_of(
    database: &Database,
    extraction: &Extraction<'_>,
    names: &mut Names,
) -> Result<Vec<Migration>, String> {
    let of = extraction.of;
    let leaving: Vec<String> = extraction
        .dependents
        .iter()
        .map(|c| c.name.clone())
        .collect();
    leave::refuse(database, of, &leaving)?;
    obstacle::moved(of)?;
    let split = Split::of(database, extraction, names);
    let mut migrations = Vec::new();
    if extraction.existing.is_none() {
        migrations.push(split.expand());
        migrations.push(reference::add(
            database,
            &reference::Wanted {
                child: of,
                columns: &split.from,
                parent: &split.target,
                parent_columns: &split.key,
                orphans: 0,
            },
            names,
        )?);
    }
    migrations.push(split.release(database, names));
    migrations.push(split.contract(database));
    if extraction.existing.is_none() {
        let references = extraction.references.iter();
        migrations.extend(references.map(|r| split.refer(r, names)));
    }
    Ok(migrations)
}

/// Names of both sides, in the same order.
struct Split<'a> {
    extraction: &'a Extraction<'a>,
    target: QualifiedName,
    /// The determinant in the source, and the target's key.
    from: Vec<String>,
    key: Vec<String>,
    /// The dependents in the source, and in the target.
    moved: Vec<String>,
    values: Vec<String>,
    /// The function that keeps the target up, and its triggers.
    sync: QualifiedName,
    ahead: String,
    behind: String,
    /// What the target does not tell of the old columns.
    kept: Keep<'a>,
}

impl<'a> Split<'a> {
    fn of(database: &Database, extraction: &'a Extraction<'a>, names: &mut Names) -> Self {
        let plain = |columns: &[KeyColumn]| columns.iter().map(|c| c.name.clone()).collect();
        let from: Vec<String> = plain(extraction.determinant);
        let moved: Vec<String> = plain(extraction.dependents);
        let (target, key, values) = match extraction.existing {
            Some(columns) => {
                let (key, values) = columns.split_at(from.len().min(columns.len()));
                (extraction.target.clone(), key.to_vec(), values.to_vec())
            }
            None => (
                names.relation(extraction.target),
                from.clone(),
                moved.clone(),
            ),
        };
        let of = extraction.of;
        let on = (&of.name, &of.belongings);
        let witnesses = told::witnesses(database, of, &from, (&target, &values), &moved);
        let kept = Keep::of(of, &target.name, moved.clone(), witnesses, names);
        Self {
            extraction,
            sync: names.function(&target, "sync", ""),
            ahead: names.trigger(on, &target.name, "_key"),
            behind: names.trigger(on, &target.name, "_sync"),
            kept: kept.joined(told::join(&target, &key, ("t", &from))),
            target,
            from,
            key,
            moved,
            values,
        }
    }

    fn own(&self) -> String {
        table(&self.extraction.of.name)
    }

    fn name(&self, what: &str) -> String {
        slug(&format!("{what}_{}", self.target.name))
    }

    fn known(&self, row: &str) -> String {
        let known: Vec<_> = self
            .from
            .iter()
            .map(|c| format!("{row}{} is not null", ident(c)))
            .collect();
        known.join(" and ")
    }

    fn expand(&self) -> Migration {
        let both = self
            .extraction
            .determinant
            .iter()
            .chain(self.extraction.dependents);
        let mut columns: Vec<_> = both.map(|c| self.column(c)).collect();
        columns.push(format!("primary key ({})", list(&self.key)));
        let target = table(&self.target);
        let mut up = vec![format!(
            "create table {target} (\n    {}\n)",
            columns.join(",\n    ")
        )];
        up.extend(self.belongings());
        up.extend(self.keep_up());
        let mut up = together(up);
        up.push(self.fill());
        let mut down = self.let_go();
        down.push(format!("drop table {target}"));
        Migration {
            phase: Phase::Expand,
            name: self.name("extract"),
            about: format!(
                "{target}: ({}) for each {}, kept up by a trigger on {}. Then what follows from the rows that are there.",
                list(&self.values),
                list(&self.key),
                self.own()
            ),
            risks: vec![
                format!(
                    "from now on a change of ({}) in one row of {} is a change for all of them: the last writer wins in {target}",
                    list(&self.moved),
                    self.own()
                ),
                format!(
                    "where rows of {} disagree, {target} gets the values of one of them",
                    self.own()
                ),
                format!(
                    "writers that change ({}) of the same ({}), or write one that is not in {target} yet, wait for each other until they commit; others do not",
                    list(&self.moved),
                    list(&self.from)
                ),
            ],
            up: Script::Statements(up),
            down: Script::Transaction(down),
        }
    }

    fn column(&self, column: &KeyColumn) -> String {
        let collation = belongings::collation(self.extraction.of, &column.name);
        format!("{} {}{collation}", ident(&column.name), column.type_sql)
    }

    /// Who may use the old columns may use them here, and the trigger writes for whoever writes
    /// the old table.
    fn belongings(&self) -> Vec<String> {
        let of = self.extraction.of;
        let mut statements = belongings::beside(of, &self.target);
        statements.extend(belongings::writers(of, &self.target));
        let old = self.from.iter().chain(&self.moved);
        let new = self.key.iter().chain(&self.values);
        for (old, new) in old.zip(new) {
            let place = (&self.target, &new[..]);
            statements.extend(belongings::successor(of, old, place, true));
        }
        statements
    }

    /// What the determinant refers to, the new table's key refers to as well. In the contract:
    /// until then the application deletes there as it does today, and knows nothing of the new
    /// table. What a row says of another one goes with that.
    fn refer(&self, key: &Reference, names: &mut Names) -> Migration {
        let target = table(&self.target);
        let constraint = ident(&names.constraint(&self.target, &key.columns, "_fkey"));
        let (columns, referenced) = (list(&key.columns), table(&key.referenced));
        let (batch, range) = backfill::range(&self.target, &self.key, "x.");
        let on: Vec<_> = key
            .referenced_columns
            .iter()
            .zip(&key.columns)
            .map(|(there, here)| format!("p.{} = x.{}", ident(there), ident(here)))
            .collect();
        Migration {
            phase: Phase::Contract,
            name: self.name("references_of"),
            about: format!(
                "{target} ({columns}) refers to {referenced}, as {} does; rows whose {referenced} has been deleted go, and go with it from here on.",
                self.own()
            ),
            risks: Vec::new(),
            up: Script::Statements(vec![
                format!(
                    "alter table {target}\n    add constraint {constraint} foreign key ({columns}) references {referenced} ({}) on delete cascade not valid",
                    list(&key.referenced_columns)
                ),
                format!(
                    "{batch}\ndelete from {target} x\nwhere not exists (select from {referenced} p where {})\n  and {range}",
                    on.join(" and ")
                ),
                format!("alter table {target} validate constraint {constraint}"),
            ]),
            down: Script::Transaction(vec![format!(
                "alter table {target} drop constraint {constraint}"
            )]),
        }
    }

    /// Writers can leave the columns out; on the way down they are filled again.
    fn release(&self, database: &Database, names: &mut Names) -> Migration {
        let own = self.own();
        let optional: Vec<_> = self
            .moved
            .iter()
            .map(|c| format!("alter column {} drop not null", ident(c)))
            .collect();
        let mut down = self.give_back();
        down.extend(self.kept.drop());
        down.extend(leave::mandatory(self.extraction.of, &self.moved, names));
        // From here on the new table is written by the application itself: the old columns,
        // left out, must not be taken for its values.
        let mut release = vec![format!("alter table {own} {}", optional.join(", "))];
        if self.extraction.existing.is_none() {
            release.extend(self.let_go());
            down.extend(together(self.keep_up()));
        }
        let mut up: Vec<String> = self.homeless().into_iter().collect();
        up.extend(self.kept.create());
        up.push(self.keep(""));
        up.extend(together(release));
        let mut risks = vec![format!(
            "readers of ({}) in {own} must join {} from here on",
            list(&self.moved),
            table(&self.target)
        )];
        if let Some(place) = self.kept.place() {
            risks.push(format!(
                "where a row says something else than {}, its values are kept in {} by its key, and are in nobody's sight from here on: look at them",
                table(&self.target),
                table(place)
            ));
        }
        risks.extend(trigger::fired(
            database,
            self.extraction.of,
            &self.moved,
            "the way down writes every row, and fires",
        ));
        Migration {
            phase: Phase::Contract,
            name: self.name("release"),
            about: format!(
                "Writers of {own} can leave ({}) out from here on.",
                list(&self.moved)
            ),
            risks,
            up: Script::Statements(up),
            down: Script::Statements(down),
        }
    }

    fn contract(&self, database: &Database) -> Migration {
        let (of, own) = (self.extraction.of, self.own());
        let drops: Vec<_> = self
            .moved
            .iter()
            .map(|c| format!("drop column {}", ident(c)))
            .collect();
        let adds: Vec<_> = self
            .extraction
            .dependents
            .iter()
            .map(|c| format!("add column {}", self.column(c)))
            .collect();
        let mut down = vec![format!("alter table {own} {}", adds.join(", "))];
        down.extend(leave::defaults(of, &self.moved));
        let moved = self.moved.iter();
        down.extend(moved.flat_map(|c| belongings::column(database, of, c)));
        let mut down = together(down);
        down.extend(self.give_back());
        down.extend(leave::beside(database, of, &self.moved));
        let mut gone = leave::indexes(database, of, &self.moved);
        gone.push(format!("alter table {own} {}", drops.join(", ")));
        // What was written into the old columns since writers can leave them out.
        let mut up = vec![self.keep("is not null")];
        up.extend(together(gone));
        let mut risks = belongings::notes(of, &self.moved);
        risks.extend(trigger::readers(database, of, &self.moved));
        risks.extend(trigger::fired(
            database,
            of,
            &[],
            "the way down writes every row, and fires",
        ));
        Migration {
            phase: Phase::Contract,
            name: self.name("contract"),
            about: format!("Drops ({}) of {own}.", list(&self.moved)),
            risks,
            up: Script::Statements(up),
            down: Script::Statements(down),
        }
    }
}
