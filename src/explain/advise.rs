//! From a query that was looked at to advice that was proven: experiments, the price of
//! what helps, and the query before and after.

use serde::Serialize;

use super::candidate::{self, Candidate, width};
use super::catalog::Catalog;
use super::examine::Examined;
use super::experiment::{Change, Experiment, Search};
use super::laboratory::{Laboratory, Place};
use super::plan::Plan;
use super::rewrite::Proven;
use super::run::{self, Effort, Equality, Fingerprint};
use super::statement::{Mode, Statement};
use super::usage;
use super::writes::{self, WriteCost};
use crate::error::Result;
use crate::pg::QualifiedName;

/// Other words that get experiments of their own.
const MOST_REWORDINGS: usize = 2;

/// What came of the experiments.
#[derive(Debug)]
pub struct Advice {
    pub place: Place,
    pub search: Search,
    pub recommended: Vec<Recommended>,
    pub proof: Option<Proof>,
    /// Tables whose fresh statistics alone changed the plan.
    pub analyze: Option<FreshStatistics>,
    /// Other words for the query, each with the indexes that serve it best.
    pub rewritten: Vec<Rewritten>,
    pub sampled: Option<f64>,
    pub notes: Vec<String>,
}

/// An index for a partition, which becomes a part of the one above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub table: QualifiedName,
    pub name: String,
    /// The schema and name of the index that it belongs to.
    pub of: QualifiedName,
    /// It has rows of its own, and no partitions.
    pub leaf: bool,
}

/// How an index is made in the given database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Way {
    /// At once, beside its writers.
    #[default]
    Concurrently,
    /// Of each partition beside its writers, the upper ones first.
    Parts(Vec<Part>),
    /// In one go, while writers wait.
    Whole,
}

/// A change that is worth its price.
#[derive(Debug, Clone, Serialize)]
pub struct Recommended {
    pub change: Change,
    /// The name that it is to be given.
    pub name: String,
    #[serde(skip)]
    pub way: Way,
    pub before: f64,
    pub after: f64,
    pub bytes: f64,
    pub build_ms: f64,
    pub writes: Option<WriteCost>,
    /// Existing indexes that it makes superfluous, with their scans so far.
    pub replaces: Vec<(String, i64)>,
    /// Why writes may suffer more than was measured.
    pub warnings: Vec<String>,
    /// A much smaller index that is not much slower: what it is, its bytes, its score.
    pub leaner: Option<(String, f64, f64)>,
}

/// The plan differs with statistics that are fresh.
#[derive(Debug, Clone, Serialize)]
pub struct FreshStatistics {
    pub tables: Vec<String>,
    /// Milliseconds as it was found, and with fresh statistics in the laboratory.
    pub before_ms: f64,
    pub after_ms: f64,
}

/// A rewording with indexes of its own.
#[derive(Debug, Clone, Serialize)]
pub struct Rewritten {
    pub rule: &'static str,
    pub text: String,
    /// Without any index, and with those that follow.
    pub alone_ms: f64,
    pub with_ms: f64,
    pub indexes: Vec<Recommended>,
}

/// The query without and with what is recommended, in one place.
#[derive(Debug)]
pub struct Proof {
    pub before: Side,
    pub after: Side,
    pub equality: Equality,
}

/// One side of a proof.
#[derive(Debug, Clone)]
pub struct Side {
    pub plan: Plan,
    /// The first run after the server's buffers were emptied; the operating system may
    /// still have had the files in memory.
    pub cold_ms: Option<f64>,
    /// Sorted.
    pub warm_ms: Vec<f64>,
    pub pages: f64,
    pub fingerprint: Option<Fingerprint>,
}

impl Side {
    #[must_use]
    pub fn median(&self) -> f64 {
        self.warm_ms
            .get(self.warm_ms.len() / 2)
            .copied()
            .unwrap_or(0.0)
    }
}

impl Proof {
    /// How many times faster it is.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.before.median() / self.after.median().max(0.001)
    }
}

