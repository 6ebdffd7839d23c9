//! The report as one page that needs nothing but itself.

use std::fmt::Write as _;

use super::Report;
use super::draw::{escape, icicle, table};
use crate::explain::advise::{Advice, Proof, Recommended};
use crate::explain::experiment::Outcome;
use crate::explain::laboratory::Place;
use crate::explain::plan::Plan;
use crate::explain::run::Equality;
use crate::explain::words::{bytes, count, percent, time};

const STYLE: &str = include_str!("page.css");

/// A plan alone, drawn.
#[must_use]
pub fn page(plan: &Plan) -> String {
    drawn("plan", plan, plan.total_ms().unwrap_or(0.0))
}

impl Report<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut body = String::new();
        let _ = write!(
            body,
            "<header><h1>crossfade explain</h1><p class=\"verdict\">{}</p></header>",
            escape(&self.verdict())
        );
        let proof = self.advice.and_then(|a| a.proof.as_ref());
        if let Some(proof) = proof {
            figures(&mut body, proof);
        }
        let _ = write!(
            body,
            "<section><h2>Query</h2><pre>{}</pre>{}</section>",
            escape(&self.statement.text),
            self.taken()
        );
        self.why(&mut body);
        if let Some(advice) = self.advice {
            advised(&mut body, advice);
        }
        self.other_words(&mut body);
        match proof {
            Some(proof) => {
                let _ = write!(
                    body,
                    "<section><h2>Before and after</h2><div class=\"sides\">{}{}</div></section>",
                    drawn("before", &proof.before.plan, proof.before.median()),
                    drawn("after", &proof.after.plan, proof.after.median())
                );
            }
            None => {
                let _ = write!(
                    body,
                    "<section><h2>Plan</h2>{}</section>",
                    drawn(
                        "as it is",
                        &self.examined.plan,
                        self.examined.plan.total_ms().unwrap_or(0.0)
                    )
                );
            }
        }
        if let Some(advice) = self.advice {
            tried(&mut body, advice);
        }
        let notes = self.all_notes();
        if !notes.is_empty() {
            let items: String = notes
                .iter()
                .map(|n| format!("<li>{}</li>", escape(n)))
                .collect();
            let _ = write!(body, "<section><h2>Notes</h2><ul>{items}</ul></section>");
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>crossfade explain</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
        )
    }

    fn taken(&self) -> String {
        self.examined.measured.as_ref().map_or_else(String::new, |m| {
            format!(
                "<p class=\"dim\">{} in the given database (median of {}; the first run took {}), {} pages</p>",
                time(m.median()),
                m.warm_ms.len(),
                time(m.first_ms),
                count(m.pages)
            )
        })
    }

    fn why(&self, body: &mut String) {
        let _ = write!(body, "<section><h2>Why it takes this long</h2>");
        if self.examined.findings.is_empty() {
            let _ = write!(
                body,
                "<p>No rule finds anything: the time is spread over work that has to be done.</p>"
            );
        }
        for finding in &self.examined.findings {
            let remedies: String = finding
                .remedies
                .iter()
                .map(|r| format!("<li>{}</li>", escape(r)))
                .collect();
            let share = if finding.share > 0.0 {
                percent(finding.share)
            } else {
                "?".to_owned()
            };
            let _ = write!(
                body,
                "<article><div class=\"share\"><b>{share}</b><span class=\"meter\"><i style=\"width:{:.0}%\"></i></span></div>\
                 <div><h3>{} <code>{}</code></h3><p class=\"dim\">{}</p><p>{}</p><ul>{remedies}</ul></div></article>",
                finding.share * 100.0,
                escape(&finding.title),
                finding.rule,
                escape(&finding.at),
                escape(&finding.why)
            );
        }
        body.push_str("</section>");
    }

    fn other_words(&self, body: &mut String) {
        let good: Vec<_> = self.rewrites.iter().filter(|r| r.helps()).collect();
        if good.is_empty() {
            return;
        }
        body.push_str("<section><h2>Other words, the same result</h2>");
        for proven in good {
            let _ = write!(
                body,
                "<h3>{} <code>{}</code></h3><p>{} → <b>{}</b>; {} rows, {}. Equal in general if {}.</p><pre>{}</pre>",
                escape(&proven.what),
                proven.rule,
                time(proven.before_ms),
                time(proven.after_ms),
                proven.rows,
                equality(proven.equality),
                escape(proven.equal_if),
                escape(&proven.text)
            );
        }
        body.push_str("</section>");
    }
}

fn equality(equality: Equality) -> &'static str {
    match equality {
        Equality::Identical => "identical, in the same order",
        Equality::SameRows => "identical rows, in another order",
        Equality::Different => "different: the query leaves its result open",
        Equality::NotCompared => "not compared",
    }
}

