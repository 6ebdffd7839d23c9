//! The report for a terminal.

use std::fmt::Write as _;

use super::{Report, tree};
use crate::explain::advise::{Advice, Proof, Recommended};
use crate::explain::experiment::{Outcome, Search};
use crate::explain::laboratory::Place;
use crate::explain::run::Equality;
use crate::explain::words::{and, bytes, count, percent, short, time};

const MOST_TRIALS: usize = 12;

impl Report<'_> {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "query     {}", short(&self.statement.text));
        if let Some(measured) = &self.examined.measured {
            let rows = self
                .examined
                .fingerprint
                .as_ref()
                .map_or_else(String::new, |f| {
                    format!(", {} rows", count(as_number(f.rows)))
                });
            let _ = writeln!(
                out,
                "took      {} (median of {}; first {}), {} pages{rows}",
                time(measured.median()),
                measured.warm_ms.len(),
                time(measured.first_ms),
                count(measured.pages)
            );
        }
        let _ = writeln!(out, "verdict   {}", self.verdict());
        self.findings(&mut out);
        let _ = write!(out, "\nplan\n{}", tree::lines(&self.examined.plan));
        if let Some(advice) = self.advice {
            advised(&mut out, advice);
        }
        self.reworded(&mut out);
        let notes = self.all_notes();
        if !notes.is_empty() {
            let _ = writeln!(out, "\nnotes");
            for note in notes {
                let _ = writeln!(out, "  - {note}");
            }
        }
        for file in &self.files {
            let _ = writeln!(out, "wrote     {file}");
        }
        out
    }

    fn findings(&self, out: &mut String) {
        let _ = writeln!(out, "\nwhy");
        if self.examined.findings.is_empty() {
            let _ = writeln!(
                out,
                "  no rule finds anything: the time is spread over work that has to be done"
            );
        }
        for finding in &self.examined.findings {
            let share = if finding.share > 0.0 {
                percent(finding.share)
            } else {
                "?".to_owned()
            };
            let _ = writeln!(out, "  {share:>6}  {}  [{}]", finding.title, finding.rule);
            let _ = writeln!(out, "          at {}", finding.at);
            for line in wrapped(&finding.why) {
                let _ = writeln!(out, "          {line}");
            }
            for remedy in &finding.remedies {
                for (i, line) in wrapped(remedy).into_iter().enumerate() {
                    let _ = writeln!(out, "          {} {line}", if i == 0 { "→" } else { " " });
                }
            }
        }
    }

    fn reworded(&self, out: &mut String) {
        let (good, other): (Vec<_>, Vec<_>) = self.rewrites.iter().partition(|r| r.helps());
        if !good.is_empty() {
            let _ = writeln!(out, "\nother words for it, the same result here");
        }
        for proven in good {
            let order = if proven.equality == Equality::Identical {
                "in the same order"
            } else {
                "in any order"
            };
            let _ = writeln!(
                out,
                "  {}: {} → {}; {} rows, identical {order}; equal in general if {}",
                proven.what,
                time(proven.before_ms),
                time(proven.after_ms),
                count(as_number(proven.rows)),
                proven.equal_if
            );
            for line in proven.text.lines() {
                let _ = writeln!(out, "      {line}");
            }
        }
        if !other.is_empty() {
            let rules: Vec<_> = other.iter().map(|r| r.rule).collect();
            let _ = writeln!(
                out,
                "\nother words that are equal and not faster as things are: {}",
                and(&rules)
            );
        }
    }
}

fn advised(out: &mut String, advice: &Advice) {
    let place = match advice.place {
        Place::Throwaway => "on a throwaway server with a copy of the tables",
        Place::Here => "in this database, rolled back",
    };
    if let Some(fresh) = &advice.analyze {
        let _ = writeln!(
            out,
            "\nfresh statistics change the plan: {} → {}\n  ANALYZE {};",
            time(fresh.before_ms),
            time(fresh.after_ms),
            fresh.tables.join(", ")
        );
    }
    if !advice.recommended.is_empty() {
        let _ = writeln!(out, "\nadvice, measured {place}");
    }
    for (i, change) in advice.recommended.iter().enumerate() {
        recommended(out, i + 1, change, advice.proof.is_some());
    }
    if let Some(proof) = &advice.proof {
        compared(out, proof);
    }
    for rewritten in &advice.rewritten {
        let _ = writeln!(
            out,
            "\nin other words [{}] with indexes of their own: {} → {}",
            rewritten.rule,
            time(rewritten.alone_ms),
            time(rewritten.with_ms)
        );
        for line in rewritten.text.lines() {
            let _ = writeln!(out, "      {line}");
        }
        for change in &rewritten.indexes {
            let sql = crate::explain::migration::up(change).replace('\n', "\n      ");
            let _ = writeln!(out, "      {sql};");
        }
    }
    trials(out, &advice.search);
}

