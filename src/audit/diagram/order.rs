//! The order of the nodes in each layer, with few crossings.
//!
//! Sweeps from layer to layer sort by the mean place of what a node is joined to, then
//! neighbours change places where that helps; the best order seen is kept.

use super::sheet::{Port, Sheet};

const SWEEPS: usize = 24;

/// The layers' nodes, from the top.
pub type Layers = Vec<Vec<usize>>;

/// Wires between a layer and the next, as pairs of ports.
fn channels(sheet: &Sheet, layers: usize) -> Vec<Vec<(Port, Port)>> {
    let mut channels = vec![Vec::new(); layers];
    for strand in &sheet.strands {
        for &right in &strand.right {
            channels[strand.channel].push((strand.left, right));
        }
    }
    channels
}

#[must_use]
pub fn order(sheet: &Sheet) -> (Layers, usize) {
    let mut layers = sheet.layers();
    let channels = channels(sheet, layers.len());
    initial(sheet, &mut layers, &channels);
    let mut best = (layers.clone(), crossings(sheet, &layers, &channels));
    for sweep in 0..SWEEPS {
        let rightward = sweep % 2 == 0;
        let count = layers.len();
        for step in 1..count {
            let layer = if rightward { step } else { count - 1 - step };
            sort(sheet, &mut layers, layer, rightward, &channels);
        }
        exchange(sheet, &mut layers, &channels);
        let found = crossings(sheet, &layers, &channels);
        if found < best.1 {
            best = (layers.clone(), found);
        }
    }
    best
}

/// Depth first from the left, so that what is joined begins side by side.
fn initial(sheet: &Sheet, layers: &mut Layers, channels: &[Vec<(Port, Port)>]) {
    let mut next = vec![Vec::new(); sheet.nodes.len()];
    for (left, right) in channels.iter().flatten() {
        next[left.node].push(right.node);
        next[right.node].push(left.node);
    }
    let mut seen = vec![false; sheet.nodes.len()];
    let mut order = vec![Vec::new(); layers.len()];
    let starts: Vec<usize> = layers.iter().flatten().copied().collect();
    for start in starts {
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            order[sheet.nodes[node].layer].push(node);
            open.extend(next[node].iter().rev().filter(|n| !seen[**n]));
        }
    }
    *layers = order;
}

/// Each node's place in its layer.
fn places(sheet: &Sheet, layers: &Layers) -> Vec<usize> {
    let mut places = vec![0; sheet.nodes.len()];
    for layer in layers {
        for (place, &node) in layer.iter().enumerate() {
            places[node] = place;
        }
    }
    places
}

/// Sorts one layer by the mean place of its neighbours on one side. A port counts as a
/// fraction of a place, so that rows of one box keep their order.
fn sort(
    sheet: &Sheet,
    layers: &mut Layers,
    layer: usize,
    rightward: bool,
    channels: &[Vec<(Port, Port)>],
) {
    let places = places(sheet, layers);
    let mut sums = vec![(0.0_f64, 0_u32); sheet.nodes.len()];
    let channel = if rightward { layer - 1 } else { layer };
    for &(left, right) in &channels[channel] {
        let (own, other) = if rightward {
            (right, left)
        } else {
            (left, right)
        };
        let fraction = f64::from(other.dy) / f64::from(sheet.nodes[other.node].h.max(1));
        sums[own.node].0 += places[other.node] as f64 + fraction;
        sums[own.node].1 += 1;
    }
    // What has no neighbour there keeps its place among the others.
    let mean = |node: usize| match sums[node] {
        (_, 0) => None,
        (sum, count) => Some(sum / f64::from(count)),
    };
    let fixed: Vec<Option<usize>> = layers[layer]
        .iter()
        .map(|&n| mean(n).is_none().then_some(n))
        .collect();
    let mut moving: Vec<(f64, usize)> = layers[layer]
        .iter()
        .filter_map(|&n| mean(n).map(|m| (m, n)))
        .collect();
    moving.sort_by(|a, b| a.0.total_cmp(&b.0).then(places[a.1].cmp(&places[b.1])));
    let mut moving = moving.into_iter().map(|(_, n)| n);
    layers[layer] = fixed
        .into_iter()
        .filter_map(|slot| slot.or_else(|| moving.next()))
        .collect();
}

/// Crossings of the wires of `a` and `b`, which share a layer, if `a` is above.
fn between(ends: &[Vec<(usize, i32)>], a: usize, b: usize) -> usize {
    let mut count = 0;
    for first in &ends[a] {
        count += ends[b].iter().filter(|second| second < &first).count();
    }
    count
}

/// Where each node's wires end on both sides, as places.
fn ends(
    sheet: &Sheet,
    layers: &Layers,
    channels: &[Vec<(Port, Port)>],
) -> [Vec<Vec<(usize, i32)>>; 2] {
    let places = places(sheet, layers);
    let mut ends = [
        vec![Vec::new(); sheet.nodes.len()],
        vec![Vec::new(); sheet.nodes.len()],
    ];
    for &(left, right) in channels.iter().flatten() {
        ends[0][right.node].push((places[left.node], left.dy));
        ends[1][left.node].push((places[right.node], right.dy));
    }
    ends
}

/// Neighbours change places as long as that takes crossings away.
fn exchange(sheet: &Sheet, layers: &mut Layers, channels: &[Vec<(Port, Port)>]) {
    for _ in 0..6 {
        let mut improved = false;
        for layer in 0..layers.len() {
            let ends = ends(sheet, layers, channels);
            for at in 1..layers[layer].len() {
                let (a, b) = (layers[layer][at - 1], layers[layer][at]);
                let as_is: usize = ends.iter().map(|e| between(e, a, b)).sum();
                let changed: usize = ends.iter().map(|e| between(e, b, a)).sum();
                if changed < as_is {
                    layers[layer].swap(at - 1, at);
                    improved = true;
                }
            }
        }
        if !improved {
            break;
        }
    }
}

/// All crossings between neighbouring layers.
fn crossings(sheet: &Sheet, layers: &Layers, channels: &[Vec<(Port, Port)>]) -> usize {
    let places = places(sheet, layers);
    let place = |p: Port| (places[p.node], p.dy);
    channels
        .iter()
        .map(|wires| {
            let mut ends: Vec<_> = wires.iter().map(|&(l, r)| (place(l), place(r))).collect();
            ends.sort_unstable();
            let mut count = 0;
            for (at, (left, right)) in ends.iter().enumerate() {
                count += ends[..at]
                    .iter()
                    .filter(|(l, r)| l < left && r > right)
                    .count();
            }
            count
        })
        .sum()
}
