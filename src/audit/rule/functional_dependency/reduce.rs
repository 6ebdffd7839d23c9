//! Which of the dependencies that hold are worth a word: one determinant out of several
//! that say the same, and each dependent at the nearest one.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::dependency::{Dependency, names_a_code};
use crate::audit::facts::Facts;
use crate::audit::reference::polymorphic;
use crate::audit::schema::{Table, TypeClass};
use crate::audit::word::words;

/// Digits of the odds against chance, where the two names have nothing in common.
const UNRELATED: f64 = 12.0;
/// What was true at the time stays with the row: it is no copy that could be read
/// elsewhere later.
const SNAPSHOTS: &[&str] = &[
    "shipping",
    "billing",
    "ship",
    "bill",
    "delivery",
    "invoice",
    "snapshot",
    "original",
    "historic",
    "historical",
    "recipient",
    "invoiced",
    "quoted",
    "final",
];

/// Parts of an address follow from each other, more or less: nobody keeps a table of them.
const ADDRESS: &[&str] = &[
    "postal", "postcode", "zip", "plz", "street", "district", "suburb", "city", "town", "place",
    "county", "state", "province", "region", "country",
];

type Decided = BTreeMap<Vec<String>, BTreeSet<String>>;

/// Determinants with their dependents.
pub fn reduce(
    facts: &Facts,
    table: &Table,
    found: &[Dependency],
) -> Vec<(Vec<String>, Vec<String>)> {
    let (single, pairs): (Vec<_>, Vec<_>) = found.iter().partition(|d| d.determinant.len() == 1);
    let mut decides: Decided = BTreeMap::new();
    for d in single.into_iter().filter(|d| is_meant(facts, table, d)) {
        decides
            .entry(d.determinant.clone())
            .or_default()
            .insert(d.dependent.clone());
    }
    let has = |decides: &Decided, x: &str, y: &str| {
        decides
            .get(std::slice::from_ref(&x.to_owned()))
            .is_some_and(|s| s.contains(y))
    };
    // Of columns that decide each other the best identifier speaks for all.
    let names: Vec<String> = decides.keys().flatten().cloned().collect();
    let mut spoken_for = BTreeSet::new();
    for x in &names {
        for y in &names {
            let mutual = x != y && has(&decides, x, y) && has(&decides, y, x);
            if mutual && rank(facts, table, x) < rank(facts, table, y) {
                spoken_for.insert(vec![x.clone()]);
            }
        }
    }
    for x in &spoken_for {
        decides.remove(x);
    }
    let whole = decides.clone();
    let mut reduced = Vec::new();
    for (x, dependents) in &decides {
        let nearer = |y: &String| {
            dependents
                .iter()
                .any(|z| z != y && has(&whole, z, y) && !has(&whole, z, &x[0]))
        };
        let kept: Vec<String> = dependents.iter().filter(|y| !nearer(y)).cloned().collect();
        if !kept.is_empty() {
            reduced.push((x.clone(), in_table_order(table, kept)));
        }
    }
    let known = |y: &str| reduced.iter().any(|(_, ys)| ys.iter().any(|o| o == y));
    let pairs: Vec<&Dependency> = pairs
        .into_iter()
        .filter(|d| !known(&d.dependent) && pair_is_meant(facts, table, d))
        .collect();
    reduced.extend(best_pairs(facts, table, &pairs));
    reduced
}

/// Of the pairs that decide a column, the one of the best identifiers.
fn best_pairs(
    facts: &Facts,
    table: &Table,
    pairs: &[&Dependency],
) -> Vec<(Vec<String>, Vec<String>)> {
    let worth = |d: &Dependency| {
        let mut ranks: Vec<_> = d.determinant.iter().map(|c| rank(facts, table, c)).collect();
        ranks.sort();
        ranks
    };
    let mut best: BTreeMap<&str, &Dependency> = BTreeMap::new();
    for d in pairs {
        let better = best
            .get(d.dependent.as_str())
            .is_none_or(|other| worth(d) > worth(other));
        if better {
            best.insert(&d.dependent, d);
        }
    }
    let mut decides: Decided = BTreeMap::new();
    for (dependent, d) in best {
        decides
            .entry(d.determinant.clone())
            .or_default()
            .insert(dependent.to_owned());
    }
    decides
        .into_iter()
        .map(|(x, ys)| (x, in_table_order(table, ys.into_iter().collect())))
        .collect()
}

