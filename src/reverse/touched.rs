//! Collects the source keys that the stream's messages touch. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::relation::{Concern, Role, check_identity, concerns};
use crate::apply::batch::{End, commit_time};
use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;
use crate::pg::slot::MARK;
use crate::transform::Plan;
use crate::wal::pgoutput::{Begin, Cell, Message, OldTuple, Tuple};
use crate::write::Text;

/// The newest change that touched a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    pub xid: u32,
    /// Where that transaction's commit record begins.
    pub lsn: Lsn,
}

/// Keys, each with the newest change that touched it.
pub type Keys = HashMap<Vec<Text>, By>;

/// What a batch of changes touches.
#[derive(Debug, Default)]
pub struct Touched {
    /// By position of the source.
    pub keys: HashMap<usize, Keys>,
    /// Identities of changed lookup rows, by source and position of the touch.
    pub lookups: HashMap<(usize, usize), Keys>,
    /// Sources all of whose keys are touched (TRUNCATE of a target).
    pub truncated: HashMap<usize, By>,
    /// Sources that stay and were themselves truncated.
    pub emptied: HashMap<usize, By>,
    /// Changes received.
    pub rows: usize,
    pub bytes: usize,
    /// Top-level transactions with changes in it.
    pub xids: BTreeSet<u32>,
    /// Transactions that end in it.
    pub transactions: usize,
    pub end: Option<End>,
    /// Somebody waits for this checkpoint: write it even without rows.
    pub urgent: bool,
}

impl Touched {
    /// Whether anything has to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.lookups.is_empty()
            && self.truncated.is_empty()
            && self.emptied.is_empty()
    }
}

#[derive(Clone, Copy)]
struct Open {
    begin: Begin,
    skip: bool,
    /// It has a replication origin.
    foreign: bool,
}

/// State between messages.
pub struct Collector {
    plans: Vec<Arc<Plan>>,
    /// Transactions that crossfade itself wrote carry this origin.
    origin: String,
    relations: HashMap<u32, Vec<Concern>>,
    /// The identifying columns of the table that was described last.
    described: Vec<String>,
    open: Option<Open>,
    /// Everything that commits below is covered already.
    covered: Lsn,
    pub batch: Touched,
}

impl Collector {
    #[must_use]
    pub fn new(plans: Vec<Arc<Plan>>, origin: String, covered: Lsn) -> Self {
        Self {
            plans,
            origin,
            relations: HashMap::new(),
            described: Vec::new(),
            open: None,
            covered,
            batch: Touched::default(),
        }
    }

    /// Whether the batch ends inside of a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// When the open transaction committed; see [`commit_time`].
    #[must_use]
    pub fn commit_time(&self) -> Option<SystemTime> {
        let open = self.open.as_ref()?;
        commit_time(open.begin.commit_time, open.foreign)
    }

    /// Takes the batch collected so far.
    pub fn take(&mut self) -> Touched {
        std::mem::take(&mut self.batch)
    }