/// Experiments in a laboratory, and proves what they find.
///
/// # Errors
/// What the server says.
pub async fn advise(
    laboratory: &mut Laboratory,
    statement: &Statement,
    examined: &Examined,
    rewordings: &[Proven],
    effort: Effort,
    progress: &(dyn Fn(String) + Sync),
) -> Result<Advice> {
    // Statistics of the copy: the same rows, freshly analyzed.
    let catalog = laboratory.catalog.clone();
    let mut candidates = candidate::enumerate(&examined.uses, &catalog, &statement.text);
    let too_wide = fit(laboratory, &catalog, &mut candidates, effort).await?;
    let statistics = dependent(examined);
    let mut experiment = Experiment {
        laboratory,
        statement,
        effort,
        kept: Vec::new(),
        progress,
    };
    let analyze = fresh(&mut experiment, examined).await?;
    let search = experiment.search(&candidates, statistics).await?;
    let mut recommended: Vec<Recommended> = experiment
        .kept
        .iter()
        .zip(&search.steps)
        .map(|((name, change), step)| price(&catalog, name, change, step))
        .collect();
    let proof = if recommended.is_empty() || !statement.can_run() {
        None
    } else {
        Some(prove(&mut experiment, examined).await?)
    };
    let (place, sampled) = (experiment.laboratory.place, experiment.laboratory.sampled);
    if proof.is_some() {
        // The proof has taken it away already.
        experiment.kept.clear();
    }
    experiment.take_away().await?;
    let now = search
        .steps
        .last()
        .map_or(search.baseline.score, |s| s.after);
    let mut rewritten = Vec::new();
    for proven in rewordings.iter().take(MOST_REWORDINGS) {
        progress(format!("trying other words ({})", proven.rule));
        rewritten.extend(reword(laboratory, statement, proven, now, effort).await?);
    }
    for change in &mut recommended {
        if matches!(change.change, Change::Index(_)) {
            progress(format!(
                "measuring what writes to {} pay",
                change.change.table()
            ));
            change.writes = writes::measure(laboratory, &[&change.change]).await?;
        }
    }
    let mut notes: Vec<String> = laboratory.notes.iter().cloned().chain(too_wide).collect();
    if !laboratory.hypothetical && search.trials.len() < search.enumerated {
        notes.push(format!(
            "without HypoPG on this machine no planner could be asked about the {} candidates: those that fit \
             the query best were built",
            search.enumerated
        ));
    }
    Ok(Advice {
        place,
        search,
        recommended,
        proof,
        analyze,
        rewritten,
        sampled,
        notes,
    })
}

/// Leaves those that a B-tree can hold; returns what to say about the others.
async fn fit(
    laboratory: &mut Laboratory,
    catalog: &Catalog,
    candidates: &mut Vec<Candidate>,
    effort: Effort,
) -> Result<Vec<String>> {
    let here = laboratory.place == Place::Here;
    let mut tx = laboratory.client.transaction().await?;
    let said = width::fit(&mut tx, catalog, candidates, effort.timeout, here).await?;
    tx.rollback().await?;
    Ok(said)
}

/// The best that can be had for other words; `None` where the query as it is, with its own
/// indexes, is about as good.
async fn reword(
    laboratory: &mut Laboratory,
    statement: &Statement,
    proven: &Proven,
    now: f64,
    effort: Effort,
) -> Result<Option<Rewritten>> {
    let other = statement.rewritten(proven.text.clone());
    let catalog = laboratory.catalog.clone();
    let tx = laboratory.client.transaction().await?;
    tx.batch_execute(usage::NORMAL_FORM).await?;
    let normal = other.explain(&tx, Mode::Estimated).await?;
    tx.rollback().await?;
    let uses = usage::read(&normal, &catalog);
    let mut candidates = candidate::enumerate(&uses, &catalog, &other.text);
    fit(laboratory, &catalog, &mut candidates, effort).await?;
    let mut experiment = Experiment {
        laboratory,
        statement: &other,
        effort,
        kept: Vec::new(),
        progress: &|_| (),
    };
    let search = experiment.search(&candidates, Vec::new()).await?;
    let indexes: Vec<Recommended> = experiment
        .kept
        .iter()
        .zip(&search.steps)
        .map(|((name, change), step)| price(&catalog, name, change, step))
        .collect();
    experiment.take_away().await?;
    let with_ms = search
        .steps
        .last()
        .map_or(search.baseline.score, |s| s.after);
    let better = with_ms < now * 0.8 && now - with_ms > 0.05;
    Ok((better && !indexes.is_empty()).then(|| Rewritten {
        rule: proven.rule,
        text: proven.text.clone(),
        alone_ms: search.baseline.score,
        with_ms,
        indexes,
    }))
}

