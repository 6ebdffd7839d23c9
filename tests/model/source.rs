//! The source database: transactions with a visibility gap, row locks, snapshots
//! and the changes that logical decoding sends for them.
//!
//! Positions: the n-th commit record ends at `2 n`; odd positions are WAL that
//! holds no change of ours, which a keepalive may report.

use crossfade::pg::Snapshot;

pub const KEYS: usize = 3;
pub const TXNS: usize = 3;

/// One statement of a writer. Only the key matters to the protocol; the value is
/// the writer's own number, so that no two versions of a row are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Insert, or update of every column.
    Put(u8),
    /// Nothing if there is no such row.
    Delete(u8),
    /// A change of key: on the stream a delete of the old and an insert of the new.
    Move(u8, u8),
    /// The same, but the large column is left alone and so not on the stream.
    MoveSmall(u8, u8),
    /// An update that leaves the large column alone.
    Touch(u8),
    Truncate,
    /// ALTER TABLE that rewrites: no change on the stream, but a snapshot from
    /// before it finds the table empty.
    Rewrite,
}

impl Op {
    const fn keys(self) -> u8 {
        match self {
            Self::Put(k) | Self::Delete(k) | Self::Touch(k) => 1 << k,
            Self::Move(a, b) | Self::MoveSmall(a, b) => 1 << a | 1 << b,
            Self::Truncate | Self::Rewrite => u8::MAX,
        }
    }

    const fn locks_table(self) -> bool {
        matches!(self, Self::Truncate | Self::Rewrite)
    }
}

/// A row by key; `small == 0` means that there is none. `version` counts the
/// changes of this key, deletes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Row {
    pub small: u8,
    pub large: u8,
    pub version: u8,
}

impl Row {
    pub const fn same_values(self, other: Self) -> bool {
        self.small == other.small && self.large == other.large
    }
}

pub type Rows = [Row; KEYS];

/// One change as the stream carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    pub key: u8,
    /// For a key change, the key that the row had before.
    pub was: u8,
    /// 0: the row is gone.
    pub small: u8,
    /// `None`: unchanged TOAST.
    pub large: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Txn {
    Unborn,
    Running {
        xid: u8,
    },
    /// Its commit record is in the log and on the stream, but snapshots still
    /// count it as running.
    Gap {
        xid: u8,
        lsn: u8,
    },
    Done {
        xid: u8,
        lsn: u8,
    },
}

impl Txn {
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Gap { .. })
    }

    pub const fn lsn(self) -> Option<u8> {
        match self {
            Self::Gap { lsn, .. } | Self::Done { lsn, .. } => Some(lsn),
            _ => None,
        }
    }

    pub const fn xid(self) -> u8 {
        match self {
            Self::Unborn => 0,
            Self::Running { xid } | Self::Gap { xid, .. } | Self::Done { xid, .. } => xid,
        }
    }
}

/// `pg_current_snapshot()` in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snap {
    pub xmin: u8,
    pub xmax: u8,
    pub running: u16,
}

impl Snap {
    pub const fn sees(self, xid: u8) -> bool {
        xid < self.xmax && self.running >> xid & 1 == 0
    }
}

impl From<Snap> for Snapshot {
    fn from(s: Snap) -> Self {
        Self {
            xmin: s.xmin.into(),
            xmax: s.xmax.into(),
            in_progress: (0..16).filter(|x| s.running >> x & 1 == 1).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    pub txns: [Txn; TXNS],
    pub next_xid: u8,
    pub commits: u8,
}

/// What a run's writers do: the rows at the start and one script per transaction.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub initial: &'static [u8],
    pub script: &'static [&'static [Op]],
}

const INITIAL_WRITER: u8 = 1;

impl Workload {
    fn initial_rows(&self) -> Rows {
        let mut rows = Rows::default();
        for &k in self.initial {
            rows[k as usize] = Row {
                small: INITIAL_WRITER,
                large: INITIAL_WRITER,
                version: 0,
            };
        }
        rows
    }

    fn touches(&self, t: usize) -> u8 {
        self.script[t].iter().fold(0, |keys, op| keys | op.keys())
    }

    pub fn locks_table(&self, t: usize) -> bool {
        self.script[t].iter().any(|op| op.locks_table())
    }
}

impl Source {
    pub const fn new() -> Self {
        Self {
            txns: [Txn::Unborn; TXNS],
            next_xid: 1,
            commits: 0,
        }
    }

