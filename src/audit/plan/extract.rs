//! Columns that say what another table says, or what the row says already.

use super::super::fix::KeyColumn;
use super::super::schema::{Database, Table};
use super::backfill::Backfill;
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, list, slug, table};
use super::not_null;
use super::reference;
use crate::pg::QualifiedName;

/// A column that follows from the others of its row.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn derived(
    database: &Database,
    of: &Table,
    column: &str,
    derivation: &str,
    names: &mut Names,
) -> Result<Vec<Migration>, String> {
    let Some(old) = of.column(column) else {
        return Err(format!("{} has no column {column}", of.name));
    };
    if of.keys().any(|k| k.columns.iter().any(|c| c == column))
        || reference::uses(database, of, column)
        || old.generated
        || old.identity.is_some()
    {
        return Err(format!(
            "{}.{column} is part of a key or computed by the server",
            of.name
        ));
    }
    let leaving = [column.to_owned()];
    shared_indexes(of, &leaving)?;
    let own = table(&of.name);
    let name = ident(column);
    let mut fill = vec![
        Backfill {
            of,
            set: format!("{name} = {derivation}"),
            pending: format!("{name} is distinct from ({derivation})"),
        }
        .sql(),
    ];
    fill.extend(as_before(of, column, names));
    Ok(contract(
        of,
        column,
        format!("{own}.{name} is equal to {derivation}: nobody needs it."),
        Script::Transaction(vec![format!("alter table {own} drop column {name}")]),
        (
            format!("alter table {own} add column {name} {}", old.data_type.sql),
            fill,
        ),
    ))
}

/// An index that has other columns, too, would vanish with one that goes, and what is found by
/// the others with it.
fn shared_indexes(of: &Table, leaving: &[String]) -> Result<(), String> {
    let shared = of.indexes.iter().find(|i| {
        let mut columns = i
            .keys
            .iter()
            .map(|k| k.column.as_ref())
            .chain(i.included.iter().map(Some));
        let goes = |c: Option<&String>| c.is_some_and(|c| leaving.contains(c));
        columns.clone().any(goes) && !columns.all(goes)
    });
    shared.map_or(Ok(()), |i| {
        Err(format!(
            "the index {} has it beside columns that stay, and would vanish with it: replace the index first",
            i.name
        ))
    })
}

/// Default, NOT NULL and indexes of a column that came back.
fn as_before(of: &Table, column: &str, names: &mut Names) -> Vec<String> {
    let own = table(&of.name);
    let name = ident(column);
    let mut statements = Vec::new();
    if let Some(old) = of.column(column) {
        if let Some(default) = &old.default {
            statements.push(format!(
                "alter table {own} alter column {name} set default {default}"
            ));
        }
        if old.not_null {
            statements.extend(not_null::set(&of.name, column, names));
        }
    }
    for index in &of.indexes {
        let uses = index
            .keys
            .iter()
            .any(|k| k.column.as_deref() == Some(column))
            || index.included.iter().any(|c| c == column);
        if uses && index.constraint.is_none() {
            statements.push(super::index::concurrent(&index.definition));
        }
    }
    statements
}

