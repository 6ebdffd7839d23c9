//! Statistics objects over columns that change or go. The server drops them with a column,
//! whatever else they are over: so they go before, all at once, and come back as the last on the
//! way down, when every column is there again.

use std::collections::BTreeSet;

use super::super::belongings::Statistics;
use super::super::schema::Table;
use super::belongings::says;
use super::convert::Change;
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, list, slug, table};
use crate::pg::QualifiedName;

/// For one table: successors over the new columns, and that the old ones go. `leaving` are the
/// columns that have no successor in it.
pub fn migrations(
    of: &Table,
    changes: &[&Change<'_>],
    leaving: &BTreeSet<String>,
    names: &mut Names,
) -> Vec<Migration> {
    let new_of = |column: &String| {
        let change = changes.iter().find(|c| c.what() == (&of.name, column));
        change.map(|c| c.successor())
    };
    let goes = |s: &&Statistics| {
        let mut uses = s.uses.iter();
        uses.any(|c| leaving.contains(c) || new_of(c).is_some())
    };
    let all: Vec<&Statistics> = of.belongings.statistics.iter().filter(goes).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let (followed, alone): (Vec<&Statistics>, Vec<&Statistics>) = all
        .iter()
        .partition(|s| !s.expressions && !s.uses.iter().any(|c| leaving.contains(c)));
    let mut made = Vec::new();
    if !followed.is_empty() {
        made.push(follow(of, &followed, &new_of, names));
    }
    let mut risks = Vec::new();
    if !alone.is_empty() {
        let names: Vec<_> = alone.iter().map(|s| s.name.to_string()).collect();
        risks.push(format!(
            "nothing takes the place of {}: make it anew over what is left, where queries are estimated badly without",
            names.join(", ")
        ));
    }
    made.push(Migration {
        phase: Phase::Contract,
        name: format!("statistics_{}", slug(&of.name.name)),
        about: format!(
            "Drops the statistics objects of {} that would vanish with a column that goes.",
            table(&of.name)
        ),
        risks,
        up: Script::Transaction(
            all.iter()
                .map(|s| format!("drop statistics {}", table(&s.name)))
                .collect(),
        ),
        down: Script::Transaction(all.iter().flat_map(|s| again(s)).collect()),
    });
    made
}

fn follow<'n>(
    of: &Table,
    followed: &[&Statistics],
    new_of: &dyn Fn(&String) -> Option<&'n str>,
    names: &mut Names,
) -> Migration {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for old in followed {
        let columns: Vec<String> = old
            .uses
            .iter()
            .map(|c| new_of(c).map_or_else(|| c.clone(), str::to_owned))
            .collect();
        let name = names.statistics(
            &old.name,
            &format!("{}_{}", of.name.name, columns.join("_")),
        );
        up.push(format!(
            "create statistics {} ({}) on {} from {}",
            table(&name),
            old.kinds.join(", "),
            list(&columns),
            table(&of.name)
        ));
        up.extend(belongings(old, &name));
        down.push(format!("drop statistics {}", table(&name)));
    }
    Migration {
        phase: Phase::Expand,
        name: format!("new_statistics_{}", slug(&of.name.name)),
        about: format!(
            "The statistics objects of {} over the new columns; the next ANALYZE fills them.",
            table(&of.name)
        ),
        risks: Vec::new(),
        up: Script::Transaction(up),
        down: Script::Transaction(down),
    }
}

fn again(of: &Statistics) -> Vec<String> {
    let mut statements = vec![of.definition.clone()];
    statements.extend(belongings(of, &of.name));
    statements
}

fn belongings(of: &Statistics, name: &QualifiedName) -> Vec<String> {
    let name = table(name);
    let mut statements = Vec::new();
    if let Some(target) = of.target {
        statements.push(format!("alter statistics {name} set statistics {target}"));
    }
    if let Some(comment) = &of.comment {
        statements.push(says(&format!("statistics {name}"), comment));
    }
    if let Some(owner) = &of.owner {
        statements.push(format!("alter statistics {name} owner to {}", ident(owner)));
    }
    statements
}