/// Two codes together, and what only describes them.
fn pair_is_meant(facts: &Facts, table: &Table, d: &Dependency) -> bool {
    let code = |c: &String| names_a_code(c) || facts.refers(table, c);
    let describes = !names_a_code(&d.dependent)
        && !facts.refers(table, &d.dependent)
        && table
            .column(&d.dependent)
            .is_some_and(|c| c.data_type.class.is_text());
    let y = words(&d.dependent);
    d.determinant.iter().all(code) && describes && !is_snapshot(&y) && !is_state(&y)
}

fn is_snapshot(words: &[String]) -> bool {
    words.iter().any(|w| SNAPSHOTS.contains(&w.as_str()))
}

/// A status is a state of the row, whatever decides it now.
fn is_state(words: &[String]) -> bool {
    const STATES: &[&str] = &[
        "status", "state", "phase", "stage", "currency", "locale", "language",
    ];
    words.last().is_some_and(|w| STATES.contains(&w.as_str()))
}

/// Dependencies that mean something beside holding.
fn is_meant(facts: &Facts, table: &Table, d: &Dependency) -> bool {
    let determinant = &d.determinant[0];
    // What an id refers to and what kind of thing it is go together.
    if polymorphic(table, determinant).is_some_and(|kind| kind.name == d.dependent) {
        return false;
    }
    let (x, y) = (words(determinant), words(&d.dependent));
    let named = ["name", "title", "label"];
    let code = names_a_code(determinant) || facts.refers(table, determinant);
    let generic = [
        "id", "code", "name", "no", "number", "key", "type", "status", "at", "date",
    ];
    let related = x
        .iter()
        .any(|w| !generic.contains(&w.as_str()) && w.len() > 2 && y.contains(w));
    let moment = table
        .column(&d.dependent)
        .is_some_and(|c| c.data_type.class == TypeClass::Date && !related);
    let address = |words: &[String]| words.iter().any(|w| ADDRESS.contains(&w.as_str()));
    if !related && (address(&x) && address(&y) || !is_of_home(facts, table, d)) {
        return false;
    }
    let enough = d.surprise >= if related { 0.0 } else { UNRELATED };
    // `customer_name` and `customer_phone`; `iso_type` and `iso_type_description`.
    let called = related && x.last().is_some_and(|w| named.contains(&w.as_str()))
        || x.len() > 1 && y.len() > x.len() && y.starts_with(&x);
    (code || called) && enough && !is_snapshot(&y) && !moment && (related || !is_state(&y))
}

/// Two references of a row have their own reasons, unless what the one refers to has the
/// other one as well.
fn is_of_home(facts: &Facts, table: &Table, d: &Dependency) -> bool {
    if !facts.refers(table, &d.dependent) {
        return true;
    }
    let home = facts
        .references_of(table)
        .find(|r| r.columns == d.determinant)
        .and_then(|r| facts.database.table(&r.referenced));
    home.is_some_and(|h| h.column(&d.dependent).is_some())
}

/// How well a column identifies.
fn rank(facts: &Facts, table: &Table, column: &str) -> (u8, std::cmp::Reverse<i16>) {
    let place = table.column(column).map_or(0, |c| c.attnum);
    let number = table
        .column(column)
        .is_some_and(|c| !c.data_type.class.is_text());
    let last = words(column).pop().unwrap_or_default();
    let good = u8::from(facts.refers(table, column)) * 8
        + u8::from(last == "id") * 4
        + u8::from(names_a_code(column) && last != "email") * 2
        + u8::from(number);
    (good, std::cmp::Reverse(place))
}

fn in_table_order(table: &Table, mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|n| table.column(n).map_or(0, |c| c.attnum));
    names
}
