//! Indexes that make each other superfluous.

use super::schema::{Index, Table};

/// How another index stands to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// It is the same index.
    Same,
    /// It begins with the same keys and goes on.
    Longer,
    /// It finds the same rows, and sorts them besides: a b-tree beside a hash.
    Sorted,
}

/// The index that makes this one superfluous, if there is one.
#[must_use]
pub fn twin<'a>(table: &'a Table, index: &Index) -> Option<(&'a Index, Twin)> {
    if !index.valid || index.partition_of_index {
        return None;
    }
    let usable = |other: &&Index| {
        other.name != index.name
            && other.valid
            && other.method == index.method
            && other.predicate == index.predicate
    };
    let same = table.indexes.iter().filter(usable).find(|other| {
        other.keys.len() == index.keys.len()
            && refuses_as_much(table, other, index)
            && begins(other, index)
            && covers(other, index)
            && is_kept_before(other, index)
    });
    if let Some(other) = same {
        return (!is_needed(index)).then_some((other, Twin::Same));
    }
    if index.method == "hash" && !is_needed(index) {
        let sorted = |other: &&Index| {
            other.valid
                && other.method == "btree"
                && other.predicate == index.predicate
                && index.keys[0].column.is_some()
                && other.keys[0].column == index.keys[0].column
        };
        return table
            .indexes
            .iter()
            .find(sorted)
            .map(|other| (other, Twin::Sorted));
    }
    // Only a b-tree can be read by its first keys alone; a unique index says more than a
    // longer one.
    if index.method != "btree" || index.unique || is_needed(index) {
        return None;
    }
    table
        .indexes
        .iter()
        .filter(usable)
        .find(|other| {
            other.keys.len() > index.keys.len() && begins(other, index) && covers(other, index)
        })
        .map(|other| (other, Twin::Longer))
}

/// The other one's first keys are this one's, all forward or, in a b-tree, all backward: it
/// is read in both directions.
fn begins(other: &Index, index: &Index) -> bool {
    let pairs = || other.keys.iter().zip(&index.keys);
    let backward = index.method == "btree" && pairs().all(|(a, b)| a.reversed() == b.sql);
    pairs().all(|(a, b)| a.sql == b.sql) || backward
}

/// What a unique index refuses, the other one refuses, and at once.
fn refuses_as_much(table: &Table, other: &Index, index: &Index) -> bool {
    // Two rows with NULL are the same for one, and not for the other.
    let nulls = |i: &Index| i.definition.contains("NULLS NOT DISTINCT");
    let later = |i: &Index| {
        let mut keys = table.keys();
        keys.any(|k| k.deferrable && i.constraint.as_ref() == Some(&k.name))
    };
    !index.unique || (nulls(other) || !nulls(index)) && !later(other)
}

/// Everything that INCLUDE brings is in the other one, too.
fn covers(other: &Index, index: &Index) -> bool {
    index.included.iter().all(|c| {
        other.included.contains(c) || other.keys.iter().any(|k| k.column.as_deref() == Some(c))
    })
}

/// It stands for a constraint, or somebody refers to it.
fn is_needed(index: &Index) -> bool {
    index.primary || index.constraint.is_some() || index.referenced || index.replica_identity
}

/// Which of two equal indexes stays: the one that does more, then the first by name.
fn is_kept_before(other: &Index, index: &Index) -> bool {
    let worth = |i: &Index| (is_needed(i), i.unique, i.included.len());
    // A unique one is only replaced by one that refuses the same rows at the same time.
    if index.unique && !(other.unique && other.refuses == index.refuses) {
        return false;
    }
    match worth(other).cmp(&worth(index)) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => other.name < index.name,
    }
}
