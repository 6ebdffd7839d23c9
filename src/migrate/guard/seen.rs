//! What the scripts themselves do about dependents: drop them, replace them, or put
//! something under the old name.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::catalog;
use crate::error::Result;
use crate::migrate::script::Script;
use crate::sql::output::output;
use crate::sql::reference::Target;
use crate::sql::token::{self, Kind as Token};
use crate::sql::{Name, Operation, Statement};

/// What a script puts under the name of a table that it drops or renames.
pub(super) enum Made {
    Nothing,
    /// Something with all columns, as far as its text tells.
    Whole,
    /// Something with these columns and no others.
    Columns(BTreeSet<String>),
}

/// What the scripts have dropped or replaced so far.
#[derive(Default)]
pub(super) struct Seen {
    dropped: Vec<Name>,
    /// Views and routines with a new definition, and its text.
    replaced: Vec<(Name, String)>,
}

impl Seen {
    pub(super) fn replaced(&mut self, script: &Script) {
        for statement in script.statements() {
            for part in &statement.parts {
                match &part.operation {
                    Operation::CreateRoutine { routine: name, .. } => {
                        self.replaced.push((name.clone(), bodies(statement)));
                    }
                    Operation::CreateView { view: name, .. } => {
                        self.replaced.push((name.clone(), statement.text.clone()));
                    }
                    _ => {}
                }
            }
        }
    }

    pub(super) fn dropped(&mut self, statement: &Statement) {
        for part in &statement.parts {
            match &part.operation {
                Operation::Drop { name, .. } | Operation::DropIndex { index: name, .. } => {
                    self.dropped.push(name.clone());
                }
                Operation::DropConstraint { constraint, .. } => self.dropped.push(Name {
                    schema: None,
                    name: constraint.clone(),
                }),
                Operation::Trigger {
                    name: Some(name),
                    drop: true,
                    ..
                }
                | Operation::Policy {
                    name: Some(name),
                    drop: true,
                    ..
                } => self.dropped.push(Name {
                    schema: None,
                    name: name.clone(),
                }),
                _ => {}
            }
        }
    }

    /// Whether the scripts deal with a dependent: `kind:schema.name…`.
    pub(super) fn handles(&self, dependent: &str, target: &Target) -> bool {
        let identity = dependent.split_once(':').map_or(dependent, |(_, n)| n);
        // `constraint:schema.table.name` has three parts; the last one is the name. What
        // follows the first parenthesis outside of quotes are arguments.
        let parts: Vec<String> = token::tokens(identity)
            .iter()
            .take_while(|t| !t.is(identity, '('))
            .filter_map(|t| t.identifier(identity))
            .collect();
        let (Some(name), schema) = (parts.last(), parts.first()) else {
            return false;
        };
        let is = |n: &Name| {
            n.name == *name
                && (n.schema.is_none() || parts.len() < 2 || n.schema.as_ref() == schema)
        };
        // A constraint, trigger or policy goes with its table.
        let owner = |n: &Name| {
            parts.len() == 3
                && n.name == parts[1]
                && n.schema.as_ref().is_none_or(|s| *s == parts[0])
        };
        if self.dropped.iter().any(|n| is(n) || owner(n)) {
            return true;
        }
        let still = |text: &str| {
            let visible = [schema.cloned().unwrap_or_default()];
            let reading = crate::sql::reference::Reading {
                visible: &visible,
                trigger: true,
            };
            crate::sql::reference::mention(text, target, reading).is_some()
        };
        self.replaced.iter().any(|(n, text)| is(n) && !still(text))
    }
}

/// What of that name the script puts in the place of a table, such as a view of it.
pub(super) async fn made(client: &Client, script: &Script, target: &Target) -> Result<Made> {
    let Target::Table { schema, name } = target else {
        return Ok(Made::Nothing);
    };
    let mut columns: Option<BTreeSet<String>> = None;
    for statement in script.statements() {
        for part in &statement.parts {
            let known = match &part.operation {
                Operation::CreateView { view: new, .. }
                | Operation::CreateTable { table: new, .. }
                    if new.may_be(schema, name) =>
                {
                    of_text(statement)
                }
                Operation::Rename { from, to, .. }
                    if to == name && from.schema.as_ref().is_none_or(|s| s == schema) =>
                {
                    of_renamed(client, script, from).await?
                }
                _ => continue,
            };
            let Some(known) = known else {
                return Ok(Made::Whole);
            };
            columns.get_or_insert_default().extend(known);
        }
    }
    let Some(mut columns) = columns else {
        return Ok(Made::Nothing);
    };
    columns.extend(added(script, name));
    Ok(Made::Columns(columns))
}

/// The columns that a statement makes; `None` where its text does not tell them all.
fn of_text(statement: &Statement) -> Option<Vec<String>> {
    let made = output(&statement.text);
    (!made.open).then_some(made.names)
}

/// Those of what is renamed into the place: it is there already, or made before.
async fn of_renamed(client: &Client, script: &Script, from: &Name) -> Result<Option<Vec<String>>> {
    let made = script.statements().find(|s| {
        s.parts.iter().any(|p| match &p.operation {
            Operation::CreateView { view: new, .. } | Operation::CreateTable { table: new, .. } => {
                new.name == from.name
            }
            _ => false,
        })
    });
    let known = match (catalog::relation(client, from).await?, made) {
        (Some((oid, _)), _) => Some(catalog::columns(client, oid).await?),
        (None, Some(statement)) => of_text(statement),
        (None, None) => None,
    };
    Ok(known.map(|mut known| {
        known.extend(added(script, &from.name));
        known
    }))
}

/// Columns that a table of this name is given besides, under any schema.
fn added<'a>(script: &'a Script, name: &'a str) -> impl Iterator<Item = String> + 'a {
    script
        .statements()
        .flat_map(|s| &s.parts)
        .filter_map(move |p| match &p.operation {
            Operation::AddColumn { table, column } if table.name == name => {
                Some(column.name.clone())
            }
            Operation::RenameColumn { table, to, .. } if table.name == name => Some(to.clone()),
            _ => None,
        })
}

/// The strings of a routine's definition: its body.
fn bodies(statement: &Statement) -> String {
    let text = &statement.text;
    let mut bodies = String::new();
    let mut atomic = false;
    for token in token::tokens(text) {
        atomic |= token.is_word(text, "atomic") || token.is_word(text, "return");
        if token.kind == Token::String || atomic {
            let inner = token.text(text);
            // `$body$ … $body$`
            let tag = inner
                .strip_prefix('$')
                .and_then(|rest| rest.find('$'))
                .map_or(0, |at| at + 2);
            let inner = inner
                .get(tag..inner.len().saturating_sub(tag))
                .unwrap_or(inner);
            bodies.push_str(inner.trim_matches('\''));
            bodies.push(' ');
        }
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    #[test]
    fn a_dropped_trigger_is_known_by_any_name() {
        let mut seen = Seen::default();
        let drop = r#"drop trigger "say (""x"")
now" on "a.b"."</t>(1)""#;
        seen.dropped(&split(drop)[0]);
        let target = Target::Routine {
            schema: "s".to_owned(),
            name: "f".to_owned(),
        };
        let handles = |name: &str| seen.handles(name, &target);
        assert!(handles(
            "trigger:\"a.b\".\"</t>(1)\".\"say (\"\"x\"\")\nnow\""
        ));
        assert!(!handles("trigger:\"a.b\".\"</t>(1)\".other"));
        assert!(!handles("routine:s.f(integer, text)"));
    }
}
