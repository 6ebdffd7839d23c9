//! What a verification found.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde_json::{Map, Value};

/// A set of rows in three numbers, independent of their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest {
    pub rows: i64,
    /// Sums of two 64-bit hashes of each row's text, wrapping at 128 bits (which
    /// takes 2⁶⁴ rows).
    pub sums: [i128; 2],
}

impl Digest {
    /// From `{count, sum, sum}`; no rows where the server found none.
    #[must_use]
    pub fn parse(parts: Option<&[String]>) -> Option<Self> {
        let Some(parts) = parts else {
            return Some(Self::default());
        };
        let [rows, first, second] = parts else {
            return None;
        };
        Some(Self {
            rows: rows.parse().ok()?,
            sums: [first.parse().ok()?, second.parse().ok()?],
        })
    }

    /// The sums' low 64 bits, hexadecimal.
    #[must_use]
    pub fn checksum(&self) -> String {
        let low = |sum: i128| sum.to_le_bytes()[..8].iter().rev().fold(String::new(), hex);
        format!("{}{}", low(self.sums[0]), low(self.sums[1]))
    }
}

fn hex(mut text: String, byte: &u8) -> String {
    use std::fmt::Write;
    let _ = write!(text, "{byte:02x}");
    text
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        for (sum, add) in self.sums.iter_mut().zip(other.sums) {
            *sum = sum.wrapping_add(add);
        }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The module makes it, the target lacks it.
    Missing,
    /// The target holds it, the module does not make it.
    Extra,
    /// Both have it, with other values.
    Changed,
    /// It lies in no source range: its key holds a NULL.
    Outside,
}

impl DifferenceKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
            Self::Outside => "outside",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Missing, Self::Extra, Self::Changed, Self::Outside]
            .into_iter()
            .find(|k| k.name() == name)
    }
}

/// One target row that is not what the module makes of its source row. Holds key
/// values, so it is for the command's result and never for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The target table; the source's for one of the way back.
    pub table: String,
    pub kind: DifferenceKind,
    /// The row that the reverse rebuilds is not the source's row: `Missing` means that
    /// it rebuilds none, `Extra` that the source has none.
    pub reverse: bool,
    /// The source row's key, one text a column; empty for [`DifferenceKind::Outside`].
    pub source_key: Vec<String>,
    /// The target row's unique key, by column.
    pub key: Map<String, Value>,
    /// Names of the columns that differ, where both rows exist.
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Identical,
    /// Decided differences.
    Different,
    /// No difference, but some keys could not be compared or the pass gave way.
    Undecided,
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Different => "different",
            Self::Undecided => "undecided",
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct SourceReport {
    pub table: String,
    pub ranges: u64,
    pub rows: i64,
}

#[derive(Debug, Clone, Default)]
pub struct TargetReport {
    /// The source's table for the way back.
    pub table: String,
    /// These are the rows that the reverse rebuilds.
    pub reverse: bool,
    /// The target's own rows as the ranges saw them; `None` for a lookup, of which
    /// only the keys are compared, and where only changed keys were.
    pub digest: Option<Digest>,
    pub differences: u64,
}

/// The result of one verification.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub seconds: f64,
    pub sources: Vec<SourceReport>,
    pub targets: Vec<TargetReport>,
    /// At most as many as asked for; all are counted in `targets`.
    pub differences: Vec<Difference>,
    /// Keys not compared because they are in quarantine.
    pub quarantined: u64,
    /// Keys that changed each time they were looked at. They stay in the change log,
    /// beyond the certificate: the switch decides them.
    pub moving: u64,
    /// Keys that could not be converted, and are not in quarantine, each time they were
    /// looked at.
    pub unsettled: u64,
    /// Keys that differed at a first look and were decided one by one.
    pub suspects: u64,
    /// It gave way before it had seen everything; its place is kept.
    pub yielded: bool,
    /// The interrupted pass that this went on with.
    pub resumed: Option<Resumed>,
}

/// A pass that was interrupted and gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// As the server prints times.
    pub began_at: String,
    /// Source rows that had been verified already.
    pub rows: u64,
}

impl Report {
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.targets.iter().any(|t| t.differences > 0) {
            Outcome::Different
        } else if self.unsettled > 0 || self.yielded {
            Outcome::Undecided
        } else {
            Outcome::Identical
        }
    }
}

impl Report {
    /// All decided differences, listed or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.targets.iter().map(|t| t.differences).sum()
    }

    /// Decided differences of the tables that have some.
    #[must_use]
    pub fn by_table(&self) -> BTreeMap<String, u64> {
        let mut tables = BTreeMap::new();
        for t in self.targets.iter().filter(|t| t.differences > 0) {
            *tables.entry(t.table.clone()).or_default() += t.differences;
        }
        tables
    }
}

/// Decided differences: counted all, listed up to a limit.
#[derive(Debug)]
pub struct Tally {
    pub limit: usize,
    pub listed: Vec<Difference>,
    /// By source and target position.
    pub counts: BTreeMap<(usize, usize), u64>,
    pub moving: u64,
    pub unsettled: u64,
    pub suspects: u64,
}

impl Tally {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            listed: Vec::new(),
            counts: BTreeMap::new(),
            moving: 0,
            unsettled: 0,
            suspects: 0,
        }
    }

    pub fn add(&mut self, source: usize, target: usize, count: u64, examples: Vec<Difference>) {
        *self.counts.entry((source, target)).or_default() += count;
        let room = self.limit.saturating_sub(self.listed.len());
        self.listed.extend(examples.into_iter().take(room));
    }

    /// Takes in what another part has decided.
    pub fn merge(&mut self, part: Self) {
        for (place, count) in part.counts {
            *self.counts.entry(place).or_default() += count;
        }
        let room = self.limit.saturating_sub(self.listed.len());
        self.listed.extend(part.listed.into_iter().take(room));
        self.moving += part.moving;
        self.unsettled += part.unsettled;
        self.suspects += part.suspects;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_add_up_in_any_order_and_count_what_cancels_in_an_xor() {
        let digest = |rows: i64, a: i128, b: i128| Digest { rows, sums: [a, b] };
        let mut one = digest(1, 7, -9);
        one += digest(2, i128::from(i64::MAX), 4);
        let mut other = digest(2, i128::from(i64::MAX), 4);
        other += digest(1, 7, -9);
        assert_eq!(one, other);
        assert_eq!(one.checksum().len(), 32);
        let mut twice = digest(1, 5, 5);
        twice += digest(1, 5, 5);
        assert_ne!(twice.sums, Digest::default().sums);
    }

    #[test]
    fn a_difference_weighs_more_than_an_unsettled_key() {
        let mut report = Report {
            targets: vec![TargetReport::default()],
            ..Report::default()
        };
        // What moves is in the change log, so the certificate does not cover it.
        report.moving = 1;
        assert_eq!(report.outcome(), Outcome::Identical);
        report.unsettled = 1;
        assert_eq!(report.outcome(), Outcome::Undecided);
        report.targets[0].differences = 1;
        assert_eq!(report.outcome(), Outcome::Different);
    }
}
