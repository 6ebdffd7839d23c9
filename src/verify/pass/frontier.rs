//! How far a pass is: pure bookkeeping of ranges, for going on after an interruption.
//!
//! Invariant: the verified prefix of a source ends where the first range begins that
//! has not been looked at to its end, has suspects that are not decided, or has a key
//! that could not be decided. So all keys of the prefix were found equal after the
//! pass began.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::verify::Key;
use crate::verify::report::Digest;

/// Sums over ranges of one source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    pub ranges: u64,
    pub rows: i64,
    /// The targets' own rows, one digest a target.
    pub targets: Vec<Digest>,
}

impl Sums {
    fn of(targets: usize) -> Self {
        Self {
            targets: vec![Digest::default(); targets],
            ..Self::default()
        }
    }

    fn add(&mut self, ranges: u64, rows: i64, targets: &[Digest]) {
        self.ranges += ranges;
        self.rows += rows;
        for (sum, digest) in self.targets.iter_mut().zip(targets) {
            *sum += *digest;
        }
    }
}

/// Where planning goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Above(Option<Key>),
    /// The whole source is verified.
    Done,
}

/// A range that the prefix has not taken in.
#[derive(Debug)]
struct Open {
    hi: Option<Key>,
    /// Rows and digests, once it was looked at to its end.
    looked: Option<(i64, Vec<Digest>)>,
    /// Pages of suspects that are not decided.
    waiting: u32,
    /// A key of it could not be decided: the prefix ends before it.
    spoiled: bool,
}

#[derive(Debug)]
struct Track {
    source_id: i32,
    start: Start,
    prefix: Sums,
    open: BTreeMap<u64, Open>,
    next: u64,
}

/// How far each source is.
#[derive(Debug)]
pub struct Frontier {
    tracks: Vec<Track>,
    /// Whether the prefix has grown since [`Frontier::take_changed`].
    changed: bool,
}

impl Frontier {
    /// Nothing is verified; `sources` are id and number of targets.
    #[must_use]
    pub fn new(sources: &[(i32, usize)]) -> Self {
        let tracks = sources.iter().map(|&(source_id, targets)| Track {
            source_id,
            start: Start::Above(None),
            prefix: Sums::of(targets),
            open: BTreeMap::new(),
            next: 0,
        });
        Self {
            tracks: tracks.collect(),
            changed: false,
        }
    }

    /// What [`Frontier::stored`] gave, if it is of the same sources.
    #[must_use]
    pub fn resume(sources: &[(i32, usize)], stored: &Value) -> Option<Self> {
        let mut frontier = Self::new(sources);
        let stored = stored.as_array()?;
        if stored.len() != sources.len() {
            return None;
        }
        for (track, stored) in frontier.tracks.iter_mut().zip(stored) {
            if stored["source"].as_i64()? != i64::from(track.source_id) {
                return None;
            }
            track.start = match (&stored["done"], &stored["above"]) {
                (Value::Bool(true), _) => Start::Done,
                (_, Value::Null) => Start::Above(None),
                (_, key) => Start::Above(Some(serde_json::from_value(key.clone()).ok()?)),
            };
            let targets = stored["targets"].as_array()?;
            if targets.len() != track.prefix.targets.len() {
                return None;
            }
            track.prefix = Sums {
                ranges: stored["ranges"].as_u64()?,
                rows: stored["rows"].as_i64()?,
                targets: targets.iter().map(digest).collect::<Option<_>>()?,
            };
        }
        Some(frontier)
    }

    /// For the state. Sums are texts: JSON numbers end at 64 bits.
    #[must_use]
    pub fn stored(&self) -> Value {
        let tracks = self.tracks.iter().map(|track| {
            let (done, above) = match &track.start {
                Start::Done => (true, None),
                Start::Above(key) => (false, key.as_ref()),
            };
            json!({
                "source": track.source_id, "done": done, "above": above,
                "ranges": track.prefix.ranges, "rows": track.prefix.rows,
                "targets": track.prefix.targets.iter().map(|d| {
                    [d.rows.to_string(), d.sums[0].to_string(), d.sums[1].to_string()]
                }).collect::<Vec<_>>(),
            })
        });
        Value::Array(tracks.collect())
    }

    /// Where the pass begins in a source.
    #[must_use]
    pub fn start(&self, source: usize) -> Start {
        self.tracks[source].start.clone()
    }

    /// Source rows of all prefixes.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let rows: i64 = self.tracks.iter().map(|t| t.prefix.rows).sum();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The next range of a source, in key order; `hi` is its end. Returns its number.
    pub fn begin(&mut self, source: usize, hi: Option<Key>) -> u64 {
        let track = &mut self.tracks[source];
        let number = track.next;
        track.next += 1;
        let open = Open {
            hi,
            looked: None,
            waiting: 0,
            spoiled: false,
        };
        track.open.insert(number, open);
        number
    }