    /// `pg_current_wal_insert_lsn()`.
    pub const fn insert_lsn(&self) -> u8 {
        self.commits * 2
    }

    pub fn snapshot(&self) -> Snap {
        let open = self.txns.iter().filter(|t| t.is_open());
        let running = open.fold(0u16, |set, t| set | 1 << t.xid());
        let lowest = running.trailing_zeros().min(self.next_xid.into());
        Snap {
            xmin: lowest as u8,
            xmax: self.next_xid,
            running,
        }
    }

    /// Row locks are kept until a transaction has left the proc array, so writers
    /// of one key follow each other through the gap one by one.
    pub fn may_begin(&self, work: &Workload, t: usize) -> bool {
        let mine = work.touches(t);
        self.txns[t] == Txn::Unborn
            && (0..work.script.len())
                .all(|u| !self.txns[u].is_open() || work.touches(u) & mine == 0)
    }

    /// Whether someone holds ACCESS EXCLUSIVE: a reader has to wait.
    pub fn table_locked(&self, work: &Workload) -> bool {
        (0..work.script.len()).any(|t| self.txns[t].is_open() && work.locks_table(t))
    }

    pub fn at(&self, lsn: u8) -> Option<usize> {
        self.txns.iter().position(|t| t.lsn() == Some(lsn))
    }

    fn replay(&self, work: &Workload, upto: u8, seen: impl Fn(Txn) -> bool) -> Rows {
        let mut rows = work.initial_rows();
        for n in 1..=upto / 2 {
            if let Some(t) = self.at(n * 2)
                && seen(self.txns[t])
            {
                execute(work, t, &mut rows, |_| {});
            }
        }
        rows
    }

    /// The rows after every commit record written so far.
    pub fn rows(&self, work: &Workload) -> Rows {
        self.rows_upto(work, self.insert_lsn())
    }

    /// The rows after the commit records that end at `lsn` or before.
    pub fn rows_upto(&self, work: &Workload, lsn: u8) -> Rows {
        self.replay(work, lsn, |_| true)
    }

    /// What a snapshot sees; `late` when the table's lock was taken after it, so
    /// that a rewrite may have come between.
    pub fn read(&self, work: &Workload, snap: Snap, late: bool) -> Rows {
        let rewritten = (0..work.script.len()).any(|t| {
            matches!(self.txns[t], Txn::Done { xid, .. } if !snap.sees(xid)) && work.locks_table(t)
        });
        let mut rows = self.replay(work, self.insert_lsn(), |t| snap.sees(t.xid()));
        if late && rewritten {
            for row in &mut rows {
                (row.small, row.large) = (0, 0);
            }
        }
        rows
    }

    /// The changes of the transaction whose commit record ends at `lsn`.
    pub fn stream(&self, work: &Workload, lsn: u8, mut out: impl FnMut(Change)) {
        let mut rows = self.replay(work, lsn - 2, |_| true);
        if let Some(t) = self.at(lsn) {
            execute(work, t, &mut rows, &mut out);
        }
    }
}

fn execute(work: &Workload, t: usize, rows: &mut Rows, mut out: impl FnMut(Change)) {
    let writer = t as u8 + 2;
    let mut set = |rows: &mut Rows, key: u8, was: u8, small: u8, large: u8, sent: bool| {
        let version = rows[key as usize].version + 1;
        rows[key as usize] = Row {
            small,
            large,
            version,
        };
        out(Change {
            key,
            was,
            small,
            large: sent.then_some(large),
        });
    };
    for &op in work.script[t] {
        let large = |k: u8, rows: &Rows| rows[k as usize].large;
        let present = |k: u8, rows: &Rows| rows[k as usize].small != 0;
        match op {
            Op::Put(k) => set(rows, k, k, writer, writer, true),
            Op::Delete(k) if present(k, rows) => set(rows, k, k, 0, 0, true),
            Op::Touch(k) if present(k, rows) => set(rows, k, k, writer, large(k, rows), false),
            Op::Move(a, b) if present(a, rows) => {
                set(rows, a, a, 0, 0, true);
                set(rows, b, a, writer, writer, true);
            }
            Op::MoveSmall(a, b) if present(a, rows) => {
                let kept = large(a, rows);
                set(rows, a, a, 0, 0, true);
                set(rows, b, a, writer, kept, false);
            }
            Op::Truncate => (0..KEYS as u8).for_each(|k| set(rows, k, k, 0, 0, true)),
            _ => {}
        }
    }
}
