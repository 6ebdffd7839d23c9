//! What is told about one query: for people, for machines, and as a page.

mod draw;
pub mod html;
mod text;
mod tree;

use serde_json::{Value, json};

use super::advise::{Advice, Proof, Side};
use super::examine::Examined;
use super::experiment::Trial;
use super::plan::Plan;
use super::rewrite::Proven;
use super::statement::Statement;
use super::words::time;

/// Everything that was found out.
#[derive(Debug)]
pub struct Report<'a> {
    pub statement: &'a Statement,
    pub examined: &'a Examined,
    /// `None` where nothing was tried.
    pub advice: Option<&'a Advice>,
    pub rewrites: &'a [Proven],
    /// Why nothing was tried, and what else a reader should know.
    pub notes: Vec<String>,
    /// Files that were written.
    pub files: Vec<String>,
}

impl Report<'_> {
    /// The result in one sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(advice) = self.advice else {
            return match self.examined.findings.first() {
                Some(finding) => format!("mostly: {} ({})", finding.title, finding.at),
                None => "nothing stands out".to_owned(),
            };
        };
        if let Some(proof) = &advice.proof {
            return format!(
                "{} {}: {} → {} ({:.1} times as fast)",
                advice.recommended.len(),
                if advice.recommended.len() == 1 {
                    "change helps"
                } else {
                    "changes help"
                },
                time(proof.before.median()),
                time(proof.after.median()),
                proof.ratio()
            );
        }
        if !advice.recommended.is_empty() {
            return "the planner expects these changes to help; nothing was run".to_owned();
        }
        let unknown = advice.search.failed().0 > 0;
        let no_index = if unknown {
            "not every index could be tried"
        } else {
            "no index does"
        };
        if advice.analyze.is_some() {
            return format!("ANALYZE alone helps; {no_index}");
        }
        if !advice.rewritten.is_empty() || self.rewrites.iter().any(Proven::helps) {
            return format!("other words for the query help; {no_index} as it stands");
        }
        if advice.search.enumerated == 0 {
            return "nothing helps: no index could serve the query as it is written".to_owned();
        }
        let tries = advice.search.trials.len();
        let candidates = advice.search.enumerated;
        match advice.search.failed() {
            (failed, Some(reason)) if failed == tries => format!(
                "nothing is known of indexes: none of the {failed} that were to be tried could be made ({reason})"
            ),
            (failed, Some(_)) if failed > 0 => format!(
                "nothing that could be tried helps: {candidates} candidates, {tries} tries, of which {failed} \
                 could not be made; none of the others is worth its price"
            ),
            _ => format!(
                "nothing helps: {candidates} candidates, {tries} tries, none is worth its price. The query is at \
                 its best for this schema, as far as B-tree, GIN and BRIN indexes go"
            ),
        }
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let examined = self.examined;
        let advice = self.advice.map(|a| {
            json!({
                "measured_on": a.place,
                "sampled": a.sampled,
                "candidates": a.search.enumerated,
                "baseline_ms": a.search.baseline.score,
                "recommended": a.recommended.iter().map(|r| json!({
                    "sql": self.sql_of(r),
                    "change": r.change, "name": r.name, "before": r.before, "after": r.after,
                    "bytes": r.bytes, "build_ms": r.build_ms, "writes": r.writes,
                    "replaces": r.replaces.iter().map(|(n, s)| json!({"index": n, "scans": s})).collect::<Vec<_>>(),
                    "warnings": r.warnings,
                    "leaner": r.leaner.as_ref().map(|(label, bytes, score)| json!({"index": label, "bytes": bytes, "score": score})),
                })).collect::<Vec<_>>(),
                "analyze": a.analyze,
                "rewritten": a.rewritten,
                "trials": a.search.trials.iter().map(trial_json).collect::<Vec<_>>(),
                "proof": a.proof.as_ref().map(proof_json),
                "notes": a.notes,
            })
        });
        json!({
            "query": self.statement.text,
            "verdict": self.verdict(),
            "executed": examined.measured.is_some(),
            "first_ms": examined.measured.as_ref().map(|m| m.first_ms),
            "warm_ms": examined.measured.as_ref().map(super::run::Measured::median),
            "pages": examined.measured.as_ref().map(|m| m.pages),
            "result": examined.fingerprint,
            "findings": examined.findings,
            "waits": examined.waits,
            "rewrites": self.rewrites,
            "advice": advice,
            "notes": self.all_notes(),
            "files": self.files,
            "plan": examined.plan.json,
        })
    }

    fn sql_of(&self, r: &super::advise::Recommended) -> String {
        super::migration::up(r)
    }

    fn all_notes(&self) -> Vec<String> {
        let mut notes = self.examined.notes.clone();
        notes.extend(self.notes.iter().cloned());
        notes.extend(self.advice.iter().flat_map(|a| a.notes.iter().cloned()));
        notes
    }
}

fn trial_json(trial: &Trial) -> Value {
    let mut value = json!(trial);
    value["label"] = json!(trial.change.label());
    value
}

fn proof_json(proof: &Proof) -> Value {
    let side = |side: &Side| {
        json!({
            "cold_ms": side.cold_ms, "warm_ms": side.median(), "runs_ms": side.warm_ms,
            "pages": side.pages, "result": side.fingerprint, "plan": side.plan.json,
        })
    };
    json!({
        "before": side(&proof.before), "after": side(&proof.after),
        "ratio": proof.ratio(), "result": proof.equality,
    })
}

/// What shares are taken of where a plan was not run: its cost.
fn extent(plan: &Plan, id: usize) -> f64 {
    let node = &plan.nodes[id];
    match plan.root().total_ms {
        Some(_) => node.total_ms.unwrap_or(0.0),
        None => node.number("Total Cost").unwrap_or(0.0),
    }
}