fn recommended(out: &mut String, number: usize, change: &Recommended, measured: bool) {
    let sql = crate::explain::migration::up(change).replace('\n', "\n     ");
    let _ = writeln!(out, "  {number}. {sql};");
    let gain = if measured {
        format!("{} → {}", time(change.before), time(change.after))
    } else {
        format!("cost {} → {}", count(change.before), count(change.after))
    };
    let _ = writeln!(out, "     gain   {gain}");
    if change.bytes > 0.0 {
        let _ = writeln!(
            out,
            "     price  {}, built in {}",
            bytes(change.bytes),
            time(change.build_ms)
        );
    }
    if let Some(writes) = &change.writes {
        let rows = count(writes.rows);
        let _ = writeln!(out, "            {} (over {rows} rows)", writes.words());
    }
    if let (Some((label, size, score)), true) = (&change.leaner, measured) {
        let (size, score) = (bytes(*size), time(*score));
        let _ = writeln!(out, "     leaner {label}: {size}, {score}");
    }
    for warning in &change.warnings {
        let _ = writeln!(out, "            {warning}");
    }
    for (index, scans) in &change.replaces {
        let _ = writeln!(
            out,
            "     makes {index} superfluous ({scans} scans since its statistics were reset)"
        );
    }
}

fn compared(out: &mut String, proof: &Proof) {
    let cold = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), time);
    let (before, after) = (&proof.before, &proof.after);
    let _ = writeln!(out, "\n            {:>12} {:>12}", "before", "after");
    let mut row = |name: &str, before: String, after: String| {
        let _ = writeln!(out, "  {name:<9} {before:>12} {after:>12}");
    };
    row("cold", cold(before.cold_ms), cold(after.cold_ms));
    row("warm", time(before.median()), time(after.median()));
    row("pages", count(before.pages), count(after.pages));
    let rows = |side: &crate::explain::advise::Side| {
        side.fingerprint
            .as_ref()
            .map_or_else(|| "-".to_owned(), |f| count(as_number(f.rows)))
    };
    row("rows", rows(before), rows(after));
    let result = match proof.equality {
        Equality::Identical => "identical, in the same order",
        Equality::SameRows => "identical rows; their order differs where the query leaves it open",
        Equality::Different => {
            "DIFFERENT: the query does not determine its result (ties at a LIMIT, volatile functions)"
        }
        Equality::NotCompared => "not compared",
    };
    let _ = writeln!(out, "  result    {result}");
    let _ = writeln!(out, "\nplan after\n{}", tree::lines(&after.plan).trim_end());
}

fn trials(out: &mut String, search: &Search) {
    let (trials, enumerated) = (&search.trials, search.enumerated);
    if trials.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\ntried     {} times, {enumerated} candidates",
        trials.len()
    );
    for trial in trials.iter().take(MOST_TRIALS) {
        let outcome = match &trial.outcome {
            Outcome::Measured { ms, .. } => time(*ms),
            Outcome::Weighed { cost } => format!("cost {}", count(*cost)),
            Outcome::NotUsed => "not used".to_owned(),
            Outcome::Slower => "not faster".to_owned(),
            Outcome::Failed { .. } => "failed".to_owned(),
        };
        let _ = writeln!(
            out,
            "  {outcome:>10}  {:>8}  {}",
            bytes(trial.bytes),
            short(&trial.change.label())
        );
    }
    if let (n @ 1.., Some(reason)) = search.failed() {
        let _ = writeln!(out, "  {n} could not be made: {reason}");
    }
    if trials.len() > MOST_TRIALS {
        let _ = writeln!(
            out,
            "  … and {} more (--output json has all)",
            trials.len() - MOST_TRIALS
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "shown, not reckoned with")]
fn as_number(rows: i64) -> f64 {
    rows as f64
}

/// Lines of at most 88 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut();
        match line {
            Some(line) if line.chars().count() + word.chars().count() < 88 => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
