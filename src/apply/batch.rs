//! A batch: the changes of whole transactions (or of a piece of a huge one),
//! coalesced to the last image of each key. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::pg::Lsn;
use crate::write::Text;

/// A column's value in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Known(Option<Text>),
    /// A large value that the UPDATE left alone, not sent.
    Unchanged,
}

/// The last that a batch knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latest {
    Gone,
    Row {
        /// One for each used column.
        cells: Vec<Cell>,
        /// The row came from another key in this batch: the targets of this key
        /// hold nothing that could be left alone.
        moved: bool,
    },
}

/// One changed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<Text>,
    pub latest: Latest,
    /// Top-level transaction of the newest change. Every earlier change of the
    /// key was visible to whoever sees this one: row locks order them.
    pub xid: u32,
    /// Where that transaction's commit record begins.
    pub lsn: Lsn,
    /// Order of the newest change in the batch.
    pub order: u64,
    /// Other texts of this key, equal to the server, that the batch merged into
    /// this entry: what is remembered under them is about this row.
    pub aliases: Vec<Vec<Text>>,
}

/// The changed keys of one source between two TRUNCATEs.
#[derive(Debug, Default)]
pub struct Entries {
    index: HashMap<Vec<Text>, usize>,
    list: Vec<Entry>,
}

impl Entries {
    #[must_use]
    pub fn get(&self, key: &[Text]) -> Option<&Entry> {
        self.index.get(key).map(|&i| &self.list[i])
    }

    /// Replaces what is known of the entry's key.
    pub fn put(&mut self, entry: Entry) {
        if let Some(&i) = self.index.get(&entry.key) {
            self.list[i] = entry;
        } else {
            self.index.insert(entry.key.clone(), self.list.len());
            self.list.push(entry);
        }
    }

    #[must_use]
    pub fn into_list(self) -> Vec<Entry> {
        self.list
    }
}

/// Part of a batch; a TRUNCATE is a change to every key, so nothing coalesces
/// across it.
#[derive(Debug)]
pub enum Piece {
    /// By position of the source.
    Rows(HashMap<usize, Entries>),
    Truncate {
        source: usize,
        xid: u32,
        lsn: Lsn,
    },
}

/// What ends a batch at a transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// End of the commit record: the checkpoint after this batch.
    pub lsn: Lsn,
    /// As [`commit_time`] gives it.
    pub time: Option<SystemTime>,
}

#[derive(Debug, Default)]
pub struct Batch {
    pub pieces: Vec<Piece>,
    /// Changes received, coalesced or not.
    pub rows: usize,
    /// Bytes received; bounds the buffers that the images pin.
    pub bytes: usize,
    /// Top-level transactions with changes in it.
    pub xids: Vec<u32>,
    /// Transactions that end in it.
    pub transactions: usize,
    /// The newest transaction end in it.
    pub end: Option<End>,
    /// Somebody waits for this checkpoint: write it even without rows.
    pub urgent: bool,
}

impl Batch {
    /// The rows piece to write the next change of `source` into.
    pub fn entries(&mut self, source: usize) -> &mut Entries {
        if !matches!(self.pieces.last(), Some(Piece::Rows(_))) {
            self.pieces.push(Piece::Rows(HashMap::new()));
        }
        match self.pieces.last_mut() {
            Some(Piece::Rows(rows)) => rows.entry(source).or_default(),
            _ => unreachable!("a rows piece was just pushed"),
        }
    }
}

/// When a transaction committed on this server, out of the stream's microseconds since
/// 2000-01-01 UTC. Not known of one with a replication origin, crossfade's own among
/// them: it shows the time that its origin was told, or that of the first commit of its
/// session, and may lie hours back.
#[must_use]
pub fn commit_time(micros: i64, foreign: bool) -> Option<SystemTime> {
    if foreign {
        return None;
    }
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
    Some(match u64::try_from(micros) {
        Ok(after) => epoch + Duration::from_micros(after),
        Err(_) => epoch - Duration::from_micros(micros.unsigned_abs()),
    })
}
