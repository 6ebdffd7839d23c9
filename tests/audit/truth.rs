//! What an expert says of a fixture, and how the audit compares with it.
//!
//! Every finding counts: one that is not planted is a false alarm, decoy or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crossfade::audit::Audit;

/// A rule and the objects that the finding must name, as findings show them.
pub type Planted = (&'static str, &'static str);

#[derive(Default)]
struct Score {
    planted: usize,
    found: usize,
    reported: usize,
    false_alarms: Vec<String>,
    missed: Vec<String>,
}

/// One line of a finding: what it is about.
fn lines(audit: &Audit) -> Vec<(&'static str, BTreeSet<String>)> {
    audit
        .findings
        .iter()
        .flat_map(|f| {
            let names: Vec<_> = f.objects.iter().map(ToString::to_string).collect();
            if f.each {
                names
                    .into_iter()
                    .map(|n| (f.rule, BTreeSet::from([n])))
                    .collect()
            } else {
                vec![(f.rule, names.into_iter().collect())]
            }
        })
        .collect()
}

/// Compares, prints the table of precision and recall, and gives what is wrong.
pub fn compare(name: &str, audit: &Audit, planted: &[Planted]) -> Vec<String> {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for rule in crossfade::audit::rule::RULES {
        scores.entry(rule.id).or_default();
    }
    let mut open: Vec<&Planted> = planted.iter().collect();
    for (rule, objects) in lines(audit) {
        let score = scores.entry(rule).or_default();
        score.reported += 1;
        let place = open
            .iter()
            .position(|(r, names)| *r == rule && names.split(' ').all(|n| objects.contains(n)));
        match place {
            Some(place) => {
                open.remove(place);
            }
            // The same object can break two conventions.
            None if planted
                .iter()
                .any(|(r, n)| *r == rule && objects.contains(*n)) =>
            {
                score.reported -= 1;
            }
            None => score.false_alarms.push(format!("{objects:?}")),
        }
    }
    for (rule, names) in planted {
        let score = scores.entry(rule).or_default();
        score.planted += 1;
        if open.iter().any(|(r, n)| r == rule && n == names) {
            score.missed.push((*names).to_owned());
        } else {
            score.found += 1;
        }
    }
    print(name, &scores);
    let mut wrong = Vec::new();
    for (rule, score) in scores {
        wrong.extend(
            score
                .false_alarms
                .iter()
                .map(|o| format!("{rule}: false alarm {o}")),
        );
        wrong.extend(score.missed.iter().map(|o| format!("{rule}: missed {o}")));
    }
    wrong
}

/// The decoys among what was reported first and foremost: by rule and object.
pub fn fallen_for(audit: &Audit, decoys: &[(&str, &str)]) -> Vec<String> {
    let fell = |(rule, object): &&(&str, &str)| {
        audit.findings.iter().filter(|f| f.rule == *rule).any(|f| {
            let about = if f.each { f.objects.len() } else { 1 };
            f.objects[..about].iter().any(|o| o.to_string() == *object)
        })
    };
    decoys
        .iter()
        .filter(fell)
        .map(|(rule, object)| format!("{rule}: decoy {object}"))
        .collect()
}

fn print(name: &str, scores: &BTreeMap<&str, Score>) {
    let mut text = format!("{name:<28} planted found reported precision recall\n");
    let percent = |part: usize, whole: usize| {
        (part * 100)
            .checked_div(whole)
            .map_or_else(|| "-".to_owned(), |share| format!("{share} %"))
    };
    let (mut planted, mut found, mut reported) = (0, 0, 0);
    for (rule, s) in scores {
        let _ = writeln!(
            text,
            "{rule:<28} {:>7} {:>5} {:>8} {:>9} {:>6}",
            s.planted,
            s.found,
            s.reported,
            percent(s.reported - s.false_alarms.len(), s.reported),
            percent(s.found, s.planted)
        );
        planted += s.planted;
        found += s.found;
        reported += s.reported;
    }
    let alarms: usize = scores.values().map(|s| s.false_alarms.len()).sum();
    let _ = writeln!(
        text,
        "{:<28} {planted:>7} {found:>5} {reported:>8} {:>9} {:>6}",
        "all",
        percent(reported - alarms, reported),
        percent(found, planted)
    );
    println!("{text}");
}
