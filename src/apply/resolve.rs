//! Turns a batch into writes: everything that waits or reads comes here, before
//! the first write.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;

use super::batch::{Batch, Entry, Piece};
use super::fencing::Fencing;
use super::gate;
use super::reread::{self, Read};
use super::settle::{Settled, settle};
use super::stats::Stats;
use crate::error::Result;
use crate::state::quarantine::{self, Entry as SetAside};
use crate::transform::Plan;
use crate::transform::sql::Range;
use crate::write::rows::{key_arrays, key_strings};
use crate::write::{Change, Image, Text};

/// A key for the change log: who changed it, where.
#[derive(Debug, Clone)]
pub struct Logged {
    pub key: Vec<Text>,
    pub xid: u64,
    pub lsn: crate::pg::Lsn,
}

/// Changes of one source that are complete for the same targets.
#[derive(Debug)]
pub struct Group {
    pub active: Vec<usize>,
    pub changes: Vec<Change>,
}

/// One step of writing.
#[derive(Debug)]
pub enum Write {
    Rows {
        source: usize,
        groups: Vec<Group>,
        logged: Vec<Logged>,
        /// Keys that need a read of a source that is locked by a switch.
        locked: Vec<Vec<Text>>,
        /// Keys in quarantine that are now written with another text.
        renamed: Vec<Vec<String>>,
    },
    Truncate {
        source: usize,
        ranges: Vec<Range>,
        xid: u64,
        lsn: crate::pg::Lsn,
    },
}

/// The rows set aside, as (source id, key).
pub type Quarantined = HashSet<(i32, Vec<String>)>;

/// What resolving needs besides the batch.
pub struct Resolver<'a> {
    pub source: &'a Client,
    pub target: &'a Client,
    pub migration: i32,
    pub stats: &'a Stats,
}

impl Resolver<'_> {
    /// Passes the gate, then the fence for every piece, then settles each key.
    ///
    /// The quarantine is read after the last wait for a copier: a row that a copier
    /// set aside with a chunk is in it by then.
    ///
    /// # Errors
    /// Connection errors of either side.
    pub async fn resolve(
        &self,
        fences: &mut [Fencing],
        batch: Batch,
    ) -> Result<(Vec<Write>, Quarantined)> {
        let wide = gate::pass(self.source, &batch.xids, self.stats).await?;
        let mut fenced = Vec::new();
        for piece in batch.pieces {
            fenced.push(self.fence(fences, piece, &wide).await?);
        }
        let set_aside = quarantine::list(self.target, self.migration).await?;
        check_limit(&set_aside)?;
        let quarantined: Quarantined = set_aside
            .into_iter()
            .map(|e| (e.source_id, e.key))
            .collect();
        let mut writes = Vec::new();
        for piece in fenced {
            match piece {
                Fenced::Truncate(write) => writes.push(write),
                Fenced::Rows(sources) => {
                    for (source, entries) in sources {
                        let fence = &fences[source];
                        let id = fence.chunks.source_id;
                        writes.push(
                            self.settle_all(source, id, &fence.plan, entries, &quarantined, &wide)
                                .await?,
                        );
                    }
                }
            }
        }
        Ok((writes, quarantined))
    }

    async fn fence(
        &self,
        fences: &mut [Fencing],
        piece: Piece,
        wide: &HashMap<u32, u64>,
    ) -> Result<Fenced> {
        match piece {
            Piece::Truncate { source, xid, lsn } => {
                let xid = wide[&xid];
                let ranges = fences[source].truncated(self.target, xid, lsn).await?;
                Ok(Fenced::Truncate(Write::Truncate {
                    source,
                    ranges,
                    xid,
                    lsn,
                }))
            }
            Piece::Rows(sources) => {
                let mut sources: Vec<_> = sources.into_iter().collect();
                sources.sort_by_key(|(source, _)| *source);
                let mut kept = Vec::new();
                for (source, entries) in sources {
                    let mut list = entries.into_list();
                    if !fences[source].plan.key_text_is_identity() {
                        list = merge_equal_keys(self.target, &fences[source].plan, list).await?;
                    }
                    let list = fences[source].keep(self.target, list, wide).await?;
                    if !list.is_empty() {
                        kept.push((source, list));
                    }
                }
                Ok(Fenced::Rows(kept))
            }
        }
    }

    async fn settle_all(
        &self,
        source: usize,
        source_id: i32,
        plan: &Plan,
        entries: Vec<Entry>,
        quarantined: &Quarantined,
        wide: &HashMap<u32, u64>,
    ) -> Result<Write> {
        let mut groups = Groups::new(plan);
        let mut logged = Vec::with_capacity(entries.len());
        let mut reread = Vec::new();
        let mut renamed = Vec::new();
        for entry in entries {
            // Equal for the source's type, but perhaps not for a target's: rows under the
            // other text are not to stay.
            for alias in &entry.aliases {
                groups.full(Change {
                    key: alias.clone(),
                    image: Image::Gone,
                });
            }
            if !quarantined.is_empty() {
                for alias in &entry.aliases {
                    let known = (source_id, key_strings(alias)?);
                    if quarantined.contains(&known) {
                        renamed.push(known.1);
                    }
                }
            }
            logged.push(Logged {
                key: entry.key.clone(),
                xid: wide[&entry.xid],
                lsn: entry.lsn,
            });
            let suspect = !quarantined.is_empty()
                && quarantined.contains(&(source_id, key_strings(&entry.key)?));
            let key = entry.key.clone();
            match settle(plan, entry, suspect) {
                Settled::Full(change) => groups.full(change),
                Settled::Partial { active, change } => groups.partial(active, change),
                Settled::Reread => reread.push(key),
            }
        }
        let mut locked = Vec::new();
        if !reread.is_empty() {
            crate::metrics::table::APPLY_REREADS_TOTAL.add(reread.len() as u64);
            match reread::read(
                self.source,
                self.target,
                self.migration,
                plan,
                &reread,
                self.stats,
            )
            .await?
            {
                Read::Rows(rows) => rows.into_iter().for_each(|row| groups.full(row)),
                Read::Locked => locked = reread,
            }
        }
        Ok(Write::Rows {
            source,
            groups: groups.list,
            logged,
            locked,
            renamed,
        })
    }
}