    /// A page of suspects of a range is about to be handed to the decider.
    pub fn suspects(&mut self, source: usize, number: u64) {
        if let Some(open) = self.tracks[source].open.get_mut(&number) {
            open.waiting += 1;
        }
    }

    /// A range was looked at to its end; all its suspects have been counted.
    pub fn looked(&mut self, source: usize, number: u64, rows: i64, targets: Vec<Digest>) {
        if let Some(open) = self.tracks[source].open.get_mut(&number) {
            open.looked = Some((rows, targets));
        }
        self.advance(source);
    }

    /// A page of suspects of a range was decided; `clean`: every key of it was equal.
    pub fn decided(&mut self, source: usize, number: u64, clean: bool) {
        if let Some(open) = self.tracks[source].open.get_mut(&number) {
            open.waiting = open.waiting.saturating_sub(1);
            open.spoiled |= !clean;
        }
        self.advance(source);
    }

    fn advance(&mut self, source: usize) {
        let track = &mut self.tracks[source];
        while let Some(first) = track.open.first_entry() {
            let open = first.get();
            if open.looked.is_none() || open.waiting > 0 || open.spoiled {
                return;
            }
            let open = first.remove();
            let (rows, targets) = open.looked.unwrap_or_default();
            track.prefix.add(1, rows, &targets);
            track.start = match open.hi {
                Some(key) => Start::Above(Some(key)),
                None => Start::Done,
            };
            self.changed = true;
        }
    }

    /// Whether it has grown since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Sums over everything that was looked at to its end, one a source.
    #[must_use]
    pub fn totals(&self) -> Vec<Sums> {
        let total = |track: &Track| {
            let mut sums = track.prefix.clone();
            for (rows, targets) in track.open.values().filter_map(|o| o.looked.as_ref()) {
                sums.add(1, *rows, targets);
            }
            sums
        };
        self.tracks.iter().map(total).collect()
    }
}

fn digest(stored: &Value) -> Option<Digest> {
    let parts: Vec<String> = serde_json::from_value(stored.clone()).ok()?;
    Digest::parse(Some(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<Key> {
        Some(vec![text.to_owned()])
    }

    fn digest(rows: i64) -> Vec<Digest> {
        vec![Digest {
            rows,
            sums: [i128::from(i64::MAX) * 4, -7],
        }]
    }

    #[test]
    fn only_a_contiguous_decided_prefix_counts() {
        let mut frontier = Frontier::new(&[(3, 1)]);
        let numbers: Vec<u64> = ["10", "20", "30"]
            .iter()
            .map(|k| frontier.begin(0, key(k)))
            .collect();
        let last = frontier.begin(0, None);
        // The second is ready before the first: nothing counts yet.
        frontier.looked(0, numbers[1], 10, digest(1));
        assert_eq!(frontier.start(0), Start::Above(None));
        // A range with suspects counts when they are decided, not when it was read.
        frontier.suspects(0, numbers[0]);
        frontier.looked(0, numbers[0], 10, digest(1));
        assert_eq!(frontier.start(0), Start::Above(None));
        assert!(!frontier.take_changed());
        frontier.decided(0, numbers[0], true);
        assert_eq!(frontier.start(0), Start::Above(key("20")));
        assert!(frontier.take_changed());
        // A key that could not be decided ends the prefix for good.
        frontier.suspects(0, numbers[2]);
        frontier.looked(0, numbers[2], 10, digest(1));
        frontier.decided(0, numbers[2], false);
        frontier.looked(0, last, 5, digest(1));
        assert_eq!(frontier.start(0), Start::Above(key("20")));
        assert_eq!(frontier.rows(), 20);
        assert_eq!(frontier.totals()[0].rows, 35);
    }

    #[test]
    fn a_stored_frontier_goes_on_with_its_sums_and_only_for_the_same_sources() {
        let mut frontier = Frontier::new(&[(3, 1), (4, 1)]);
        let first = frontier.begin(0, key("it's \"10\""));
        frontier.looked(0, first, 10, digest(7));
        let all = frontier.begin(1, None);
        frontier.looked(1, all, 4, digest(4));
        let stored = frontier.stored();
        let again = Frontier::resume(&[(3, 1), (4, 1)], &stored).unwrap();
        assert_eq!(again.start(0), Start::Above(key("it's \"10\"")));
        assert_eq!(again.start(1), Start::Done);
        assert_eq!(again.totals(), frontier.totals());
        assert_eq!(again.stored(), stored);
        for other in [&[(3, 1)][..], &[(3, 1), (5, 1)], &[(3, 1), (4, 2)]] {
            assert!(Frontier::resume(other, &stored).is_none());
        }
    }
}
