//! Columns that go, and what goes with them and comes back.

use super::super::schema::{Check, Database, Index, Table};
use super::backfill::Backfill;
use super::index::concurrent;
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, slug, table};
use super::not_null;
use super::reference;
use crate::pg::ident::literal;
use crate::sql::token;

/// A column that follows from the others of its row. Two files: the first lets writers leave
/// the column out, the second drops it. Each takes back what it did by itself.
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
    let leaving = [column.to_owned()];
    refuse(database, of, &leaving)?;
    let own = table(&of.name);
    let name = ident(column);
    let fill = Backfill {
        of,
        set: format!("{name} = {derivation}"),
        pending: format!("{name} is distinct from ({derivation})"),
    }
    .sql();
    let mut filled = vec![fill.clone()];
    filled.extend(mandatory(of, &leaving, names));
    let mut back = vec![format!(
        "alter table {own} add column {name} {}",
        old.data_type.sql
    )];
    back.extend(defaults(of, &leaving));
    back.push(fill);
    back.extend(beside(of, &leaving));
    let stem = slug(&format!("{}_{column}", of.name.name));
    Ok(vec![
        Migration {
            phase: Phase::Contract,
            name: format!("optional_{stem}"),
            about: format!(
                "{own}.{name} is equal to {derivation}: nobody needs it. Writers can leave it out from here on."
            ),
            risks: vec![format!("no reader may need {own}.{name} from here on")],
            up: Script::Transaction(vec![format!(
                "alter table {own} alter column {name} drop not null"
            )]),
            down: Script::Statements(filled),
        },
        Migration {
            phase: Phase::Contract,
            name: format!("drop_{stem}"),
            about: format!("Drops {own}.{name}."),
            risks: Vec::new(),
            up: Script::Transaction(vec![format!("alter table {own} drop column {name}")]),
            down: Script::Statements(back),
        },
    ])
}

/// What does not let the columns go.
///
/// # Errors
/// Why the plan leaves them to people.
pub fn refuse(database: &Database, of: &Table, leaving: &[String]) -> Result<(), String> {
    for column in leaving {
        let computed = of
            .column(column)
            .is_some_and(|c| c.generated || c.identity.is_some());
        if computed
            || of.keys().any(|k| k.columns.contains(column))
            || reference::uses(database, of, column)
        {
            return Err(format!(
                "{}.{column} is part of a key or computed by the server",
                of.name
            ));
        }
    }
    // An index that has other columns, too, would vanish with one that goes, and what is found
    // by the others with it.
    let shared = of.indexes.iter().find(|i| {
        let mut columns = i
            .keys
            .iter()
            .map(|k| k.column.as_ref())
            .chain(i.included.iter().map(Some));
        let goes = |c: Option<&String>| c.is_some_and(|c| leaving.contains(c));
        columns.clone().any(goes) && !columns.all(goes)
    });
    if let Some(index) = shared {
        return Err(format!(
            "the index {} has it beside columns that stay, and would vanish with it: replace the index first",
            index.name
        ));
    }
    let shared = of.checks.iter().find(|c| {
        let columns = columns_of(of, c);
        columns.len() > 1 && columns.iter().any(|c| leaving.contains(c))
    });
    shared.map_or(Ok(()), |check| {
        Err(format!(
            "the CHECK {} has it beside other columns, and would vanish with it: replace it first",
            check.name
        ))
    })
}

/// The columns that a CHECK names.
fn columns_of(of: &Table, check: &Check) -> Vec<String> {
    let definition = &check.definition;
    let mut columns: Vec<String> = token::tokens(definition)
        .iter()
        .filter_map(|t| t.identifier(definition))
        .filter(|name| of.column(name).is_some())
        .collect();
    columns.sort();
    columns.dedup();
    columns
}

/// The defaults of columns that come back.
pub fn defaults(of: &Table, columns: &[String]) -> Vec<String> {
    let own = table(&of.name);
    let columns = columns.iter().filter_map(|c| of.column(c));
    columns
        .filter_map(|c| {
            let default = c.default.as_ref()?;
            let name = ident(&c.name);
            Some(format!(
                "alter table {own} alter column {name} set default {default}"
            ))
        })
        .collect()
}

/// NOT NULL again, for columns that are filled.
pub fn mandatory(of: &Table, columns: &[String], names: &mut Names) -> Vec<String> {
    let mandatory = |c: &&String| of.column(c).is_some_and(|c| c.not_null);
    columns
        .iter()
        .filter(mandatory)
        .flat_map(|c| not_null::set(&of.name, c, names))
        .collect()
}

/// Indexes, checks and comments of columns that came back and are filled.
pub fn beside(of: &Table, columns: &[String]) -> Vec<String> {
    let own = table(&of.name);
    let mut statements = Vec::new();
    let indexed = |i: &&Index| {
        let mut all = i.keys.iter().filter_map(|k| k.column.as_ref());
        i.constraint.is_none()
            && (all.any(|c| columns.contains(c)) || i.included.iter().any(|c| columns.contains(c)))
    };
    for index in of.indexes.iter().filter(indexed) {
        statements.push(concurrent(&index.definition));
    }
    for check in &of.checks {
        if !columns_of(of, check).iter().any(|c| columns.contains(c)) {
            continue;
        }
        let name = ident(&check.name);
        let definition = check.definition.trim_end_matches(" NOT VALID");
        statements.push(format!(
            "alter table {own} add constraint {name} {definition} not valid"
        ));
        if check.valid {
            statements.push(format!("alter table {own} validate constraint {name}"));
        }
    }
    for column in columns.iter().filter_map(|c| of.column(c)) {
        if let Some(comment) = &column.comment {
            statements.push(format!(
                "comment on column {own}.{} is {}",
                ident(&column.name),
                literal(comment).trim_start()
            ));
        }
    }
    statements
}
