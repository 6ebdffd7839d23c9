//! Which columns refer to which keys: the declared foreign keys, and those that only the
//! data and the names tell of.
//!
//! No sign is enough alone. Small integers are among any table's ids, names lie, and a
//! foreign system's ids look like one's own. So the signs are weighed together, and the
//! values are compared by the server, first some, then all.

mod candidate;
mod score;

use std::collections::HashMap;

use crate::error::Error;
use crate::pg::QualifiedName;

use super::probe::Probe;
use super::profile::Profile;
use super::schema::{Database, Table};
pub use candidate::{Candidate, polymorphic};
pub use score::{Evidence, Inclusion};

/// From columns to a key.
#[derive(Debug, Clone)]
pub struct Reference {
    pub table: QualifiedName,
    pub columns: Vec<String>,
    pub referenced: QualifiedName,
    pub referenced_columns: Vec<String>,
    pub basis: Basis,
}

#[derive(Debug, Clone)]
pub enum Basis {
    /// The foreign key of this name.
    Declared(String),
    Inferred(Evidence),
}

impl Reference {
    #[must_use]
    pub fn is_declared(&self) -> bool {
        matches!(self.basis, Basis::Declared(_))
    }
}

/// The declared foreign keys of all designed tables.
#[must_use]
pub fn declared(database: &Database) -> Vec<Reference> {
    let of_table = |t: &Table| {
        t.foreign_keys
            .iter()
            .map(|f| Reference {
                table: t.name.clone(),
                columns: f.columns.clone(),
                referenced: f.referenced.clone(),
                referenced_columns: f.referenced_columns.clone(),
                basis: Basis::Declared(f.name.clone()),
            })
            .collect::<Vec<_>>()
    };
    database.designed().flat_map(of_table).collect()
}

/// A comparison that the server did not make: of which column, and why.
pub type Refused = (String, Error);

/// Finds the references that nobody declared. What the server does not answer in time is
/// judged by its sample and told as refused; `said` hears of every step.
pub async fn infer(
    database: &Database,
    profiles: &HashMap<u32, Profile>,
    probe: &Probe,
    said: &mut dyn FnMut(usize, usize),
) -> (Vec<Reference>, Vec<Refused>) {
    let mut refused = Vec::new();
    let candidates = candidate::propose(database, profiles);
    let total = candidates.len();
    let mut judged: Vec<(Candidate, Evidence)> = Vec::new();
    for (done, mut candidate) in candidates.into_iter().enumerate() {
        said(done, total);
        let answer = match probe.numbers(&candidate.sampled_sql()).await {
            Ok(answer) => answer,
            Err(e) => {
                refused.push((candidate.about(), e));
                continue;
            }
        };
        if candidate.nameless_integer {
            candidate.surprise = candidate.surprise.min(score::surprise(&answer));
        }
        let inclusion = Inclusion::sampled(&answer);
        if let Some(evidence) = score::judge(&candidate, inclusion) {
            judged.push((candidate, evidence));
        }
    }
    let mut choice = Choice::default();
    for (candidate, mut evidence) in best_first(judged) {
        // The next best is asked for where the whole table contradicts the best.
        if choice.is_made(&candidate) {
            continue;
        }
        match probe.numbers(&candidate.whole_sql()).await {
            Ok(answer) => match score::judge(&candidate, Inclusion::whole(&answer)) {
                Some(confirmed) => evidence = confirmed,
                None => continue,
            },
            Err(e) => refused.push((candidate.about(), e)),
        }
        choice.make(candidate, evidence);
    }
    (choice.references(), refused)
}

/// Keys of several columns take their columns before a single one of them is looked at.
fn best_first(mut judged: Vec<(Candidate, Evidence)>) -> Vec<(Candidate, Evidence)> {
    judged.sort_by(|a, b| {
        (b.0.columns.len(), b.1.score)
            .partial_cmp(&(a.0.columns.len(), a.1.score))
            .unwrap_or(std::cmp::Ordering::Equal)
            // The same score: the table with fewer rows is the one that is referred to.
            .then(a.0.referenced_rows.cmp(&b.0.referenced_rows))
            .then_with(|| a.0.referenced.cmp(&b.0.referenced))
    });
    judged
}

/// A column refers to one table.
#[derive(Default)]
struct Choice {
    taken: Vec<(QualifiedName, String)>,
    kept: Vec<(Candidate, Evidence)>,
}

impl Choice {
    fn is_made(&self, candidate: &Candidate) -> bool {
        let taken = |c: &String| self.taken.contains(&(candidate.table.clone(), c.clone()));
        // The tenant's column is part of many composite references; it is the last
        // column that makes them different.
        if candidate.columns.len() > 1 {
            candidate.columns.iter().all(taken)
        } else {
            candidate.columns.iter().any(taken)
        }
    }

    fn make(&mut self, candidate: Candidate, evidence: Evidence) {
        let columns = candidate.columns.iter().cloned();
        self.taken
            .extend(columns.map(|c| (candidate.table.clone(), c)));
        self.kept.push((candidate, evidence));
    }

    fn references(mut self) -> Vec<Reference> {
        // A copied attribute of a table that is referred to by its key is a copy, not a
        // second reference.
        let by_key: Vec<_> = self
            .kept
            .iter()
            .filter(|(c, _)| c.to_primary_key)
            .map(|(c, _)| (c.table.clone(), c.referenced.clone()))
            .collect();
        self.kept.retain(|(c, _)| {
            c.to_primary_key
                || c.declared_elsewhere.is_empty()
                    && !by_key.contains(&(c.table.clone(), c.referenced.clone()))
        });
        self.kept
            .sort_by(|a, b| (&a.0.table, &a.0.columns).cmp(&(&b.0.table, &b.0.columns)));
        let reference = |(candidate, evidence): (Candidate, Evidence)| Reference {
            table: candidate.table,
            columns: candidate.columns,
            referenced: candidate.referenced,
            referenced_columns: candidate.referenced_columns,
            basis: Basis::Inferred(evidence),
        };
        self.kept.into_iter().map(reference).collect()
    }
}
