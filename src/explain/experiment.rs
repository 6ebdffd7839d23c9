//! Candidates made for real, one after the other, and the query run with each.
//!
//! A candidate lives inside a transaction that is rolled back. What is kept for good is
//! committed on a throwaway server; in the given database it is made again in every
//! transaction.

mod choose;
mod weigh;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::{GenericClient, Transaction};

use super::candidate::Candidate;
use super::laboratory::{Laboratory, Place};
use super::name;
use super::plan::Plan;
use super::run::{self, Effort};
use super::statement::{Mode, Statement};
use crate::error::{Context, Error, Result};
use crate::pg::{QualifiedName, quote};

pub use choose::{Search, Step};

/// Something that could be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    Index(Candidate),
    /// Extended statistics of columns that depend on each other.
    Statistics {
        #[serde(skip)]
        table: QualifiedName,
        columns: Vec<String>,
    },
}

impl Change {
    #[must_use]
    pub fn table(&self) -> &QualifiedName {
        match self {
            Self::Index(candidate) => &candidate.table,
            Self::Statistics { table, .. } => table,
        }
    }

    /// For people.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Index(candidate) => candidate.label(),
            Self::Statistics { table, columns } => {
                format!("{table} statistics of {}", columns.join(", "))
            }
        }
    }

    /// The statements that make it under a name.
    fn make(&self, name: &str) -> Vec<String> {
        match self {
            Self::Index(candidate) => {
                let mut statements = vec![candidate.create(name)];
                // An expression has no statistics before the next ANALYZE.
                if candidate.keys.iter().any(|k| k.sql.starts_with('(')) {
                    statements.push(format!("analyze {}", candidate.table.sql()));
                }
                statements
            }
            Self::Statistics { table, columns } => vec![
                self.create_statistics(name, table, columns),
                format!("analyze {}", table.sql()),
            ],
        }
    }

    fn create_statistics(&self, name: &str, table: &QualifiedName, columns: &[String]) -> String {
        let columns: Vec<_> = columns.iter().map(|c| quote(c)).collect();
        format!(
            "CREATE STATISTICS {}.{} (ndistinct, dependencies, mcv) ON {} FROM {}",
            quote(&table.schema),
            quote(name),
            columns.join(", "),
            table.sql()
        )
    }

    fn unmake(&self, name: &str) -> String {
        let schema = quote(&self.table().schema);
        match self {
            Self::Index(_) => format!("drop index {schema}.{}", quote(name)),
            Self::Statistics { table, .. } => {
                format!(
                    "drop statistics {schema}.{}; analyze {}",
                    quote(name),
                    table.sql()
                )
            }
        }
    }

    /// What its name begins and ends with.
    #[must_use]
    pub fn stem(&self) -> (String, &'static str) {
        match self {
            Self::Index(candidate) => candidate.stem(),
            Self::Statistics { table, .. } => (table.name.clone(), "_stats"),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Index(candidate) => candidate.weight(),
            Self::Statistics { .. } => 0,
        }
    }
}

/// How the query did with one more change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Run: the median of warm runs.
    Measured { ms: f64, pages: f64 },
    /// A plan for any parameters, which cannot be run: the planner's cost.
    Weighed { cost: f64 },
    /// The planner chose another way.
    NotUsed,
    /// Not faster by any means: stopped when it took longer than without.
    Slower,
    /// It could not be made.
    Failed { reason: String },
}

/// One change, tried.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    pub change: Change,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Bytes of the index.
    pub bytes: f64,
    /// Milliseconds to build it.
    pub build_ms: f64,
}

impl Trial {
    /// Milliseconds, or cost where nothing can be run; lower is better.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Measured { ms, .. } => Some(ms),
            Outcome::Weighed { cost } => Some(cost),
            _ => None,
        }
    }
}

/// How the query does as things are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Milliseconds, or cost where nothing can be run.
    pub score: f64,
    pub pages: f64,
}

/// Tries changes for one query.
pub struct Experiment<'a> {
    pub laboratory: &'a mut Laboratory,
    pub statement: &'a Statement,
    pub effort: Effort,
    /// What was decided on, each under its name.
    pub kept: Vec<(String, Change)>,
    pub progress: &'a (dyn Fn(String) + Sync),
}

