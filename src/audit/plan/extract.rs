//! Columns that say what another table says.

use super::super::fix::KeyColumn;
use super::super::schema::{Database, Table};
use super::backfill::Backfill;
use super::belongings;
use super::leave;
use super::migration::{Migration, Phase, Script, together};
use super::name::{Names, ident, list, slug, table};
use super::reference;
use crate::pg::QualifiedName;

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
    let split = Split::of(extraction, names);
    let mut migrations = Vec::new();
    if extraction.existing.is_none() {
        migrations.push(split.expand());
        for key in extraction.references {
            migrations.push(split.refer(key, names));
        }
        migrations.push(reference::add(
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
    migrations.push(split.release(names));
    migrations.push(split.contract(database));
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
    sync: QualifiedName,
}

impl<'a> Split<'a> {
    fn of(extraction: &'a Extraction<'a>, names: &mut Names) -> Self {
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
        Self {
            extraction,
            sync: names.function(&target, "sync", ""),
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

    /// The trigger that brings what the old columns are told to the new table.
    fn keep_up(&self) -> Vec<String> {
        let all = [&self.key[..], &self.values[..]].concat();
        let values: Vec<_> = all.iter().map(|c| format!("new.{}", ident(c))).collect();
        let set: Vec<_> = self
            .values
            .iter()
            .map(|c| format!("{0} = excluded.{0}", ident(c)))
            .collect();
        let differs: Vec<_> = self
            .values
            .iter()
            .map(|c| format!("t.{0} is distinct from excluded.{0}", ident(c)))
            .collect();
        let (target, sync) = (table(&self.target), table(&self.sync));
        vec![
            format!(
                "create function {sync}() returns trigger language plpgsql as $sync$\nbegin\n    \
                 if {} then\n        \
                 insert into {target} as t ({}) values ({})\n        \
                 on conflict ({}) do update set {}\n        where {};\n    \
                 end if;\n    return new;\nend\n$sync$",
                self.known("new."),
                list(&all),
                values.join(", "),
                list(&self.key),
                set.join(", "),
                differs.join(" or "),
            ),
            format!(
                "create trigger {} before insert or update of {} on {}\n    for each row execute function {sync}()",
                ident(&self.sync.name),
                list(&all),
                self.own()
            ),
        ]
    }

    fn let_go(&self) -> Vec<String> {
        vec![
            format!("drop trigger {} on {}", ident(&self.sync.name), self.own()),
            format!("drop function {}()", table(&self.sync)),
        ]
    }

    fn fill(&self) -> String {
        let all = [&self.key[..], &self.values[..]].concat();
        format!(
            "insert into {} ({})\nselect distinct on ({from}) {}\nfrom {}\nwhere {}\norder by {from}\non conflict do nothing",
            table(&self.target),
            list(&all),
            list(&[&self.from[..], &self.moved[..]].concat()),
            self.own(),
            self.known(""),
            from = list(&self.from),
        )
    }

    /// What the determinant refers to, the new table's key refers to as well.
    fn refer(&self, key: &Reference, names: &mut Names) -> Migration {
        let target = table(&self.target);
        let constraint = ident(&names.constraint(&self.target, &key.columns, "_fkey"));
        let columns = list(&key.columns);
        Migration {
            phase: Phase::Expand,
            name: self.name("references_of"),
            about: format!(
                "{target} ({columns}) refers to {}, as {} does.",
                table(&key.referenced),
                self.own()
            ),
            risks: Vec::new(),
            up: Script::Statements(vec![
                format!(
                    "alter table {target}\n    add constraint {constraint} foreign key ({columns}) references {} ({}) not valid",
                    table(&key.referenced),
                    list(&key.referenced_columns)
                ),
                format!("alter table {target} validate constraint {constraint}"),
            ]),
            down: Script::Transaction(vec![format!(
                "alter table {target} drop constraint {constraint}"
            )]),
        }
    }

    /// The old columns as the new table has them.
    fn refill(&self) -> String {
        let own = self.own();
        let on: Vec<_> = self
            .key
            .iter()
            .zip(&self.from)
            .map(|(k, f)| format!("x.{} = {own}.{}", ident(k), ident(f)))
            .collect();
        let (mut set, mut differs) = (Vec::new(), Vec::new());
        let dependents = self.extraction.dependents.iter().zip(&self.values);
        for (moved, value) in dependents {
            // These types have no equality of their own.
            let compared = match &moved.type_sql[..] {
                "json" | "xml" | "point" => "::text",
                _ => "",
            };
            let moved = ident(&moved.name);
            let value = format!(
                "(select x.{} from {} x where {})",
                ident(value),
                table(&self.target),
                on.join(" and ")
            );
            set.push(format!("{moved} = {value}"));
            differs.push(format!(
                "{moved}{compared} is distinct from {value}{compared}"
            ));
        }
        Backfill {
            of: self.extraction.of,
            set: set.join(", "),
            pending: format!("{} and ({})", self.known(""), differs.join(" or ")),
        }
        .sql()
    }

    /// Writers can leave the columns out; on the way down they are filled again.
    fn release(&self, names: &mut Names) -> Migration {
        let own = self.own();
        let optional: Vec<_> = self
            .moved
            .iter()
            .map(|c| format!("alter column {} drop not null", ident(c)))
            .collect();
        let mut down = vec![self.refill()];
        down.extend(leave::mandatory(self.extraction.of, &self.moved, names));
        // From here on the new table is written by the application itself: the old columns,
        // left out, must not be taken for its values.
        let mut up = vec![format!("alter table {own} {}", optional.join(", "))];
        if self.extraction.existing.is_none() {
            up.extend(self.let_go());
            down.extend(together(self.keep_up()));
        }
        Migration {
            phase: Phase::Contract,
            name: self.name("release"),
            about: format!(
                "Writers of {own} can leave ({}) out from here on.",
                list(&self.moved)
            ),
            risks: vec![format!(
                "readers of ({}) in {own} must join {} from here on",
                list(&self.moved),
                table(&self.target)
            )],
            up: Script::Transaction(up),
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
        down.push(self.refill());
        down.extend(leave::beside(database, of, &self.moved));
        let mut up = leave::indexes(database, of, &self.moved);
        up.push(format!("alter table {own} {}", drops.join(", ")));
        Migration {
            phase: Phase::Contract,
            name: self.name("contract"),
            about: format!("Drops ({}) of {own}.", list(&self.moved)),
            risks: belongings::notes(of, &self.moved),
            up: Script::Transaction(up),
            down: Script::Statements(down),
        }
    }
}