/// Extended statistics for tables whose rows were estimated wrongly by conditions on
/// several columns.
fn dependent(examined: &Examined) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for finding in examined.findings.iter().filter(|f| f.rule == "misestimate") {
        let node = &examined.plan.nodes[finding.node];
        let Some(relation) = node.relation() else {
            continue;
        };
        for used in &examined.uses {
            let columns: Vec<String> = usage::equal_columns(used).into_iter().take(4).collect();
            let name = format!("{}.{}", used.table.schema, used.table.name);
            if name != relation || columns.len() < 2 {
                continue;
            }
            let change = Change::Statistics {
                table: used.table.clone(),
                columns,
            };
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes
}

/// Whether the plan is another one once the tables are analyzed.
async fn fresh(
    experiment: &mut Experiment<'_>,
    examined: &Examined,
) -> Result<Option<FreshStatistics>> {
    let tables: Vec<&QualifiedName> = examined
        .catalog
        .tables
        .iter()
        .filter(|t| matches!(t.kind, 'r' | 'm') && t.stale().is_some())
        .map(|t| &t.name)
        .collect();
    let (Some(measured), false) = (&examined.measured, tables.is_empty()) else {
        return Ok(None);
    };
    (experiment.progress)("trying fresh statistics".to_owned());
    let (statement, effort, place) = (
        experiment.statement,
        experiment.effort,
        experiment.laboratory.place,
    );
    let tx = experiment.begin().await?;
    if place == Place::Here {
        for table in &tables {
            tx.batch_execute(&format!("analyze {}", table.sql()))
                .await?;
        }
    }
    run::limit(&tx, effort.timeout).await?;
    let plan = statement.explain(&tx, Mode::Estimated).await?;
    let changed = shape(&plan) != shape(&examined.plan);
    let after = if changed {
        run::measure(&tx, statement, effort)
            .await
            .ok()
            .map(|m| m.median())
    } else {
        None
    };
    tx.rollback().await?;
    let before_ms = measured.median();
    Ok(after
        .filter(|after| *after < before_ms * 0.8)
        .map(|after_ms| FreshStatistics {
            tables: tables.iter().map(ToString::to_string).collect(),
            before_ms,
            after_ms,
        }))
}

/// A plan without its numbers.
fn shape(plan: &Plan) -> Vec<String> {
    plan.nodes
        .iter()
        .map(|n| format!("{} {}", n.depth, n.title()))
        .collect()
}

fn price(
    catalog: &Catalog,
    name: &str,
    change: &Change,
    step: &super::experiment::Step,
) -> Recommended {
    let mut recommended = Recommended {
        change: change.clone(),
        name: name.to_owned(),
        way: Way::default(),
        before: step.before,
        after: step.after,
        bytes: step.trial.bytes,
        build_ms: step.trial.build_ms,
        writes: None,
        replaces: Vec::new(),
        warnings: Vec::new(),
        leaner: step
            .leaner
            .as_ref()
            .map(|t| (t.change.label(), t.bytes, t.score().unwrap_or(step.before))),
    };
    let table = catalog.tables.iter().find(|t| t.name == *change.table());
    if let (Change::Index(candidate), Some(table)) = (change, table) {
        recommended.replaces = candidate
            .replaces(table)
            .into_iter()
            .map(|index| (index.name.clone(), index.scans))
            .collect();
        recommended.warnings.extend(candidate.risk());
    }
    recommended
}

/// Warnings that need the given database's own counters, which a copy does not have.
pub fn warn(recommended: &mut [Recommended], catalog: &Catalog) {
    for change in recommended {
        let table = catalog
            .tables
            .iter()
            .find(|t| t.name == *change.change.table());
        let (Change::Index(candidate), Some(table)) = (&change.change, table) else {
            continue;
        };
        for (name, scans) in &mut change.replaces {
            if let Some(index) = table.indexes.iter().find(|i| i.name == *name) {
                *scans = index.scans;
            }
        }
        if let Some(hot) = table.hot.filter(|hot| *hot > 0.2) {
            change.warnings.push(format!(
                "{} of the updates of {} need no index entries now (HOT); those that change {} will",
                super::words::percent(hot),
                table.name,
                covered(candidate).join(", ")
            ));
        }
    }
}

fn covered(candidate: &Candidate) -> Vec<String> {
    let mut columns: Vec<String> = candidate
        .keys
        .iter()
        .flat_map(|k| k.columns.clone())
        .collect();
    columns.extend(candidate.include.iter().cloned());
    columns
}

/// Measures with what was kept, takes it away, and measures without.
async fn prove(experiment: &mut Experiment<'_>, examined: &Examined) -> Result<Proof> {
    (experiment.progress)("measuring after".to_owned());
    let after = side(experiment).await?;
    let kept = experiment.take_away().await?;
    (experiment.progress)("measuring before".to_owned());
    let before = side(experiment).await?;
    experiment.kept = kept;
    let equality = match (&before.fingerprint, &after.fingerprint) {
        (Some(before), Some(after)) => before.compare(after),
        _ => Equality::NotCompared,
    };
    // In the given database others write: what is there without the change is then not what
    // was there when it was looked at first, and no fault of the change.
    let written = experiment.laboratory.place == Place::Here
        && before.fingerprint.is_some()
        && before.fingerprint != examined.fingerprint;
    let equality = match equality {
        Equality::Different if written => Equality::NotCompared,
        equality => equality,
    };
    Ok(Proof {
        before,
        after,
        equality,
    })
}

async fn side(experiment: &mut Experiment<'_>) -> Result<Side> {
    let cold = experiment.laboratory.chill().await?;
    let (statement, effort) = (experiment.statement, experiment.effort);
    let tx = experiment.begin().await?;
    run::limit(&tx, effort.timeout).await?;
    let measured = run::measure(&tx, statement, effort).await?;
    let fingerprint = if statement.writes {
        None
    } else {
        run::limit(&tx, effort.timeout * 3).await?;
        Some(run::fingerprint(&tx, statement).await?)
    };
    tx.rollback().await?;
    Ok(Side {
        plan: measured.plan.clone(),
        cold_ms: cold.then_some(measured.first_ms),
        warm_ms: measured.warm_ms.clone(),
        pages: measured.pages,
        fingerprint,
    })
}
