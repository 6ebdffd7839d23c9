//! The order of the findings, and which say what another says better.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::finding::{Finding, Object};

/// Of the most harmful ones, at most so many of one rule: the others are like them.
const ALIKE: usize = 3;

/// A finding of the first rule makes those of the others superfluous where all they are
/// about is among what it is about.
const SAYS_BETTER: &[(&str, &[&str])] = &[
    (
        "mixed-timestamps",
        &["time-as-text", "time-as-number", "timestamp-without-zone"],
    ),
    ("reference-type-mismatch", &["same-name-different-type"]),
];

/// The worst first, without what is said better elsewhere.
#[must_use]
pub fn rank(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept = without_leftovers(findings);
    let covered: Vec<(&'static str, HashSet<Object>)> = kept
        .iter()
        .map(|f| (f.rule, f.objects.iter().cloned().collect()))
        .collect();
    let better = |finding: &Finding| {
        SAYS_BETTER.iter().any(|(better, worse)| {
            worse.contains(&finding.rule)
                && covered.iter().any(|(rule, objects)| {
                    rule == better && finding.objects.iter().all(|o| objects.contains(o))
                })
        })
    };
    kept.retain(|f| !better(f));
    kept.sort_by(order);
    kept
}

/// What is wrong inside of a table that should be dropped does not matter.
fn without_leftovers(findings: Vec<Finding>) -> Vec<Finding> {
    let leftovers: HashSet<String> = findings
        .iter()
        .filter(|f| f.rule == "orphan-table")
        .filter_map(|f| Some(f.objects.first()?.to_string()))
        .collect();
    let inside = |f: &Finding| {
        let table = f.objects.first().and_then(Object::of_table);
        f.rule != "orphan-table"
            && !f.each
            && table.is_some_and(|t| leftovers.contains(&t.to_string()))
    };
    findings.into_iter().filter(|f| !inside(f)).collect()
}

fn order(a: &Finding, b: &Finding) -> Ordering {
    let weight = |f: &Finding| f.harm * f64::from(f.confidence.percent()) / 100.0;
    b.severity
        .cmp(&a.severity)
        .then_with(|| weight(b).total_cmp(&weight(a)))
        .then_with(|| a.title.cmp(&b.title))
}

/// The places of the `count` findings that matter most, not too many of one rule.
#[must_use]
pub fn top(findings: &[Finding], count: usize) -> Vec<usize> {
    let mut of_rule: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    let mut passed = Vec::new();
    for (place, finding) in findings.iter().enumerate() {
        let seen = of_rule.entry(finding.rule).or_default();
        if *seen < ALIKE {
            *seen += 1;
            chosen.push(place);
        } else {
            passed.push(place);
        }
        if chosen.len() == count {
            break;
        }
    }
    // With few rules at work, their other findings fill the list.
    let room = count - chosen.len();
    chosen.extend(passed.into_iter().take(room));
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::finding::{Category, Severity};
    use crate::pg::QualifiedName;

    fn finding(rule: &'static str, severity: Severity, harm: f64, columns: &[&str]) -> Finding {
        let table = QualifiedName::new("s", "t");
        columns.iter().fold(
            Finding::new(
                rule,
                Category::Type,
                severity,
                format!("{rule} {columns:?}"),
            )
            .harm(harm),
            |f, c| f.on(Object::column(&table, c)),
        )
    }

    #[test]
    fn severity_comes_first_and_harm_second() {
        let ranked = rank(vec![
            finding("a", Severity::Low, 9.0, &["x"]),
            finding("b", Severity::High, 1.0, &["x"]),
            finding("c", Severity::High, 2.0, &["x"]),
        ]);
        let rules: Vec<_> = ranked.iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["c", "b", "a"]);
    }

    #[test]
    fn what_is_said_better_elsewhere_is_left_out() {
        let ranked = rank(vec![
            finding("mixed-timestamps", Severity::High, 1.0, &["x", "y"]),
            finding("time-as-text", Severity::High, 1.0, &["x"]),
            finding("time-as-text", Severity::High, 1.0, &["z"]),
            finding("timestamp-without-zone", Severity::Low, 1.0, &["y", "z"]),
        ]);
        assert_eq!(ranked.len(), 3, "{ranked:?}");
    }

    #[test]
    fn the_ten_that_matter_are_not_ten_times_the_same() {
        let mut findings: Vec<_> = (0..20)
            .map(|_| finding("a", Severity::High, 5.0, &["x"]))
            .collect();
        findings.push(finding("b", Severity::Low, 1.0, &["x"]));
        assert_eq!(top(&findings, 5), [0, 1, 2, 3, 20]);
        assert_eq!(top(&findings[..2], 10), [0, 1]);
    }
}
