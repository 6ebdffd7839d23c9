//! The drop guard: what still depends on a column, table or routine that a migration
//! drops or renames.
//!
//! PostgreSQL itself knows views and foreign keys, and refuses. It does not know the
//! bodies of functions, which break when they are called next; it says nothing of
//! indexes and checks that vanish with a column; and it cannot know what applications
//! ask. All of that is looked up before anything is run.

mod catalog;
mod queries;
mod routines;

use std::fmt::{self, Write as _};

use tokio_postgres::Client;

use super::script::Script;
use crate::error::{Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::sql::reference::Target;
use crate::sql::token::{self, Kind as Token};
use crate::sql::{Name, ObjectKind, Operation, Place, Statement};

/// What a statement takes away.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub target: Target,
    /// A rename: what PostgreSQL tracks follows, only texts break.
    pub renamed: bool,
    pub oid: u32,
    /// Of a column.
    pub number: i16,
    /// The byte in the script.
    pub at: usize,
}

impl Loss {
    fn what(&self) -> String {
        let verb = if self.renamed { "renames" } else { "drops" };
        match &self.target {
            Target::Table { schema, name } => {
                format!("{verb} {}", QualifiedName::new(schema, name))
            }
            Target::Column {
                schema,
                table,
                column,
            } => {
                let column = Name {
                    schema: None,
                    name: column.clone(),
                };
                format!("{verb} {}.{column}", QualifiedName::new(schema, table))
            }
            Target::Routine { schema, name } => {
                format!("{verb} {}()", QualifiedName::new(schema, name))
            }
        }
    }
}

/// Something that would break or vanish.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependent {
    /// `view:shop.order_list`: what `--accept` takes.
    pub name: String,
    /// Why it depends, in words.
    pub why: String,
    /// What the statement does, such as `drops legacy.orders.total`.
    pub loss: String,
    pub file: String,
    /// The byte in the script, and its place.
    pub at: usize,
    pub place: Place,
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{} {}: {} {}",
            self.file, self.place, self.loss, self.name, self.why
        )
    }
}

/// What the guard found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    pub dependents: Vec<Dependent>,
    /// What could not be looked at, in words.
    pub blind: Vec<String>,
}

impl Verdict {
    /// Refuses unless everything is accepted by name.
    ///
    /// # Errors
    /// [`Kind::Precondition`] listing what is not.
    pub fn accept(&self, names: &[String]) -> Result<()> {
        let accepted = |d: &Dependent| {
            let short = d.name.split_once(':').map_or(d.name.as_str(), |(_, n)| n);
            names.iter().any(|n| *n == d.name || n == short)
        };
        let left: Vec<&Dependent> = self.dependents.iter().filter(|d| !accepted(d)).collect();
        let Some(first) = left.first() else {
            return Ok(());
        };
        let mut list = String::new();
        let mut last = None;
        for dependent in &left {
            let head = (&dependent.file, dependent.place, &dependent.loss);
            if last != Some(head) {
                let (file, place, loss) = head;
                let _ = write!(list, "\n  {file}:{place} {loss}");
                last = Some(head);
            }
            let _ = write!(list, "\n    {} {}", dependent.name, dependent.why);
        }
        let count = match left.len() {
            1 => "1 thing still depends".to_owned(),
            n => format!("{n} things still depend"),
        };
        Err(Error::new(
            Kind::Precondition,
            format!("{count} on what would be dropped or renamed:{list}"),
        )
        .remedy(format!(
            "change them first, in this migration or an earlier one; what may break: --accept '{}', one for each",
            first.name
        )))
    }
}

/// Looks for dependents of everything that these scripts take away, as the database is
/// now. What the scripts themselves drop or replace does not count.
///
/// # Errors
/// Connection errors.
pub async fn look(client: &Client, scripts: &[&Script]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut seen = Seen::default();
    let mut asked = Asked::default();
    for script in scripts {
        // A replacement later in the same file still comes before anybody calls.
        seen.replaced(script);
        for statement in script.statements() {
            // What goes together does not need each other.
            seen.dropped(statement);
            for part in &statement.parts {
                for loss in losses(client, part.at, &part.operation).await? {
                    let mut found = Vec::new();
                    if !loss.renamed {
                        found.extend(catalog::dependents(client, &loss).await?);
                    }
                    // Texts find what the script puts in its place.
                    if !seen.makes(script, &loss.target) {
                        found.extend(texts(client, &loss, &mut asked, &mut verdict.blind).await?);
                    }
                    verdict.dependents.extend(
                        found
                            .into_iter()
                            .filter(|(name, _)| !seen.handles(name, &loss.target))
                            .map(|(name, why)| Dependent {
                                name,
                                why,
                                loss: loss.what(),
                                file: script.file.clone(),
                                at: loss.at,
                                place: Place::of(&script.text, loss.at),
                            }),
                    );
                }
            }
        }
    }
    verdict
        .dependents
        .dedup_by(|a, b| a.name == b.name && a.loss == b.loss);
    Ok(verdict)
}

