//! Collects the stream's messages into a batch. Pure: message → batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::batch::{Batch, Cell, End, Entry, Latest, Piece, commit_time};
use super::relation::{Mapping, map, told};
use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;
use crate::pg::slot::MARK;
use crate::transform::Plan;
use crate::wal::pgoutput::{Begin, Cell as WireCell, Message, OldTuple, Tuple};
use crate::write::Text;

/// State between messages: relations seen, the open transaction, the batch.
pub struct Collector {
    plans: Vec<Arc<Plan>>,
    relations: HashMap<u32, Vec<Mapping>>,
    /// The source that was described last: what comes after it and is none is a partition.
    described: Option<u32>,
    open: Option<Open>,
    /// Everything that commits below is covered already.
    covered: Lsn,
    order: u64,
    pub batch: Batch,
}

#[derive(Clone, Copy)]
struct Open {
    begin: Begin,
    skip: bool,
    /// It has a replication origin.
    foreign: bool,
}

impl Collector {
    #[must_use]
    pub fn new(plans: Vec<Arc<Plan>>, covered: Lsn) -> Self {
        Self {
            plans,
            relations: HashMap::new(),
            described: None,
            open: None,
            covered,
            order: 0,
            batch: Batch::default(),
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
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// # Errors
    /// [`Kind::SchemaChange`] when a used column changed, [`Kind::Protocol`] for
    /// messages out of order.
    pub fn on(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Begin(begin) => {
                // A commit record that begins below the checkpoint also ends there:
                // checkpoints are ends of records.
                self.open = Some(Open {
                    begin,
                    skip: begin.final_lsn < self.covered,
                    foreign: false,
                });
            }
            Message::Origin { .. } => {
                if let Some(open) = &mut self.open {
                    open.foreign = true;
                }
            }
            Message::Commit(commit) => {
                let open = self.open.take().ok_or_else(|| stray("Commit"))?;
                if !open.skip {
                    self.batch.transactions += 1;
                    self.batch.end = Some(End {
                        lsn: commit.end_lsn,
                        time: commit_time(commit.commit_time, open.foreign),
                    });
                }
            }
            Message::Relation(relation) => {
                let mut mappings = Vec::new();
                for (source, plan) in self.plans.iter().enumerate() {
                    if plan.source.oid == relation.oid {
                        mappings.push(map(source, plan, &relation)?);
                    }
                }
                if mappings.is_empty() {
                    let of = |p: &&Arc<Plan>| Some(p.source.oid) == self.described;
                    for plan in self.plans.iter().filter(of) {
                        told(plan, &relation)?;
                    }
                } else {
                    self.described = Some(relation.oid);
                }
                self.relations.insert(relation.oid, mappings);
            }
            Message::Insert { relation, new } => self.row(relation, &OldTuple::None, Some(&new))?,
            Message::Update { relation, old, new } => self.row(relation, &old, Some(&new))?,
            Message::Delete { relation, old } => self.row(relation, &old, None)?,
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
    fn transaction(&mut self) -> Result<Option<Begin>> {
        let open = self.open.ok_or_else(|| stray("a change"))?;
        if open.skip {
            return Ok(None);
        }
        if self.batch.xids.last() != Some(&open.begin.xid) {
            self.batch.xids.push(open.begin.xid);
        }
        Ok(Some(open.begin))
    }

    fn truncate(&mut self, relations: &[u32]) -> Result<()> {
        let Some(begin) = self.transaction()? else {
            return Ok(());
        };
        for oid in relations {
            for mapping in self.relations.get(oid).into_iter().flatten() {
                self.batch.rows += 1;
                self.batch.pieces.push(Piece::Truncate {
                    source: mapping.source,
                    xid: begin.xid,
                    lsn: begin.final_lsn,
                });
            }
        }
        Ok(())
    }

    fn row(&mut self, relation: u32, old: &OldTuple, new: Option<&Tuple>) -> Result<()> {
        let Some(begin) = self.transaction()? else {
            return Ok(());
        };
        let mappings = self.relations.get(&relation).ok_or_else(|| {
            Error::new(
                Kind::Protocol,
                format!("a change of relation {relation}, which was not described"),
            )
        })?;
        for mapping in mappings {
            // Two steps: a change of key is a delete first, then a row. The server
            // may call the two keys equal, and then the later one counts.
            self.order += 2;
            let change = RowChange {
                mapping,
                begin,
                order: self.order,
            };
            self.batch.rows += 1;
            let old_cells = match old {
                OldTuple::None => &[][..],
                OldTuple::Key(t) | OldTuple::Full(t) => t.as_slice(),
            };
            let cells = old_cells.iter().chain(new.into_iter().flatten());
            self.batch.bytes += cells.map(size).sum::<usize>();
            change.write(&mut self.batch, old, new)?;
        }
        Ok(())
    }
}

/// One row's change for one source.
struct RowChange<'a> {
    mapping: &'a Mapping,
    begin: Begin,
    order: u64,
}

impl RowChange<'_> {
    fn write(&self, batch: &mut Batch, old: &OldTuple, new: Option<&Tuple>) -> Result<()> {
        let (OldTuple::Key(before) | OldTuple::Full(before)) = old else {
            let Some(new) = new else {
                return Err(stray("Delete without a key"));
            };
            let key = self.key(new, None)?;
            return self.upsert(batch, new, None, key.clone(), key);
        };
        let old_key = self.key(before, None)?;
        let Some(new) = new else {
            self.put(batch, old_key, Latest::Gone, self.order);
            return Ok(());
        };
        let full = matches!(old, OldTuple::Full(_)).then_some(before);
        let key = self.key(new, Some(before))?;
        self.upsert(batch, new, full, old_key, key)
    }

    /// Writes the new image under `key`; a change of key also deletes `old_key`.
    fn upsert(
        &self,
        batch: &mut Batch,
        new: &Tuple,
        full: Option<&Tuple>,
        old_key: Vec<Text>,
        key: Vec<Text>,
    ) -> Result<()> {
        let moved = old_key != key;
        let earlier = batch
            .entries(self.mapping.source)
            .get(&old_key)
            .map(|e| e.latest.clone());
        let mut cells = Vec::with_capacity(self.mapping.columns.len());
        for (i, &at) in self.mapping.columns.iter().enumerate() {
            let mut value = cell(new.get(at))?;
            if value == Cell::Unchanged
                && let Some(before) = full
            {
                value = cell(before.get(at))?;
            }
            if value == Cell::Unchanged
                && let Some(Latest::Row { cells, .. }) = &earlier
            {
                value = cells[i].clone();
            }
            cells.push(value);
        }
        // Moved once is moved for the rest of the batch: the fence may drop or the
        // target may lack everything that came before.
        let was_moved = matches!(
            earlier,
            Some(Latest::Row { moved: true, .. } | Latest::Gone)
        );
        if moved {
            self.put(batch, old_key, Latest::Gone, self.order - 1);
        }
        self.put(
            batch,
            key,
            Latest::Row {
                cells,
                moved: moved || was_moved,
            },
            self.order,
        );
        Ok(())
    }

    fn put(&self, batch: &mut Batch, key: Vec<Text>, latest: Latest, order: u64) {
        batch.entries(self.mapping.source).put(Entry {
            key,
            latest,
            xid: self.begin.xid,
            lsn: self.begin.final_lsn,
            order,
            aliases: Vec::new(),
        });
    }

    /// The key in `tuple`; a part that is itself a large unchanged value comes from
    /// `before`, which the server sends in that case.
    fn key(&self, tuple: &Tuple, before: Option<&Tuple>) -> Result<Vec<Text>> {
        self.mapping
            .key
            .iter()
            .map(
                |&at| match (tuple.get(at), before.and_then(|b| b.get(at))) {
                    (Some(WireCell::Text(value)), _)
                    | (Some(WireCell::Unchanged), Some(WireCell::Text(value))) => Ok(value.clone()),
                    _ => Err(stray("a change whose key is incomplete")),
                },
            )
            .collect()
    }
}

fn cell(cell: Option<&WireCell>) -> Result<Cell> {
    match cell {
        Some(WireCell::Null) => Ok(Cell::Known(None)),
        Some(WireCell::Text(value)) => Ok(Cell::Known(Some(value.clone()))),
        Some(WireCell::Unchanged) => Ok(Cell::Unchanged),
        Some(WireCell::Binary(_)) => Err(stray("a binary value")),
        None => Err(stray("a tuple narrower than its relation")),
    }
}

fn size(cell: &WireCell) -> usize {
    match cell {
        WireCell::Text(value) | WireCell::Binary(value) => value.len() + 32,
        // It may have to be read from the source, and is large by its nature.
        WireCell::Unchanged => 4096,
        WireCell::Null => 32,
    }
}

fn stray(what: &str) -> Error {
    Error::new(
        Kind::Protocol,
        format!("the stream sent {what} where it cannot be"),
    )
}