/// Two files: the first lets writers leave the column out, and fills it on the way down;
/// the second drops it.
fn contract(
    of: &Table,
    column: &str,
    about: String,
    drop: Script,
    (add, fill): (String, Vec<String>),
) -> Vec<Migration> {
    let own = table(&of.name);
    let name = ident(column);
    let optional = format!("alter table {own} alter column {name} drop not null");
    let stem = slug(&format!("{}_{column}", of.name.name));
    vec![
        Migration {
            phase: Phase::Contract,
            name: format!("optional_{stem}"),
            about: format!("{about} Writers can leave it out from here on."),
            risks: vec![format!("no reader may need {own}.{name} from here on")],
            up: Script::Transaction(vec![optional]),
            down: Script::Statements(fill),
        },
        Migration {
            phase: Phase::Contract,
            name: format!("drop_{stem}"),
            about: format!("Drops {own}.{name}."),
            risks: Vec::new(),
            up: drop,
            down: Script::Transaction(vec![add]),
        },
    ]
}

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
    for column in extraction.dependents {
        if of.keys().any(|k| k.columns.contains(&column.name))
            || reference::uses(database, of, &column.name)
        {
            return Err(format!("{}.{} is part of a key", of.name, column.name));
        }
    }
    let leaving: Vec<String> = extraction
        .dependents
        .iter()
        .map(|c| c.name.clone())
        .collect();
    shared_indexes(of, &leaving)?;
    let split = Split::of(extraction, names);
    let mut migrations = Vec::new();
    if extraction.existing.is_none() {
        migrations.push(split.expand());
        migrations.push(split.fill());
        for key in extraction.references {
            migrations.push(split.refer(key, names));
        }
        migrations.extend(reference::add(
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
    migrations.push(split.contract());
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
        let mut columns: Vec<_> = both
            .map(|c| format!("{} {}", ident(&c.name), c.type_sql))
            .collect();
        columns.push(format!("primary key ({})", list(&self.key)));
        let target = table(&self.target);
        let mut up = vec![format!(
            "create table {target} (\n    {}\n)",
            columns.join(",\n    ")
        )];
        up.extend(self.keep_up());
        let mut down = self.let_go();
        down.push(format!("drop table {target}"));
        Migration {
            phase: Phase::Expand,
            name: self.name("extract"),
            about: format!(
                "{target}: ({}) for each {}, kept up by a trigger on {}.",
                list(&self.values),
                list(&self.key),
                self.own()
            ),
            risks: vec![format!(
                "from now on a change of ({}) in one row of {} is a change for all of them: the last writer wins in {target}",
                list(&self.moved),
                self.own()
            )],
            up: Script::Transaction(up),
            down: Script::Transaction(down),
        }
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

    fn fill(&self) -> Migration {
        let all = [&self.key[..], &self.values[..]].concat();
        Migration {
            phase: Phase::Expand,
            name: self.name("fill"),
            about: format!(
                "The rows of {} that follow from what is there.",
                table(&self.target)
            ),
            risks: vec![format!(
                "where rows of {} disagree, {} gets the values of one of them",
                self.own(),
                table(&self.target)
            )],
            up: Script::Statements(vec![format!(
                "insert into {} ({})\nselect distinct on ({from}) {}\nfrom {}\nwhere {}\norder by {from}\non conflict do nothing",
                table(&self.target),
                list(&all),
                list(&[&self.from[..], &self.moved[..]].concat()),
                self.own(),
                self.known(""),
                from = list(&self.from),
            )]),
            down: Script::Nothing("The rows go with their table.".to_owned()),
        }
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

    /// Writers can leave the columns out; on the way down they are filled again.
    fn release(&self, names: &mut Names) -> Migration {
        let of = self.extraction.of;
        let own = self.own();
        let optional: Vec<_> = self
            .moved
            .iter()
            .map(|c| format!("alter column {} drop not null", ident(c)))
            .collect();
        let value = |value: &str| {
            let on: Vec<_> = self
                .key
                .iter()
                .zip(&self.from)
                .map(|(k, f)| format!("x.{} = {own}.{}", ident(k), ident(f)))
                .collect();
            format!(
                "(select x.{} from {} x where {})",
                ident(value),
                table(&self.target),
                on.join(" and ")
            )
        };
        let set: Vec<_> = self
            .moved
            .iter()
            .zip(&self.values)
            .map(|(m, v)| format!("{} = {}", ident(m), value(v)))
            .collect();
        let mut down = vec![
            Backfill {
                of,
                set: set.join(", "),
                pending: self.known(""),
            }
            .sql(),
        ];
        for column in &self.moved {
            down.extend(as_before(of, column, names));
        }
        // From here on the new table is written by the application itself: the old columns,
        // left out, must not be taken for its values.
        let mut up = vec![format!("alter table {own} {}", optional.join(", "))];
        if self.extraction.existing.is_none() {
            up.extend(self.let_go());
            down.extend(self.keep_up());
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

    fn contract(&self) -> Migration {
        let own = self.own();
        let drops: Vec<_> = self
            .moved
            .iter()
            .map(|c| format!("drop column {}", ident(c)))
            .collect();
        let adds: Vec<_> = self
            .extraction
            .dependents
            .iter()
            .map(|c| format!("add column {} {}", ident(&c.name), c.type_sql))
            .collect();
        Migration {
            phase: Phase::Contract,
            name: self.name("contract"),
            about: format!("Drops ({}) of {own}.", list(&self.moved)),
            risks: Vec::new(),
            up: Script::Transaction(vec![format!("alter table {own} {}", drops.join(", "))]),
            down: Script::Transaction(vec![format!("alter table {own} {}", adds.join(", "))]),
        }
    }
}