/// What is read once for all losses.
#[derive(Default)]
struct Asked {
    routines: Option<Vec<routines::Routine>>,
    queries: Option<Vec<queries::Query>>,
}

/// Routines' bodies and applications' queries.
async fn texts(
    client: &Client,
    loss: &Loss,
    asked: &mut Asked,
    blind: &mut Vec<String>,
) -> Result<Vec<(String, String)>> {
    let visible = catalog::visible(client, &loss.target).await?;
    if asked.routines.is_none() {
        asked.routines = Some(routines::read(client).await?);
    }
    if asked.queries.is_none() {
        asked.queries = Some(queries::read(client, blind).await?);
    }
    let routines = asked.routines.iter().flatten();
    let mut found: Vec<_> = routines.filter_map(|r| r.depends(loss, &visible)).collect();
    let queries = asked.queries.iter().flatten();
    found.extend(queries.filter_map(|q| q.depends(loss, &visible)));
    Ok(found)
}

/// What an operation takes away of what is there now.
async fn losses(client: &Client, at: usize, operation: &Operation) -> Result<Vec<Loss>> {
    let relation = async |name: &Name, renamed: bool| -> Result<Vec<Loss>> {
        Ok(catalog::relation(client, name)
            .await?
            .map(|(oid, name)| Loss {
                target: Target::Table {
                    schema: name.schema,
                    name: name.name,
                },
                renamed,
                oid,
                number: 0,
                at,
            })
            .into_iter()
            .collect())
    };
    let column = async |table: &Name, column: &str, renamed: bool| -> Result<Vec<Loss>> {
        Ok(catalog::column(client, table, column)
            .await?
            .map(|(oid, number, table)| Loss {
                target: Target::Column {
                    schema: table.schema,
                    table: table.name,
                    column: column.to_owned(),
                },
                renamed,
                oid,
                number,
                at,
            })
            .into_iter()
            .collect())
    };
    match operation {
        Operation::DropColumn {
            table,
            column: name,
            ..
        } => column(table, name, false).await,
        Operation::RenameColumn { table, from, .. } => column(table, from, true).await,
        Operation::Drop { kind, name, .. } => match kind {
            ObjectKind::Routine => catalog::routines(client, name, false, at).await,
            ObjectKind::Schema => catalog::schema(client, &name.name, at).await,
            kind if is_relation(*kind) => relation(name, false).await,
            _ => Ok(Vec::new()),
        },
        Operation::Rename {
            kind, from: name, ..
        }
        | Operation::SetSchema { kind, name, .. } => match kind {
            ObjectKind::Routine => catalog::routines(client, name, true, at).await,
            kind if is_relation(*kind) => relation(name, true).await,
            _ => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    }
}

fn is_relation(kind: ObjectKind) -> bool {
    matches!(
        kind,
        ObjectKind::Table
            | ObjectKind::ForeignTable
            | ObjectKind::View
            | ObjectKind::MaterializedView
    )
}

/// What the scripts have dropped or replaced so far.
#[derive(Default)]
struct Seen {
    dropped: Vec<Name>,
    /// Views and routines with a new definition, and its text.
    replaced: Vec<(Name, String)>,
}

impl Seen {
    fn replaced(&mut self, script: &Script) {
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

    fn dropped(&mut self, statement: &Statement) {
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

    /// Whether the same script puts something of that name in the place of what it
    /// renames, such as a view under the old name.
    fn makes(&self, script: &Script, target: &Target) -> bool {
        let Target::Table { schema, name } = target else {
            return false;
        };
        script
            .statements()
            .flat_map(|s| &s.parts)
            .any(|p| match &p.operation {
                Operation::CreateView { view: made, .. }
                | Operation::CreateTable { table: made, .. } => made.may_be(schema, name),
                Operation::Rename { from, to, .. } => {
                    to == name && from.schema.as_ref().is_none_or(|s| s == schema)
                }
                _ => false,
            })
    }

    /// Whether the scripts deal with a dependent: `kind:schema.name…`.
    fn handles(&self, dependent: &str, target: &Target) -> bool {
        let identity = dependent.split_once(':').map_or(dependent, |(_, n)| n);
        let identity = identity.split('(').next().unwrap_or(identity);
        // `constraint:schema.table.name` has three parts; the last one is the name.
        let parts: Vec<String> = token::tokens(identity)
            .iter()
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
