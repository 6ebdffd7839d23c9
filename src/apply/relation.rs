//! How the columns of a published relation map to the columns a plan uses.

use crate::error::{Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::transform::Plan;
use crate::wal::pgoutput::Relation;

/// For one source: where its used columns stand in the relation's tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Position of the source among the run's sources.
    pub source: usize,
    /// For each used column its position in a tuple.
    pub columns: Vec<usize>,
    /// For each key column its position in a tuple.
    pub key: Vec<usize>,
}

/// Maps a relation as the stream now describes it. Columns that no target uses
/// may come and go; a used one must still be there with the same type, and a change of the
/// key must still be told.
///
/// # Errors
/// [`Kind::SchemaChange`] naming the column; [`Kind::Slot`], see [`told`].
pub fn map(source: usize, plan: &Plan, relation: &Relation) -> Result<Mapping> {
    let find = |index: usize| -> Result<usize> {
        let column = &plan.source.columns[index];
        let changed = |what: &str| {
            Error::new(
                Kind::SchemaChange,
                format!(
                    "column {} of {}, which module {} uses, {what}",
                    column.quoted(),
                    plan.source.name,
                    plan.module.name
                ),
            )
        };
        let position = relation
            .columns
            .iter()
            .position(|c| c.name == column.name)
            .ok_or_else(|| changed("was dropped or renamed"))?;
        let now = &relation.columns[position];
        if now.type_oid != column.type_oid || now.typmod != column.typmod {
            return Err(changed("was changed to another type"));
        }
        Ok(position)
    };
    let key = plan.key.iter().map(|&i| find(i)).collect::<Result<_>>()?;
    told(plan, relation)?;
    Ok(Mapping {
        source,
        columns: plan.used.iter().map(|&i| find(i)).collect::<Result<_>>()?,
        key,
    })
}

/// Whether the replica identity has these columns. Otherwise an UPDATE of one of them comes
/// without the old row, and the row under the old key would stay where it is. The server
/// describes a relation before its first change after it was altered, so no change passes
/// unnoticed; and it describes a partition after the table that its changes are published
/// as, since it is the partition's own identity that counts.
#[must_use]
pub fn identified<'a>(relation: &Relation, mut key: impl Iterator<Item = &'a str>) -> bool {
    key.all(|name| relation.columns.iter().any(|c| c.key && c.name == name))
}

/// What is wrong where it has not.
#[must_use]
pub fn unidentified(relation: &Relation) -> String {
    format!(
        "the replica identity of {} does not contain the key: a change of the key would not be told",
        QualifiedName::new(&*relation.schema, &*relation.name)
    )
}

/// The changes made under such an identity are lost to this stream, whatever becomes of it.
///
/// # Errors
/// [`Kind::Slot`] naming the table.
pub fn told(plan: &Plan, relation: &Relation) -> Result<()> {
    if identified(relation, plan.key_columns().map(|c| c.name.as_str())) {
        return Ok(());
    }
    Err(Error::new(Kind::Slot, unidentified(relation)).remedy(
        "give it a replica identity that contains the key (ALTER TABLE … REPLICA IDENTITY, each partition on its own), then start the daemon again: it compares what was copied and copies again what differs",
    ))
}
