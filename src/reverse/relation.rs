//! What a change of a relation says about source keys.

use crate::apply::relation::{identified, unidentified};
use crate::error::{Error, Kind, Result};
use crate::transform::Plan;
use crate::wal::pgoutput::Relation;

/// How one source is concerned by a relation's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// Position of the source among the run's sources.
    pub source: usize,
    pub role: Role,
    /// Where the identifying values stand in the relation's tuples: the source's key
    /// (rows, stayed) or the lookup's key.
    pub at: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A row target: its rows carry the source's key.
    Rows,
    /// A lookup: position of the `touch` that tells the keys.
    Lookup(usize),
    /// The source itself, in a split in place: a row that is new, or has another key,
    /// lacks its moved columns.
    Stayed,
}

/// What changes of this relation mean for each source.
///
/// # Errors
/// [`Kind::SchemaChange`] naming a key column that is gone.
pub fn concerns<'a>(
    plans: impl Iterator<Item = &'a Plan>,
    relation: &Relation,
) -> Result<Vec<Concern>> {
    let mut found = Vec::new();
    for (source, plan) in plans.enumerate() {
        let Some(reverse) = &plan.reverse else {
            continue;
        };
        let mut concern = |role, names: Vec<&str>| -> Result<()> {
            check_identity(relation, names.iter().copied())?;
            let at = names
                .into_iter()
                .map(|name| position(relation, name))
                .collect::<Result<_>>()?;
            found.push(Concern { source, role, at });
            Ok(())
        };
        if plan.source.oid == relation.oid && !plan.module.moved.is_empty() {
            let key = plan.key_columns().map(|c| c.name.as_str()).collect();
            concern(Role::Stayed, key)?;
        }
        for (i, target) in plan.targets.iter().enumerate() {
            if target.table.oid != relation.oid {
                continue;
            }
            let key = target.key.iter().map(String::as_str).collect();
            if target.is_lookup() {
                if let Some(touch) = reverse.touches.iter().position(|t| t.target == i) {
                    concern(Role::Lookup(touch), key)?;
                }
            } else if reverse.reads.contains(&i) {
                concern(Role::Rows, key)?;
            }
        }
    }
    Ok(found)
}

/// A change of the identifying columns must come with the old row.
///
/// # Errors
/// [`Kind::SchemaChange`] naming the table.
pub fn check_identity<'a>(relation: &Relation, key: impl Iterator<Item = &'a str>) -> Result<()> {
    if identified(relation, key) {
        return Ok(());
    }
    Err(Error::new(Kind::SchemaChange, unidentified(relation)).remedy(
        "give it a replica identity that contains the key (ALTER TABLE … REPLICA IDENTITY, each partition on its own); where rows were written meanwhile the way back is lost, the new schema is live and complete: `crossfade finish`",
    ))
}

fn position(relation: &Relation, name: &str) -> Result<usize> {
    relation
        .columns
        .iter()
        .position(|c| c.name == name)
        .ok_or_else(|| {
            Error::new(
                Kind::SchemaChange,
                format!(
                    "key column \"{name}\" of {}.{} was dropped or renamed",
                    relation.schema, relation.name
                ),
            )
        })
}
