//! Where the wires run between the layers.
//!
//! Each strand has one vertical piece, its trunk, in the channel between two layers.
//! Wires run only in channels, and through layers only in rows that bends keep free: so
//! none passes through a box. The order of the trunks decides the crossings in a
//! channel, and must keep a wire that arrives from covering one that leaves at the same
//! height.

use super::sheet::{Sheet, Strand};

/// Between a layer's edge and the nearest trunk: room for the ends' marks.
const MARGIN: i32 = 20;
/// Between trunks.
const TRACK: i32 = 9;
/// Closer than this two pieces look like one.
const NEAR: i32 = 5;

/// A strand's trunk, counted from the channel's left edge.
#[derive(Debug, Clone)]
pub struct Channel {
    pub width: i32,
    /// By strand (index into [`Sheet::strands`]), in their order.
    pub trunks: Vec<(usize, i32)>,
}

struct Span {
    strand: usize,
    low: i32,
    high: i32,
    left: Vec<i32>,
    right: Vec<i32>,
}

impl Span {
    fn of(sheet: &Sheet, at: usize, strand: &Strand) -> Self {
        let mut left = vec![sheet.y_of(strand.left)];
        left.extend(strand.back.iter().map(|&p| sheet.y_of(p)));
        let right: Vec<i32> = strand.right.iter().map(|&p| sheet.y_of(p)).collect();
        let all = || left.iter().chain(&right).copied();
        Self {
            strand: at,
            low: all().min().unwrap_or(0),
            high: all().max().unwrap_or(0),
            left,
            right,
        }
    }

    /// Nothing vertical: no trunk is needed.
    fn is_straight(&self) -> bool {
        self.low == self.high && self.left.len() == 1
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high + 8 && other.low <= self.high + 8
    }
}

/// What it costs that `a`'s trunk is left of `b`'s.
fn cost(a: &Span, b: &Span) -> u32 {
    let mut cost = 0;
    let hit = |y: i32, span: &Span| {
        if y > span.low + NEAR && y < span.high - NEAR {
            1
        } else if y >= span.low - NEAR && y <= span.high + NEAR {
            // It would touch a corner.
            6
        } else {
            0
        }
    };
    for &y in &a.right {
        cost += hit(y, b);
        // One would lie upon the other.
        let covered = b.left.iter().filter(|l| (*l - y).abs() < NEAR).count();
        cost += 1000 * u32::try_from(covered).unwrap_or(1);
    }
    cost + b.left.iter().map(|&y| hit(y, a)).sum::<u32>()
}

/// The channel right of layer `channel`.
#[must_use]
pub fn channel(sheet: &Sheet, channel: usize) -> Channel {
    let mut spans: Vec<Span> = Vec::new();
    let mut straight = Vec::new();
    for (at, strand) in sheet.strands.iter().enumerate() {
        if strand.channel != channel {
            continue;
        }
        let span = Span::of(sheet, at, strand);
        if span.is_straight() {
            straight.push(at);
        } else {
            spans.push(span);
        }
    }
    let order = sift(&spans);
    let tracks = tracks(&spans, &order);
    let count = tracks.iter().max().map_or(0, |t| t + 1);
    let width = if spans.is_empty() && straight.is_empty() {
        0
    } else {
        2 * MARGIN + TRACK * (count - 1).max(1)
    };
    let mut trunks: Vec<(usize, i32)> = spans
        .iter()
        .zip(&tracks)
        .map(|(span, track)| (span.strand, MARGIN + TRACK * track))
        .chain(straight.into_iter().map(|at| (at, MARGIN)))
        .collect();
    trunks.sort_unstable();
    Channel { width, trunks }
}

/// An order of the trunks of little cost: each is taken to its best place, until
/// nothing improves.
fn sift(spans: &[Span]) -> Vec<usize> {
    let count = spans.len();
    let costs: Vec<Vec<u32>> = spans
        .iter()
        .map(|a| spans.iter().map(|b| cost(a, b)).collect())
        .collect();
    let mut order: Vec<usize> = (0..count).collect();
    for _ in 0..12 {
        let mut improved = false;
        for (span, before) in costs.iter().enumerate() {
            let from = order.iter().position(|&s| s == span).unwrap_or(0);
            order.remove(from);
            // Cost of standing before everything, then moving past one after the other.
            let mut here: i64 = order.iter().map(|&s| i64::from(before[s])).sum();
            let mut best = (i64::MAX, from);
            let mut at_from = here;
            for place in 0..=order.len() {
                if place > 0 {
                    let passed = order[place - 1];
                    here += i64::from(costs[passed][span]) - i64::from(before[passed]);
                }
                if place == from {
                    at_from = here;
                }
                if here < best.0 {
                    best = (here, place);
                }
            }
            let to = if best.0 < at_from { best.1 } else { from };
            improved |= to != from;
            order.insert(to, span);
        }
        if !improved {
            break;
        }
    }
    order
}

/// The track of each span: as far left as its order allows.
fn tracks(spans: &[Span], order: &[usize]) -> Vec<i32> {
    let mut tracks = vec![0; spans.len()];
    for (place, &span) in order.iter().enumerate() {
        let mut track = 0;
        for &earlier in &order[..place] {
            let bound = spans[earlier].overlaps(&spans[span])
                || cost(&spans[span], &spans[earlier]) >= 1000;
            if bound {
                track = track.max(tracks[earlier] + 1);
            }
        }
        tracks[span] = track;
    }
    tracks
}
