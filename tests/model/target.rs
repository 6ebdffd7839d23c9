//! The target database: rows, chunk table, checkpoint, and the sessions that
//! hold claims on chunks.

use crate::source::{KEYS, Row, Rows, Snap};

pub const NO_CHUNK: u8 = u8::MAX;

/// A row of the chunk table. A chunk is named by its lowest key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chunk {
    Absent,
    Unplanned,
    Pending,
    Copied { snap: Snap, high: u8 },
}

/// A chunk's image, read and not yet committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Image {
    pub snap: Snap,
    pub high: u8,
    /// The snapshot is older than the table's lock.
    pub late: bool,
}

/// What a copier's session is at. `held`: it still has the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Session {
    Idle,
    /// Only where a mutant reads first and claims later.
    Snapped {
        chunk: u8,
        image: Image,
    },
    Claimed {
        chunk: u8,
        high: u8,
    },
    /// Only where a mutant locks the table after its snapshot.
    Unlocked {
        chunk: u8,
        image: Image,
    },
    Read {
        chunk: u8,
        image: Image,
        held: bool,
    },
    Committed {
        chunk: u8,
    },
}

impl Session {
    pub fn claims(self, chunk: u8) -> bool {
        match self {
            Self::Idle | Self::Snapped { .. } => false,
            Self::Claimed { chunk: c, .. }
            | Self::Unlocked { chunk: c, .. }
            | Self::Committed { chunk: c } => c == chunk,
            Self::Read { chunk: c, held, .. } => held && c == chunk,
        }
    }

    /// Holds ACCESS SHARE on the source table.
    pub const fn reads_table(self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

/// The lowest key above the highest, and the snapshot that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Top {
    pub first_new: u8,
    pub snap: Snap,
    pub high: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// `version` counts what has taken effect on the key: the changes that its
    /// chunk's snapshot saw and those applied since. It is the effect that
    /// cannot be repeated without notice.
    pub rows: Rows,
    pub chunks: [Chunk; KEYS],
    pub chunk_of: [u8; KEYS],
    pub checkpoint: u8,
}

impl Target {
    pub fn new() -> Self {
        Self {
            rows: [Row::default(); KEYS],
            chunks: [Chunk::Absent; KEYS],
            chunk_of: [NO_CHUNK; KEYS],
            checkpoint: 0,
        }
    }

    pub fn find(&self, key: u8) -> Option<Chunk> {
        match self.chunk_of[key as usize] {
            NO_CHUNK => None,
            chunk => Some(self.chunks[chunk as usize]),
        }
    }

    /// Stores the first map: nothing of `lo..first_new` planned, the range from
    /// `first_new` on copied with the snapshot that read the highest key.
    pub fn store_top(&mut self, top: Top, read: &Rows) {
        let Top {
            first_new,
            snap,
            high,
        } = top;
        for (k, row) in read.iter().enumerate() {
            if k >= first_new as usize {
                self.rows[k].version = row.version;
            }
            self.chunk_of[k] = if k < first_new as usize { 0 } else { first_new };
        }
        self.chunks = [Chunk::Absent; KEYS];
        if first_new > 0 {
            self.chunks[0] = Chunk::Unplanned;
        }
        if (first_new as usize) < KEYS {
            self.chunks[first_new as usize] = Chunk::Copied { snap, high };
        }
    }

    pub fn unplanned(&self) -> Option<u8> {
        self.chunks
            .iter()
            .position(|c| *c == Chunk::Unplanned)
            .map(|c| c as u8)
    }

    /// Takes `width` keys off the unplanned range's lower end. With `announce`
    /// they are a pending chunk at once; without, they are nowhere for a while.
    pub fn split(&mut self, lo: u8, width: u8, announce: bool) {
        let end = (lo..KEYS as u8)
            .take_while(|&k| self.chunk_of[k as usize] == lo)
            .last()
            .map_or(lo, |k| k + 1);
        let mid = (lo + width).min(end);
        for k in lo..end {
            self.chunk_of[k as usize] = match k {
                _ if k >= mid => mid,
                _ if announce => lo,
                _ => NO_CHUNK,
            };
        }
        self.chunks[lo as usize] = if announce {
            Chunk::Pending
        } else {
            Chunk::Absent
        };
        if mid < end {
            self.chunks[mid as usize] = Chunk::Unplanned;
        }
    }

    /// One transaction: a chunk's rows and its state. A plain insert: what lies
    /// in the range already stays, as nothing should.
    pub fn write_chunk(&mut self, chunk: u8, image: Image, read: &Rows) {
        for (k, row) in read.iter().enumerate() {
            if self.chunk_of[k] == chunk {
                if row.small != 0 {
                    self.rows[k] = *row;
                }
                self.rows[k].version = row.version;
            }
        }
        self.chunks[chunk as usize] = Chunk::Copied {
            snap: image.snap,
            high: image.high,
        };
    }

    pub fn all_copied(&self) -> bool {
        self.chunks
            .iter()
            .all(|c| matches!(c, Chunk::Absent | Chunk::Copied { .. }))
            && self.chunks.iter().any(|c| *c != Chunk::Absent)
    }
}