fn figures(body: &mut String, proof: &Proof) {
    let cold = match (proof.before.cold_ms, proof.after.cold_ms) {
        (Some(before), Some(after)) => format!(
            "<div><span>cold</span><b>{}</b> → <b>{}</b></div>",
            time(before),
            time(after)
        ),
        _ => String::new(),
    };
    let rows = proof.after.fingerprint.as_ref().map_or(0, |f| f.rows);
    let _ = write!(
        body,
        "<div class=\"figures\"><div class=\"big\"><span>times as fast</span><b>{:.1} ×</b></div>\
         <div><span>warm, median</span><b>{}</b> → <b>{}</b></div>{cold}\
         <div><span>pages</span><b>{}</b> → <b>{}</b></div>\
         <div><span>result, {rows} rows</span><b>{}</b></div></div>",
        proof.ratio(),
        time(proof.before.median()),
        time(proof.after.median()),
        count(proof.before.pages),
        count(proof.after.pages),
        equality(proof.equality)
    );
}

fn drawn(title: &str, plan: &Plan, ms: f64) -> String {
    let planned = if plan.root().total_ms.is_some() {
        time(ms)
    } else {
        "not run".to_owned()
    };
    format!(
        "<div class=\"side\"><h3>{title} <span class=\"dim\">{planned}</span></h3>{}{}</div>",
        icicle(plan),
        table(plan)
    )
}

fn advised(body: &mut String, advice: &Advice) {
    let place = match advice.place {
        Place::Throwaway => "on a throwaway server with a copy of the tables",
        Place::Here => "in this database, rolled back",
    };
    if let Some(fresh) = &advice.analyze {
        let _ = write!(
            body,
            "<section><h2>Fresh statistics</h2><p>{} → <b>{}</b></p><pre>ANALYZE {};</pre></section>",
            time(fresh.before_ms),
            time(fresh.after_ms),
            escape(&fresh.tables.join(", "))
        );
    }
    if advice.recommended.is_empty() {
        return;
    }
    let _ = write!(
        body,
        "<section><h2>Advice</h2><p class=\"dim\">Measured {place}.</p>"
    );
    for change in &advice.recommended {
        recommended(body, change, advice.proof.is_some());
    }
    for rewritten in &advice.rewritten {
        let indexes: String = rewritten
            .indexes
            .iter()
            .map(|r| format!("{};\n", crate::explain::migration::up(r)))
            .collect();
        let _ = write!(
            body,
            "<h3>In other words, with an index of its own <code>{}</code></h3><p>{} → <b>{}</b></p><pre>{};\n\n{}</pre>",
            rewritten.rule,
            time(rewritten.alone_ms),
            time(rewritten.with_ms),
            escape(&rewritten.text),
            escape(&indexes)
        );
    }
    body.push_str("</section>");
}

fn recommended(body: &mut String, change: &Recommended, measured: bool) {
    let gain = if measured {
        format!("{} → <b>{}</b>", time(change.before), time(change.after))
    } else {
        format!(
            "cost {} → <b>{}</b>",
            count(change.before),
            count(change.after)
        )
    };
    let writes = change
        .writes
        .map_or_else(String::new, |w| format!("<li>{}</li>", w.words()));
    let leaner = change
        .leaner
        .as_ref()
        .map_or_else(String::new, |(label, size, score)| {
            format!(
                "<li>leaner: <code>{}</code>, {}, {}</li>",
                escape(label),
                bytes(*size),
                time(*score)
            )
        });
    let warnings: String = change
        .warnings
        .iter()
        .map(|w| format!("<li>{}</li>", escape(w)))
        .collect();
    let replaces: String = change
        .replaces
        .iter()
        .map(|(name, scans)| {
            format!(
                "<li>makes <code>{}</code> superfluous ({scans} scans so far)</li>",
                escape(name)
            )
        })
        .collect();
    let _ = write!(
        body,
        "<pre>{};</pre><ul><li>{gain}</li><li>{}, built in {}</li>{writes}{leaner}{warnings}{replaces}</ul>",
        escape(&crate::explain::migration::up(change)),
        bytes(change.bytes),
        time(change.build_ms)
    );
}

fn tried(body: &mut String, advice: &Advice) {
    if advice.search.trials.is_empty() {
        return;
    }
    let _ = write!(
        body,
        "<section><h2>Tried</h2><p class=\"dim\">{} times, {} candidates</p><table class=\"trials\">",
        advice.search.trials.len(),
        advice.search.enumerated
    );
    for trial in &advice.search.trials {
        let (outcome, class) = match &trial.outcome {
            Outcome::Measured { ms, .. } => (time(*ms), ""),
            Outcome::Weighed { cost } => (format!("cost {}", count(*cost)), ""),
            Outcome::NotUsed => ("not used".to_owned(), "dim"),
            Outcome::Slower => ("not faster".to_owned(), "dim"),
            Outcome::Failed { .. } => ("failed".to_owned(), "dim"),
        };
        let _ = write!(
            body,
            "<tr class=\"{class}\"><td class=\"n\">{outcome}</td><td class=\"n\">{}</td><td><code>{}</code></td></tr>",
            bytes(trial.bytes),
            escape(&trial.change.label())
        );
    }
    body.push_str("</table></section>");
}
