//! Which candidates to try first: by what the planner would expect of them, where HypoPG
//! can tell, else by how well they fit what the query asks for.
//!
//! HypoPG is used on the throwaway server only: it has brought servers down.

use super::{Change, Experiment, Outcome, Trial, cost};
use crate::error::Result;
use crate::explain::candidate::{Candidate, Method};
use crate::explain::statement::Mode;
use crate::pg::QualifiedName;

/// How many are tried of those that the planner was asked about.
const MOST_WEIGHED: usize = 8;
/// Of those that look best without asking, in any case.
const MOST_PROMISING: usize = 3;
/// Of those that HypoPG cannot tell about.
const MOST_UNKNOWN: usize = 5;
/// A plan that is cheaper by less than this is no reason to build an index.
const CHEAPER: f64 = 0.97;

impl Experiment<'_> {
    /// The candidates worth building, best first; at most `most`. `known` is what earlier
    /// rounds found.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn shortlist(
        &mut self,
        pool: &[Candidate],
        most: usize,
        known: &[Trial],
    ) -> Result<Vec<Change>> {
        // Once a table has its index, the others' turn has come.
        let (served, bare): (Vec<&Candidate>, Vec<&Candidate>) =
            pool.iter().partition(|c| self.is_served(&c.table));
        if !self.laboratory.hypothetical {
            let chosen = in_turn(&bare, most)
                .into_iter()
                .chain(served.into_iter().take(MOST_PROMISING));
            return Ok(chosen.cloned().map(Change::Index).collect());
        }
        (self.progress)(format!("weighing {} candidates", pool.len()));
        let now = self.cost_now().await?;
        let mut weighed: Vec<(f64, &Candidate)> = Vec::new();
        let mut unknown: Vec<&Candidate> = Vec::new();
        for candidate in pool {
            match self.weigh(candidate).await? {
                Weight::Cost(cost) if cost < now * CHEAPER => weighed.push((cost, candidate)),
                Weight::Cost(_) | Weight::Unused => {}
                Weight::Unknown => unknown.push(candidate),
            }
        }
        weighed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.weight().cmp(&b.1.weight())));
        let mut chosen: Vec<&Candidate> =
            weighed.iter().take(MOST_WEIGHED).map(|(_, c)| *c).collect();
        // Costs mistake what statistics do not know: what looks best stays in, once.
        let unused = |c: &Candidate| {
            known.iter().any(|t| {
                t.outcome == Outcome::NotUsed && matches!(&t.change, Change::Index(i) if i == c)
            })
        };
        let unasked = unknown.into_iter().take(MOST_UNKNOWN);
        let promising = bare.into_iter().take(MOST_PROMISING);
        for candidate in unasked.chain(promising).filter(|c| !unused(c)) {
            if !chosen.contains(&candidate) {
                chosen.push(candidate);
            }
        }
        chosen.truncate(most);
        Ok(chosen.into_iter().cloned().map(Change::Index).collect())
    }

    /// Whether a table was given an index.
    pub(super) fn is_served(&self, table: &QualifiedName) -> bool {
        self.kept
            .iter()
            .any(|(_, kept)| matches!(kept, Change::Index(i) if i.table == *table))
    }

    /// The cost of the plan with what was kept.
    async fn cost_now(&mut self) -> Result<f64> {
        let statement = self.statement;
        let tx = self.begin().await?;
        let plan = statement.explain(&tx, Mode::Estimated).await?;
        tx.rollback().await?;
        Ok(cost(&plan))
    }

    async fn weigh(&mut self, candidate: &Candidate) -> Result<Weight> {
        if candidate.method == Method::Gin {
            return Ok(Weight::Unknown);
        }
        let statement = self.statement;
        let tx = self.begin().await?;
        let definition = format!("create index {}", candidate.shape());
        let made = tx
            .query(
                "select indexname from hypopg_create_index($1)",
                &[&definition],
            )
            .await;
        let weight = match made {
            Ok(rows) => {
                let name: String = rows.first().map(|r| r.get(0)).unwrap_or_default();
                match statement.explain(&tx, Mode::Estimated).await {
                    Ok(plan)
                        if plan
                            .nodes
                            .iter()
                            .any(|n| n.text("Index Name") == Some(&name)) =>
                    {
                        Weight::Cost(cost(&plan))
                    }
                    // It is not believed about partial ones: servers use some that it
                    // leaves out, and they are small to build.
                    Ok(_) if candidate.predicate.is_some() => Weight::Unknown,
                    Ok(_) => Weight::Unused,
                    Err(e) if e.sqlstate.is_some() => Weight::Unknown,
                    Err(e) => return Err(e),
                }
            }
            // What HypoPG cannot imagine is found out by building it.
            Err(e) if e.as_db_error().is_some() => Weight::Unknown,
            Err(e) => return Err(e.into()),
        };
        tx.rollback().await?;
        self.laboratory
            .client
            .batch_execute("select hypopg_reset()")
            .await?;
        Ok(weight)
    }
}

/// The most promising of each table, each table in its turn: which of the tables costs
/// the time is not known before something was tried.
fn in_turn<'a>(pool: &[&'a Candidate], most: usize) -> Vec<&'a Candidate> {
    let mut tables: Vec<Vec<&'a Candidate>> = Vec::new();
    for &candidate in pool {
        match tables.iter_mut().find(|t| t[0].table == candidate.table) {
            Some(table) => table.push(candidate),
            None => tables.push(vec![candidate]),
        }
    }
    let longest = tables.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|i| tables.iter().filter_map(move |t| t.get(i).copied()))
        .take(most)
        .collect()
}

enum Weight {
    Cost(f64),
    Unused,
    Unknown,
}
