//! Which of the wanted indexes are built: none that the next audit would call superfluous.

use super::super::schema::{Index, Table};
use super::index::Wanted;
use crate::pg::QualifiedName;
use crate::sql::token;

/// What becomes of a wanted index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Built,
    /// An index that stays, or one that a primary key brings, serves every search of it.
    Served,
    /// The wanted index of this place in the list serves every search of it.
    ServedBy(usize),
}

/// The fate of each. `keys` are the columns of the primary keys to come, with their tables.
#[must_use]
pub fn fates(wanted: &[&Wanted<'_>], keys: &[(QualifiedName, Vec<String>)]) -> Vec<Fate> {
    let served = |w: &Wanted<'_>| {
        let there = w.table.indexes.iter().any(|i| serves(w, i));
        let key = keys.iter().any(|(table, columns)| {
            *table == w.table.name
                && w.predicate.is_none()
                && columns.starts_with(&w.columns)
                && (!w.unique || columns.len() == w.columns.len())
        });
        there || key
    };
    let better = |at: usize| {
        let beats =
            move |other: &usize| *other != at && stands_in(wanted[*other], wanted[at], *other < at);
        (0..wanted.len()).filter(beats)
    };
    let is_built = |at: usize| !served(wanted[at]) && better(at).next().is_none();
    let fate = |at: usize| {
        if is_built(at) {
            return Fate::Built;
        }
        // Of those that are better the best is built, or served itself: what serves it serves
        // this one, too.
        let built = better(at).find(|other| is_built(*other));
        built
            .filter(|_| !served(wanted[at]))
            .map_or(Fate::Served, Fate::ServedBy)
    };
    (0..wanted.len()).map(fate).collect()
}

/// Whether one wanted index makes another superfluous; of two that are the same the first does.
fn stands_in(better: &Wanted<'_>, one: &Wanted<'_>, first: bool) -> bool {
    if better.table.name != one.table.name || bare(&better.predicate) != bare(&one.predicate) {
        return false;
    }
    let same = better.columns == one.columns;
    let begins = better.columns.starts_with(&one.columns);
    match (one.unique, better.unique) {
        (true, true) => same && first,
        (true, false) => false,
        (false, true) => begins,
        (false, false) => begins && (first || !same),
    }
}

/// Whether an index of the table serves every search of a wanted one: it begins with the same
/// columns in the same order, all forward or all backward, and sorts them by their types.
fn serves(wanted: &Wanted<'_>, index: &Index) -> bool {
    let unique_as_well = !wanted.unique || index.unique && index.keys.len() == wanted.columns.len();
    let keys = || index.keys.iter().zip(&wanted.columns);
    let order = |order: &str| keys().all(|(k, _)| k.sql.rsplit(' ').next() == Some(order));
    index.valid
        && index.method == "btree"
        && unique_as_well
        && index.keys.len() >= wanted.columns.len()
        && bare(&index.predicate) == bare(&wanted.predicate)
        && keys().all(|(k, c)| k.column.as_ref() == Some(c))
        // As `pg_index.indoption` has it: ASC NULLS LAST, or DESC NULLS FIRST.
        && (order("0") || order("3"))
        && is_plain(wanted.table, &index.definition, wanted.columns.len())
}

/// None of the first keys has an operator class or a collation of its own.
fn is_plain(of: &Table, definition: &str, keys: usize) -> bool {
    let tokens = token::tokens(definition);
    let using = tokens.iter().position(|t| t.is_word(definition, "using"));
    let mut depth = 0;
    let mut key = 0;
    for token in &tokens[using.map_or(0, |at| at + 1)..] {
        if token.is(definition, '(') {
            depth += 1;
        } else if token.is(definition, ')') {
            depth -= 1;
            if depth == 0 {
                break;
            }
        } else if depth == 1 && token.is(definition, ',') {
            key += 1;
            if key == keys {
                break;
            }
        } else if depth == 1 {
            let own = token.is_word(definition, "collate")
                || token.text(definition).ends_with("_ops")
                    && token
                        .identifier(definition)
                        .is_none_or(|name| of.column(&name).is_none());
            if own {
                return false;
            }
        }
    }
    true
}

/// A predicate without what the server writes otherwise than people.
fn bare(predicate: &Option<String>) -> String {
    predicate
        .as_deref()
        .unwrap_or_default()
        .replace(['"', '(', ')', ' '], "")
}
