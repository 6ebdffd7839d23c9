//! Columns that go, and what goes with them and comes back.

use super::super::schema::{Check, Database, Index, Table};
use super::backfill::Backfill;
use super::belongings;
use super::keep::{Keep, Witness, free};
use super::migration::{Migration, Phase, Script, together};
use super::name::{Names, ident, slug, table};
use super::not_null;
use super::reference;
use super::trigger;
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
    // Of the row alone: what is joined to it may have columns of the same names.
    let kind = &old.data_type.sql;
    let told = format!("(select ({derivation})::{kind} from (select t.*) only_t)");
    let kept = kept(of, column, &told, names);
    let mut give_back = vec![
        Backfill {
            of,
            set: format!("{name} = {derivation}"),
            pending: format!("{name} is distinct from ({derivation})::{kind}"),
        }
        .sql(),
    ];
    give_back.extend(kept.restore("", &format!("t.{name} is not distinct from {told}")));
    let mut filled = give_back.clone();
    filled.extend(kept.drop());
    filled.extend(mandatory(of, &leaving, names));
    let mut back = vec![format!(
        "alter table {own} add column {name} {}",
        belongings::typed(of, old)
    )];
    back.extend(defaults(of, &leaving));
    back.extend(belongings::column(database, of, column));
    let mut back = together(back);
    back.extend(give_back);
    back.extend(beside(database, of, &leaving));
    let mut gone = indexes(database, of, &leaving);
    gone.push(format!("alter table {own} drop column {name}"));
    let differs = format!("t.{name} is distinct from {told}");
    // What was written since writers can leave it out.
    let mut drop = vec![kept.collect(&format!("t.{name} is not null and {differs}"))];
    drop.extend(together(gone));
    let mut optional = kept.create();
    optional.push(kept.collect(&differs));
    optional.push(format!(
        "alter table {own} alter column {name} drop not null"
    ));
    let stem = slug(&format!("{}_{column}", of.name.name));
    let fired = trigger::fired(
        database,
        of,
        &leaving,
        "the way down writes rows, and fires",
    );
    let mut risks = vec![format!("no reader may need {own}.{name} from here on")];
    risks.extend(kept.place().map(|place| {
        format!(
            "where it is something else, which should not be, it is kept in {} by the row's key",
            table(place)
        )
    }));
    risks.extend(fired.clone());
    let mut later = belongings::notes(of, &leaving);
    later.extend(trigger::readers(database, of, &leaving));
    later.extend(fired);
    Ok(vec![
        Migration {
            phase: Phase::Contract,
            name: format!("optional_{stem}"),
            about: format!(
                "{own}.{name} is equal to {derivation}: nobody needs it. Writers can leave it out from here on."
            ),
            risks,
            up: Script::Statements(optional),
            down: Script::Statements(filled),
        },
        Migration {
            phase: Phase::Contract,
            name: format!("drop_{stem}"),
            about: format!("Drops {own}.{name}."),
            risks: later,
            up: Script::Statements(drop),
            down: Script::Statements(back),
        },
    ])
}

/// The columns that a formula names.
#[must_use]
pub fn parts(of: &Table, derivation: &str) -> Vec<String> {
    let names = token::tokens(derivation);
    let names = names.iter().filter_map(|t| t.identifier(derivation));
    names.filter(|name| of.column(name).is_some()).collect()
}

/// Values that do not follow from the others, whatever the audit saw.
fn kept<'a>(of: &'a Table, column: &str, told: &str, names: &mut Names) -> Keep<'a> {
    let kind = of.column(column).map(|c| belongings::typed(of, c));
    let witness = Witness {
        name: free(of, "told"),
        type_sql: kind.unwrap_or_default(),
        now: told.to_owned(),
        as_text: false,
    };
    Keep::of(of, column, vec![column.to_owned()], vec![witness], names)
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
    for column in leaving {
        if !of.belongings.column(column).sequences.is_empty() {
            return Err(format!(
                "{}.{column} has a sequence that would vanish with it: give that to another column, or to none, first",
                of.name
            ));
        }
    }
    trigger::refuse(database, of, leaving)?;
    let family = belongings::family(database, of);
    family.iter().try_for_each(|of| indexed(of, leaving))?;
    checked(of, &family, leaving)
}

/// No index or constraint has other columns beside those that leave.
fn indexed(of: &Table, leaving: &[String]) -> Result<(), String> {
    for index in of.indexes.iter().filter(|i| goes(of, i, leaving)) {
        if index.constraint.is_some() {
            return Err(format!(
                "the constraint {} has it, and would vanish with it: drop or replace the constraint first",
                index.name.name
            ));
        }
        // It would vanish with one that goes, and what is found by the others with it.
        let uses = of.belongings.index(&index.name).uses;
        if uses.iter().any(|c| !leaving.contains(c)) {
            return Err(format!(
                "the index {} has it beside columns that stay, and would vanish with it: replace the index first",
                index.name
            ));
        }
    }
    Ok(())
}

/// No check does, and none is a single partition's, which nothing would make again.
fn checked(of: &Table, family: &[&Table], leaving: &[String]) -> Result<(), String> {
    let own = |c: &&Check| of.checks.iter().any(|own| own.name == c.name);
    let stray = family.iter().flat_map(|t| t.checks.iter()).find(|c| {
        let mut columns = columns_of(of, c).into_iter();
        !own(c) && columns.any(|c| leaving.contains(&c))
    });
    if let Some(check) = stray {
        return Err(format!(
            "the CHECK {} of a partition has it, and would vanish with it: replace it first",
            check.name
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

/// Whether an index needs one of the columns, in its keys, expressions or condition.
fn goes(of: &Table, index: &Index, leaving: &[String]) -> bool {
    let uses = of.belongings.index(&index.name).uses;
    uses.iter().any(|c| leaving.contains(c))
}

/// Drops the indexes that are over more than a column that goes.
pub fn indexes(database: &Database, of: &Table, leaving: &[String]) -> Vec<String> {
    let indexes = gone(database, of, leaving);
    belongings::more_than_one_column(indexes.into_iter().map(|(_, index)| index))
}

/// The indexes that go, those of partitions by themselves where they are not a part of one.
fn gone<'d>(
    database: &'d Database,
    of: &'d Table,
    leaving: &[String],
) -> Vec<(&'d Table, &'d Index)> {
    let family = belongings::family(database, of).into_iter();
    family
        .flat_map(|t| t.indexes.iter().map(move |i| (t, i)))
        .filter(|(t, i)| goes(t, i, leaving))
        .filter(|(t, i)| t.belongings.index(&i.name).parent.is_none())
        .collect()
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

/// Indexes and checks of columns that came back and are filled.
pub fn beside(database: &Database, of: &Table, columns: &[String]) -> Vec<String> {
    let own = table(&of.name);
    let mut statements = Vec::new();
    for (of, index) in gone(database, of, columns) {
        statements.extend(belongings::index_again(database, of, index));
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
        statements.extend(belongings::constraint(of, &check.name));
    }
    statements
}
