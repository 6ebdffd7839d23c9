//! What to write for one changed key: a pure decision over unchanged large values.

use super::batch::{Cell, Entry, Latest};
use crate::transform::{Dependencies, Plan};
use crate::write::{Change, Image};

/// How a changed key becomes rows.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// The image is complete for every target.
    Full(Change),
    /// The image is complete for the targets in `active`; all that the others
    /// depend on has not changed, so they are left alone.
    Partial { active: Vec<usize>, change: Change },
    /// Some target needs a value that was not sent: read the row from the source.
    Reread,
}

/// Decides one entry. `suspect` says that the targets may not hold the key's rows
/// (it is in quarantine), so nothing can be left alone.
///
/// Invariant: an unsent value is never written as NULL. It is only left out where
/// no active target depends on it.
#[must_use]
pub fn settle(plan: &Plan, entry: Entry, suspect: bool) -> Settled {
    let (cells, moved) = match entry.latest {
        Latest::Gone => {
            return Settled::Full(Change {
                key: entry.key,
                image: Image::Gone,
            });
        }
        Latest::Row { cells, moved } => (cells, moved),
    };
    let unsent: Vec<usize> = plan
        .used
        .iter()
        .zip(&cells)
        .filter(|(_, cell)| **cell == Cell::Unchanged)
        .map(|(&column, _)| column)
        .collect();
    let values = cells
        .into_iter()
        .map(|cell| match cell {
            Cell::Known(value) => value,
            Cell::Unchanged => None,
        })
        .collect();
    let change = Change {
        key: entry.key,
        image: Image::Row(values),
    };
    if unsent.is_empty() || crate::failpoint::omitted("toast") {
        return Settled::Full(change);
    }
    if moved || suspect {
        return Settled::Reread;
    }
    let mut active = Vec::new();
    for (i, target) in plan.targets.iter().enumerate() {
        let Dependencies::Columns(needs) = &target.depends else {
            return Settled::Reread;
        };
        let complete = !needs.iter().any(|c| unsent.contains(c));
        // What it reads of another target's rows changes when that one is rewritten.
        let reads_active = target
            .reads
            .iter()
            .any(|r| active.contains(r) && !plan.targets[*r].is_lookup());
        let untouched = needs
            .iter()
            .all(|c| plan.key.contains(c) || unsent.contains(c));
        match (complete, untouched && !reads_active) {
            (true, _) => active.push(i),
            (false, true) => {}
            (false, false) => return Settled::Reread,
        }
    }
    Settled::Partial { active, change }
}