/// The name that a change has while it is tried.
const NAME: &str = "crossfade_explain_trial";

impl Experiment<'_> {
    /// The query with what was kept so far.
    ///
    /// # Errors
    /// What the server says; 57014 when it takes longer than allowed.
    pub async fn baseline(&mut self) -> Result<Sample> {
        let (statement, effort) = (self.statement, self.effort);
        let tx = self.begin().await?;
        run::limit(&tx, effort.timeout).await?;
        let sample = sample(&tx, statement, effort).await?;
        tx.rollback().await?;
        Ok(sample)
    }

    /// A transaction in which everything that was kept exists.
    ///
    /// # Errors
    /// What the server says.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        let statements: Vec<String> = match self.laboratory.place {
            Place::Throwaway => Vec::new(),
            Place::Here => self
                .kept
                .iter()
                .flat_map(|(name, change)| change.make(name))
                .collect(),
        };
        let tx = self.laboratory.client.transaction().await?;
        for statement in statements {
            tx.batch_execute(&statement)
                .await
                .context("making what was found to help")?;
        }
        Ok(tx)
    }

    /// One change on top of what was kept. `beat` is the score it has to come below.
    ///
    /// # Errors
    /// When the connection breaks; all else is an [`Outcome`].
    pub async fn attempt(&mut self, change: &Change, beat: f64) -> Result<Trial> {
        (self.progress)(format!("trying {}", change.label()));
        let limit = patience(beat).min(self.effort.timeout);
        let trial = self.attempt_within(change, limit).await?;
        if trial.outcome == Outcome::Slower && run::may_be_chance(limit) {
            return self.attempt_within(change, limit).await;
        }
        Ok(trial)
    }

    async fn attempt_within(&mut self, change: &Change, limit: Duration) -> Result<Trial> {
        let (statement, effort) = (self.statement, self.effort);
        let tx = self.begin().await?;
        let started = Instant::now();
        let mut trial = Trial {
            change: change.clone(),
            outcome: Outcome::NotUsed,
            bytes: 0.0,
            build_ms: 0.0,
        };
        trial.outcome = match inside(&tx, statement, effort, &mut trial, started, limit).await {
            Ok(outcome) => outcome,
            Err(e) if e.is_sqlstate("57014") => Outcome::Slower,
            Err(e) if e.sqlstate.is_some() => Outcome::Failed { reason: e.message },
            Err(e) => return Err(e),
        };
        tx.rollback().await?;
        Ok(trial)
    }

    /// Keeps a change from now on.
    ///
    /// # Errors
    /// What the server says.
    pub async fn keep(&mut self, change: Change) -> Result<()> {
        let schema = &change.table().schema;
        let others = |name: &str| self.kept.iter().any(|(n, _)| n == name);
        let name = name::free(&self.laboratory.client, schema, change.stem(), others).await?;
        if self.laboratory.place == Place::Throwaway {
            for statement in change.make(&name) {
                self.laboratory.client.batch_execute(&statement).await?;
            }
        }
        self.kept.push((name, change));
        Ok(())
    }

    /// Takes away what was kept, to see how it was without.
    ///
    /// # Errors
    /// What the server says.
    pub async fn take_away(&mut self) -> Result<Vec<(String, Change)>> {
        let kept = std::mem::take(&mut self.kept);
        if self.laboratory.place == Place::Throwaway {
            for (name, change) in &kept {
                self.laboratory
                    .client
                    .batch_execute(&change.unmake(name))
                    .await?;
            }
        }
        Ok(kept)
    }

    /// The query with all that was kept but one; `None` where it is much slower.
    async fn without(&mut self, place: usize, beat: f64) -> Result<Option<f64>> {
        let limit = patience(beat).min(self.effort.timeout);
        let found = self.without_within(place, limit).await?;
        if found.is_none() && run::may_be_chance(limit) {
            return self.without_within(place, limit).await;
        }
        Ok(found)
    }

    async fn without_within(&mut self, place: usize, limit: Duration) -> Result<Option<f64>> {
        let (statement, effort) = (self.statement, self.effort);
        let one = self.kept.remove(place);
        let drop = match self.laboratory.place {
            Place::Throwaway => one.1.unmake(&one.0),
            Place::Here => String::new(),
        };
        let found = async {
            let tx = self.begin().await?;
            tx.batch_execute(&drop).await?;
            run::limit(&tx, limit).await?;
            let found = sample(&tx, statement, effort).await;
            tx.rollback().await?;
            found
        }
        .await;
        self.kept.insert(place, one);
        match found {
            Ok(found) => Ok(Some(found.score)),
            Err(e) if e.is_sqlstate("57014") => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Keeps one no longer.
    async fn give_up(&mut self, place: usize) -> Result<()> {
        let (name, change) = self.kept.remove(place);
        if self.laboratory.place == Place::Throwaway {
            let client = &self.laboratory.client;
            client.batch_execute(&change.unmake(&name)).await?;
        }
        Ok(())
    }
}

/// The work of an attempt, whose failures are outcomes.
async fn inside(
    tx: &Transaction<'_>,
    statement: &Statement,
    effort: Effort,
    trial: &mut Trial,
    started: Instant,
    limit: Duration,
) -> Result<Outcome> {
    let change = trial.change.clone();
    for sql in change.make(NAME) {
        tx.batch_execute(&sql).await?;
    }
    trial.build_ms = started.elapsed().as_secs_f64() * 1000.0;
    let plan = statement.explain(tx, Mode::Estimated).await?;
    if let Change::Index(candidate) = &change {
        let (names, bytes) = indexes(tx, &candidate.table.schema).await?;
        trial.bytes = bytes;
        if !uses(&plan, &names) {
            return Ok(Outcome::NotUsed);
        }
    }
    if !statement.can_run() {
        return Ok(Outcome::Weighed { cost: cost(&plan) });
    }
    run::limit(tx, limit).await?;
    let found = sample(tx, statement, effort).await?;
    Ok(Outcome::Measured {
        ms: found.score,
        pages: found.pages,
    })
}

/// Runs the query for the median of its warm times.
async fn sample(
    client: &impl GenericClient,
    statement: &Statement,
    effort: Effort,
) -> Result<Sample> {
    if !statement.can_run() {
        let plan = statement.explain(client, Mode::Estimated).await?;
        return Ok(Sample {
            score: cost(&plan),
            pages: 0.0,
        });
    }
    let first = statement.explain(client, Mode::Run).await?;
    let runs = effort.runs_of(first.total_ms().unwrap_or(0.0));
    let mut times = Vec::new();
    let mut pages = 0.0;
    for _ in 0..runs.max(1) {
        let run = statement.explain(client, Mode::Run).await?;
        times.push(run.total_ms().unwrap_or(0.0));
        pages = run.root().blocks().map_or(0.0, |(hit, read)| hit + read);
    }
    times.sort_by(f64::total_cmp);
    Ok(Sample {
        score: times[times.len() / 2],
        pages,
    })
}

/// What takes longer than this, when it was to beat that, need not be run to its end. The
/// second is for a machine that has other things to do as well.
fn patience(beat: f64) -> Duration {
    Duration::from_secs_f64((beat * 1.5 + 1000.0) / 1000.0)
}

fn cost(plan: &Plan) -> f64 {
    plan.root().number("Total Cost").unwrap_or(f64::MAX)
}

/// The trial's index, its partitions' too, and their bytes.
async fn indexes(tx: &Transaction<'_>, schema: &str) -> Result<(Vec<String>, f64)> {
    let rows = tx
        .query(
            "with top as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                          where n.nspname = $1 and c.relname = $2), \
                  tree as (select oid from top union select t.relid::oid from top, pg_partition_tree(top.oid) t) \
             select c.relname::text, pg_relation_size(c.oid)::float8 from tree join pg_class c on c.oid = tree.oid",
            &[&schema, &NAME],
        )
        .await
        .map_err(Error::from)?;
    Ok((
        rows.iter().map(|r| r.get(0)).collect(),
        rows.iter().map(|r| r.get::<_, f64>(1)).sum(),
    ))
}

/// Whether a plan has one of these indexes in it.
fn uses(plan: &Plan, names: &[String]) -> bool {
    plan.nodes
        .iter()
        .filter_map(|n| n.text("Index Name"))
        .any(|used| names.iter().any(|n| n == used))
}