enum Fenced {
    Rows(Vec<(usize, Vec<Entry>)>),
    Truncate(Write),
}

/// Changes by the set of targets they are complete for. The full ones come first.
struct Groups {
    all: Vec<usize>,
    list: Vec<Group>,
}

impl Groups {
    fn new(plan: &Plan) -> Self {
        Self {
            all: (0..plan.targets.len()).collect(),
            list: Vec::new(),
        }
    }

    fn full(&mut self, change: Change) {
        self.partial(self.all.clone(), change);
    }

    fn partial(&mut self, active: Vec<usize>, change: Change) {
        if active.is_empty() {
            return;
        }
        match self.list.iter_mut().find(|g| g.active == active) {
            Some(group) => group.changes.push(change),
            None => self.list.push(Group {
                active,
                changes: vec![change],
            }),
        }
    }
}

/// Keeps one entry of each set of keys that the server calls equal: the newest.
async fn merge_equal_keys(target: &Client, plan: &Plan, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let arrays = key_arrays(entries.iter().map(|e| e.key.as_slice()), plan.key.len())?;
    let parameters: Vec<_> = arrays
        .iter()
        .map(|a| a as &(dyn tokio_postgres::types::ToSql + Sync))
        .collect();
    let rows = target.query(&plan.group_keys(), &parameters).await?;
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    let mut newest: HashMap<i64, Entry> = HashMap::new();
    for row in &rows {
        let (n, group): (i64, i64) = (row.get(0), row.get(1));
        let at = usize::try_from(n - 1).unwrap_or(usize::MAX);
        let Some(mut entry) = entries.get_mut(at).and_then(Option::take) else {
            continue;
        };
        if let Some(mut other) = newest.remove(&group) {
            if other.order > entry.order {
                std::mem::swap(&mut other, &mut entry);
            }
            entry.aliases.append(&mut other.aliases);
            entry.aliases.push(other.key);
            // One text gives way to another that is equal: the same row moved.
            if let super::batch::Latest::Row { moved, .. } = &mut entry.latest {
                *moved = true;
            }
        }
        newest.insert(group, entry);
    }
    let mut merged: Vec<Entry> = newest.into_values().collect();
    merged.sort_by_key(|e| e.order);
    Ok(merged)
}

/// More rows than can be set aside mean that it is not the rows.
///
/// # Errors
/// [`Kind::Data`](crate::error::Kind::Data) beyond the limit.
pub fn check_limit(set_aside: &[SetAside]) -> Result<()> {
    if set_aside.len() <= quarantine::LIMIT {
        return Ok(());
    }
    Err(crate::error::Error::new(
        crate::error::Kind::Data,
        format!("more than {} rows are in quarantine", quarantine::LIMIT),
    )
    .remedy("the module does not fit the data: see `crossfade quarantine list`, correct it, abort and start again"))
}