    /// # Errors
    /// [`Kind::SchemaChange`] when a key column is gone, [`Kind::Protocol`] for
    /// messages out of order.
    pub fn on(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Begin(begin) => {
                self.open = Some(Open {
                    begin,
                    skip: begin.final_lsn < self.covered,
                    foreign: false,
                });
            }
            Message::Origin { name, .. } => {
                // Rows that were written back are no news to the schema they came from.
                if let Some(open) = &mut self.open {
                    open.skip |= name == self.origin;
                    open.foreign = true;
                }
            }
            Message::Commit(commit) => {
                let open = self.open.take().ok_or_else(|| stray("Commit"))?;
                if open.begin.final_lsn >= self.covered {
                    self.batch.transactions += usize::from(!open.skip);
                    self.batch.end = Some(End {
                        lsn: commit.end_lsn,
                        time: commit_time(commit.commit_time, open.foreign),
                    });
                }
            }
            Message::Relation(relation) => {
                let found = concerns(self.plans.iter().map(AsRef::as_ref), &relation)?;
                if found.is_empty() {
                    // A partition of the table that was described before it.
                    check_identity(&relation, self.described.iter().map(String::as_str))?;
                } else {
                    let at = found.iter().flat_map(|concern| &concern.at);
                    let names = at.map(|&at| relation.columns[at].name.clone());
                    self.described = names.collect();
                }
                self.relations.insert(relation.oid, found);
            }
            Message::Insert { relation, new } => self.row(relation, &Change::Insert(&new))?,
            Message::Update { relation, old, new } => {
                self.row(relation, &Change::Update(&old, &new))?;
            }
            Message::Delete { relation, old } => self.row(relation, &Change::Delete(&old))?,
            Message::Truncate { relations, .. } => self.truncate(&relations)?,
            Message::Logical(mark) => {
                let covered = self.open.is_none_or(|open| open.skip);
                if mark.transactional && mark.prefix == MARK && !covered {
                    self.batch.urgent = true;
                }
            }
            Message::Type { .. } => {}
        }
        Ok(())
    }

    /// The open transaction, counted into the batch; `None` when it is covered.
    fn transaction(&mut self) -> Result<Option<By>> {
        let open = self.open.ok_or_else(|| stray("a change"))?;
        if open.skip {
            return Ok(None);
        }
        Ok(Some(By {
            xid: open.begin.xid,
            lsn: open.begin.final_lsn,
        }))
    }

    fn truncate(&mut self, relations: &[u32]) -> Result<()> {
        let Some(by) = self.transaction()? else {
            return Ok(());
        };
        for oid in relations {
            for concern in self.relations.get(oid).into_iter().flatten() {
                let emptied = match concern.role {
                    // Rows of the source that are gone need no columns. But rows of the
                    // targets may be left without them: they are to be compared.
                    Role::Stayed => &mut self.batch.emptied,
                    Role::Rows | Role::Lookup(_) => &mut self.batch.truncated,
                };
                emptied.insert(concern.source, by);
                self.batch.xids.insert(by.xid);
                self.batch.rows += 1;
            }
        }
        Ok(())
    }

    fn row(&mut self, relation: u32, change: &Change<'_>) -> Result<()> {
        let Some(by) = self.transaction()? else {
            return Ok(());
        };
        let found = self.relations.get(&relation).ok_or_else(|| {
            Error::new(
                Kind::Protocol,
                format!("a change of relation {relation}, which was not described"),
            )
        })?;
        for concern in found {
            let identities = identities(concern, change)?;
            if identities.is_empty() {
                continue;
            }
            self.batch.rows += 1;
            self.batch.xids.insert(by.xid);
            let keys = match concern.role {
                Role::Rows | Role::Stayed => self.batch.keys.entry(concern.source).or_default(),
                Role::Lookup(touch) => self
                    .batch
                    .lookups
                    .entry((concern.source, touch))
                    .or_default(),
            };
            for identity in identities {
                self.batch.bytes += identity.iter().map(|v| v.len() + 64).sum::<usize>();
                keys.insert(identity, by);
            }
        }
        Ok(())
    }
}

/// One row's change as the stream tells it.
enum Change<'a> {
    Insert(&'a Tuple),
    Update(&'a OldTuple, &'a Tuple),
    Delete(&'a OldTuple),
}

impl Change<'_> {
    /// The row before, where the server sends it, and the row after.
    fn tuples(&self) -> (Option<&Tuple>, Option<&Tuple>) {
        match self {
            Self::Insert(new) => (None, Some(new)),
            Self::Update(old, new) => (tuple(old), Some(new)),
            Self::Delete(old) => (tuple(old), None),
        }
    }
}

fn tuple(old: &OldTuple) -> Option<&Tuple> {
    match old {
        OldTuple::None => None,
        OldTuple::Key(tuple) | OldTuple::Full(tuple) => Some(tuple),
    }
}

/// The identities that a change touches.
fn identities(concern: &Concern, change: &Change<'_>) -> Result<HashSet<Vec<Text>>> {
    let (before, after) = change.tuples();
    if before.is_none() && after.is_none() {
        return Err(stray("Delete without a key"));
    }
    let read = |tuple: &Tuple, other: Option<&Tuple>| -> Result<Vec<Text>> {
        concern
            .at
            .iter()
            .map(|&at| match (tuple.get(at), other.and_then(|o| o.get(at))) {
                (Some(Cell::Text(value)), _) | (Some(Cell::Unchanged), Some(Cell::Text(value))) => {
                    Ok(value.clone())
                }
                _ => Err(stray("a change whose key is incomplete")),
            })
            .collect()
    };
    let mut found = HashSet::new();
    for (row, other) in [(before, None), (after, before)] {
        if let Some(row) = row {
            found.insert(read(row, other)?);
        }
    }
    // A row that stays needs its moved columns when it is new or has a new key; an
    // update that keeps the key keeps them as they are.
    let needs = match change {
        Change::Insert(_) => true,
        Change::Update(..) => found.len() > 1,
        Change::Delete(_) => false,
    };
    if concern.role == Role::Stayed && !needs {
        found.clear();
    }
    Ok(found)
}

fn stray(what: &str) -> Error {
    Error::new(
        Kind::Protocol,
        format!("the stream sent {what} where it cannot be"),
    )
}

#[cfg(test)]
mod tests;
