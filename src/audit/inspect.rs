//! An audit from end to end: catalog, samples, references, rules, questions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::facts::{Facts, Thresholds};
use super::finding::Finding;
use super::probe::Probe;
use super::profile::{Profile, profile};
use super::question::{Claim, Question};
use super::rank::rank;
use super::reference::{self, Reference};
use super::rule::RULES;
use super::schema::{Database, Table, Unread};
use super::selection::Selection;
use super::{catalog, statement};
use crate::error::{Error, Kind, Result};
use crate::pg::ConnInfo;

/// What a user may set.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these schemas; empty means all but the server's own.
    pub schemas: Vec<String>,
    pub selection: Selection,
    /// Rows looked at in each table.
    pub sample_rows: u32,
    /// The most that one statement may take on the server.
    pub statement_timeout: Duration,
    pub thresholds: Thresholds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schemas: Vec::new(),
            selection: Selection::default(),
            sample_rows: 5_000,
            statement_timeout: Duration::from_secs(30),
            thresholds: Thresholds::default(),
        }
    }
}

/// What an audit found.
#[derive(Debug)]
pub struct Audit {
    pub database: Database,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Declared and inferred.
    pub references: Vec<Reference>,
    /// Everything that was left out or not answered in time.
    pub unread: Vec<Unread>,
    pub sampled_tables: usize,
    pub sampled_rows: usize,
    /// `pg_stat_statements` could be read.
    pub statements: bool,
    pub took: Duration,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub stage: &'static str,
    pub done: usize,
    pub total: usize,
    /// The object at hand.
    pub about: &'a str,
}

/// Looks at a database; writes nothing.
///
/// # Errors
/// Those of connecting and of reading the catalog. A table that cannot be read, and a
/// question that is not answered in time, is no error: it is named in [`Audit::unread`].
pub async fn inspect(
    info: &ConnInfo,
    options: &Options,
    said: &mut dyn FnMut(Step<'_>),
) -> Result<Audit> {
    let began = Instant::now();
    said(Step {
        stage: "catalog",
        done: 0,
        total: 1,
        about: "",
    });
    let probe = Probe::open(info, options.statement_timeout).await?;
    let database = catalog::read(probe.client(), &options.schemas).await?;
    missing_schemas(&options.schemas, &database)?;
    let mut unread = database.unread.clone();
    let profiles = sample(&database, &probe, options.sample_rows, &mut unread, said).await?;
    let mut references = reference::declared(&database);
    let mut comparing = |done, total| {
        said(Step {
            stage: "references",
            done,
            total,
            about: "",
        });
    };
    let (inferred, refused) = reference::infer(&database, &profiles, &probe, &mut comparing).await;
    references.extend(inferred);
    for (object, error) in refused {
        left_out(&mut unread, object, error)?;
    }
    let statements = statement::read(probe.client(), &database).await?;
    let facts = Facts {
        database,
        profiles,
        references,
        statements,
        thresholds: options.thresholds,
    };
    let claims: Vec<Claim> = RULES
        .iter()
        .filter(|r| options.selection.wants_rule(r.id) || options.selection.rules.is_empty())
        .flat_map(|r| (r.check)(&facts))
        .collect();
    let findings = settle(claims, &probe, &mut unread, said).await?;
    let mut findings = rank(findings);
    findings.retain(|f| options.selection.wants(f));
    Ok(Audit {
        sampled_tables: facts.profiles.len(),
        sampled_rows: facts.profiles.values().map(|p| p.rows).sum(),
        statements: facts.statements.is_some(),
        database: facts.database,
        findings,
        references: facts.references,
        unread,
        took: began.elapsed(),
    })
}

/// A misspelt schema would be an audit without findings.
fn missing_schemas(wanted: &[String], database: &Database) -> Result<()> {
    for schema in wanted {
        if !database.tables.iter().any(|t| &t.name.schema == schema) {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "there is no table in a schema `{schema}` of database {}",
                    database.name
                ),
            )
            .remedy("check --schema; names are as in the catalog, without quotes"));
        }
    }
    Ok(())
}

/// Tables whose rows are worth a look.
fn is_sampled(table: &Table) -> bool {
    table.is_designed()
        && table.readable
        && !table.row_security
        && table.columns.iter().any(|c| c.readable)
}

/// Samples are digested one table at a time: only one is in memory.
async fn sample(
    database: &Database,
    probe: &Probe,
    rows: u32,
    unread: &mut Vec<Unread>,
    said: &mut dyn FnMut(Step<'_>),
) -> Result<HashMap<u32, Profile>> {
    let tables: Vec<&Table> = database.tables.iter().filter(|t| is_sampled(t)).collect();
    let mut profiles = HashMap::new();
    for (done, table) in tables.iter().enumerate() {
        let name = table.name.to_string();
        said(Step {
            stage: "samples",
            done,
            total: tables.len(),
            about: &name,
        });
        match probe.sample(table, rows).await {
            Ok(sample) => {
                profiles.insert(table.oid, profile(table, &sample));
            }
            Err(e) => left_out(unread, name, e)?,
        }
    }
    Ok(profiles)
}

async fn settle(
    claims: Vec<Claim>,
    probe: &Probe,
    unread: &mut Vec<Unread>,
    said: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Finding>> {
    let total = claims
        .iter()
        .filter(|c| matches!(c, Claim::Open(_)))
        .count();
    let mut done = 0;
    let mut findings = Vec::new();
    for claim in claims {
        match claim {
            Claim::Settled(finding) => findings.push(*finding),
            Claim::Open(Question { about, sql, decide }) => {
                said(Step {
                    stage: "questions",
                    done,
                    total,
                    about: &about,
                });
                done += 1;
                let answer = match probe.numbers(&sql).await {
                    Ok(answer) => Some(answer),
                    Err(e) => {
                        left_out(unread, about, e)?;
                        None
                    }
                };
                findings.extend(decide(answer.as_ref()));
            }
        }
    }
    Ok(findings)
}

/// One table's trouble is noted; a broken connection is everybody's.
fn left_out(unread: &mut Vec<Unread>, object: String, error: Error) -> Result<()> {
    if error.kind == Kind::Connection {
        return Err(error.context(format!("looking at {object}")));
    }
    let reason = match error.sqlstate.as_deref() {
        Some("57014") => "not answered within the statement timeout: see --timeout".to_owned(),
        Some("55P03") => "another session holds an ACCESS EXCLUSIVE lock on it".to_owned(),
        Some("42501") => "the role may not read it".to_owned(),
        Some("42P01" | "42703") => "it was changed meanwhile".to_owned(),
        _ => error.message,
    };
    unread.push(Unread { object, reason });
    Ok(())
}
