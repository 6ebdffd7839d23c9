//! The drop guard: what still depends on a column, table or routine that a migration
//! drops or renames.
//!
//! PostgreSQL itself knows views and foreign keys, and refuses. It does not know the
//! bodies of functions, which break when they are called next; it says nothing of
//! indexes and checks that vanish with a column; and it cannot know what applications
//! ask. All of that is looked up before anything is run.

mod catalog;
mod path;
mod queries;
mod routines;
mod seen;

use std::fmt::{self, Write as _};

use tokio_postgres::Client;

use self::path::Path;
use self::seen::{Made, Seen};
use super::script::Script;
use crate::error::{Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::sql::reference::Target;
use crate::sql::{Name, ObjectKind, Operation, Place};

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
            Target::Column { schema, table, .. } => {
                let table = QualifiedName::new(schema, table);
                format!("{verb} {table}.{}", self.column())
            }
            Target::Routine { schema, name } => {
                format!("{verb} {}()", QualifiedName::new(schema, name))
            }
        }
    }

    /// The column's name, for people; empty where it is none.
    fn column(&self) -> String {
        match &self.target {
            Target::Column { column, .. } => Name {
                schema: None,
                name: column.clone(),
            }
            .to_string(),
            _ => String::new(),
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
        // What a script has SET is not for the next one.
        let mut path = Path::default();
        for statement in script.statements() {
            path.see(&statement.text);
            // What goes together does not need each other.
            seen.dropped(statement);
            for part in &statement.parts {
                for loss in losses(client, part.at, &part.operation, &path).await? {
                    let found =
                        found(client, &loss, script, &mut asked, &mut verdict.blind).await?;
                    let kept = found
                        .into_iter()
                        .filter(|f| !seen.handles(&f.name, &f.target));
                    verdict.dependents.extend(kept.map(|f| Dependent {
                        name: f.name,
                        why: f.why,
                        loss: f.loss,
                        file: script.file.clone(),
                        at: loss.at,
                        place: Place::of(&script.text, loss.at),
                    }));
                }
            }
        }
    }
    verdict
        .dependents
        .dedup_by(|a, b| a.name == b.name && a.loss == b.loss);
    Ok(verdict)
}

/// A dependent of one loss, before anybody looked whether the script deals with it.
struct Found {
    name: String,
    why: String,
    loss: String,
    target: Target,
}

/// What depends on what is lost: by the catalog, by the texts of routines and queries.
async fn found(
    client: &Client,
    loss: &Loss,
    script: &Script,
    asked: &mut Asked,
    blind: &mut Vec<String>,
) -> Result<Vec<Found>> {
    let as_found = |of: &Loss, words: &str, list: Vec<(String, String)>| -> Vec<Found> {
        let each = list.into_iter().map(|(name, why)| Found {
            name,
            why,
            loss: words.to_owned(),
            target: of.target.clone(),
        });
        each.collect()
    };
    let what = loss.what();
    let mut all = Vec::new();
    if !loss.renamed {
        all.extend(as_found(
            loss,
            &what,
            catalog::dependents(client, loss).await?,
        ));
    }
    // Texts find what the script puts in its place, as far as that has the same columns.
    let columns = match seen::made(client, script, &loss.target).await? {
        Made::Nothing => {
            let list = texts(client, loss, asked, blind).await?;
            all.extend(as_found(loss, &what, list));
            return Ok(all);
        }
        Made::Whole => return Ok(all),
        Made::Columns(columns) => columns,
    };
    for column in catalog::columns(client, loss.oid).await? {
        if columns.contains(&column) {
            continue;
        }
        let Target::Table { schema, name } = &loss.target else {
            continue;
        };
        let missing = Loss {
            target: Target::Column {
                schema: schema.clone(),
                table: name.clone(),
                column,
            },
            ..loss.clone()
        };
        let words = format!(
            "{what}, and what takes its name has no {}",
            missing.column()
        );
        let list = texts(client, &missing, asked, blind).await?;
        all.extend(as_found(&missing, &words, list));
    }
    Ok(all)
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
async fn losses(
    client: &Client,
    at: usize,
    operation: &Operation,
    path: &Path,
) -> Result<Vec<Loss>> {
    let relation = async |name: &Name, renamed: bool| -> Result<Vec<Loss>> {
        let name = path.relation(client, name).await?;
        let found = catalog::relation(client, &name).await?;
        let loss = found.map(|(oid, name)| Loss {
            target: Target::Table {
                schema: name.schema,
                name: name.name,
            },
            renamed,
            oid,
            number: 0,
            at,
        });
        Ok(loss.into_iter().collect())
    };
    // Partitions and children lose theirs with it.
    let column = async |table: &Name, column: &str, renamed: bool| -> Result<Vec<Loss>> {
        let table = path.relation(client, table).await?;
        let found = catalog::column(client, &table, column, renamed).await?;
        let losses = found.into_iter().map(|(oid, number, table)| Loss {
            target: Target::Column {
                schema: table.schema,
                table: table.name,
                column: column.to_owned(),
            },
            renamed,
            oid,
            number,
            at,
        });
        Ok(losses.collect())
    };
    let routine = async |name: &Name, renamed: bool| -> Result<Vec<Loss>> {
        let name = path.routine(client, name).await?;
        catalog::routines(client, &name, renamed, at).await
    };
    match operation {
        Operation::DropColumn {
            table,
            column: name,
            ..
        } => column(table, name, false).await,
        Operation::RenameColumn { table, from, .. } => column(table, from, true).await,
        Operation::Drop { kind, name, .. } => match kind {
            ObjectKind::Routine => routine(name, false).await,
            ObjectKind::Schema => catalog::schema(client, &name.name, at).await,
            kind if is_relation(*kind) => relation(name, false).await,
            _ => Ok(Vec::new()),
        },
        Operation::Rename {
            kind, from: name, ..
        }
        | Operation::SetSchema { kind, name, .. } => match kind {
            ObjectKind::Routine => routine(name, true).await,
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
