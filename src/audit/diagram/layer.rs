//! Which layer each node stands in.
//!
//! A layer is filled up to a height, so that forty tables that refer to one do not
//! become a column of forty: the wire they share passes on to the next layer.

use super::sheet::Sheet;

/// Between two boxes of a layer.
pub const GAP: i32 = 26;

/// Sets every node's layer: right of everything it has wires from.
pub fn assign(sheet: &mut Sheet, budget: i32) {
    let count = sheet.nodes.len();
    let mut before = vec![Vec::new(); count];
    let mut after = vec![Vec::new(); count];
    for net in &sheet.nets {
        for (port, _) in &net.to {
            before[port.node].push(net.from.node);
            after[net.from.node].push(port.node);
        }
    }
    let depth = depths(&after);
    fill(sheet, budget, &before, &after, &depth);
    shorten(sheet, budget, &before, &after);
}

/// The longest way from each node to the right. The wires have no cycles.
fn depths(after: &[Vec<usize>]) -> Vec<usize> {
    fn depth(node: usize, after: &[Vec<usize>], known: &mut [Option<usize>]) -> usize {
        if let Some(depth) = known[node] {
            return depth;
        }
        let deepest = after[node]
            .iter()
            .map(|&next| depth(next, after, known) + 1)
            .max();
        *known[node].insert(deepest.unwrap_or(0))
    }
    let mut known = vec![None; after.len()];
    (0..after.len())
        .map(|node| depth(node, after, &mut known))
        .collect()
}

/// Layer by layer, those with the longest way before them first.
fn fill(
    sheet: &mut Sheet,
    budget: i32,
    before: &[Vec<usize>],
    after: &[Vec<usize>],
    depth: &[usize],
) {
    let count = sheet.nodes.len();
    let mut layer_of: Vec<Option<usize>> = vec![None; count];
    let mut layer = 0;
    let mut placed = 0;
    while placed < count {
        let mut ready: Vec<usize> = (0..count)
            .filter(|&n| {
                layer_of[n].is_none()
                    && before[n]
                        .iter()
                        .all(|&b| layer_of[b].is_some_and(|l| l < layer))
            })
            .collect();
        ready.sort_by_key(|&n| {
            (
                std::cmp::Reverse(depth[n]),
                std::cmp::Reverse(after[n].len()),
                n,
            )
        });
        let mut used = 0;
        for node in ready {
            let height = sheet.nodes[node].h + GAP;
            if used > 0 && used + height > budget {
                continue;
            }
            used += height;
            layer_of[node] = Some(layer);
            sheet.nodes[node].layer = layer;
            placed += 1;
        }
        layer += 1;
    }
}

/// Moves nodes to where their wires are shortest, as the others stand.
fn shorten(sheet: &mut Sheet, budget: i32, before: &[Vec<usize>], after: &[Vec<usize>]) {
    let last = sheet.nodes.iter().map(|n| n.layer).max().unwrap_or(0);
    let mut used = vec![0; last + 1];
    for node in &sheet.nodes {
        used[node.layer] += node.h + GAP;
    }
    let mut nets_of = vec![Vec::new(); sheet.nodes.len()];
    for (at, net) in sheet.nets.iter().enumerate() {
        nets_of[net.from.node].push(at);
        for (port, _) in &net.to {
            if nets_of[port.node].last() != Some(&at) {
                nets_of[port.node].push(at);
            }
        }
    }
    for _ in 0..8 {
        let mut moved = false;
        for node in 0..sheet.nodes.len() {
            let own = sheet.nodes[node].layer;
            let height = sheet.nodes[node].h + GAP;
            let lowest = before[node]
                .iter()
                .map(|&b| sheet.nodes[b].layer + 1)
                .max()
                .unwrap_or(0);
            let highest = after[node]
                .iter()
                .map(|&a| sheet.nodes[a].layer.saturating_sub(1))
                .min()
                .unwrap_or(last);
            let mut best = (length(sheet, &nets_of[node]), own);
            for (layer, &full) in used.iter().enumerate().take(highest + 1).skip(lowest) {
                if layer == own || full + height > budget.max(height) {
                    continue;
                }
                sheet.nodes[node].layer = layer;
                let cost = length(sheet, &nets_of[node]);
                if cost < best.0 {
                    best = (cost, layer);
                }
            }
            sheet.nodes[node].layer = best.1;
            used[own] -= height;
            used[best.1] += height;
            moved |= best.1 != own;
        }
        if !moved {
            break;
        }
    }
    close_gaps(sheet);
}

/// A net costs the layers it passes, its branches a little more each.
fn length(sheet: &Sheet, nets: &[usize]) -> usize {
    nets.iter()
        .map(|&at| {
            let net = &sheet.nets[at];
            let from = sheet.nodes[net.from.node].layer;
            let spans = net
                .to
                .iter()
                .map(|(p, _)| sheet.nodes[p.node].layer.abs_diff(from));
            spans.clone().max().unwrap_or(0) * 8 + spans.sum::<usize>()
        })
        .sum()
}

/// No layer stays empty.
fn close_gaps(sheet: &mut Sheet) {
    let mut filled: Vec<usize> = sheet.nodes.iter().map(|n| n.layer).collect();
    filled.sort_unstable();
    filled.dedup();
    for node in &mut sheet.nodes {
        node.layer = filled.binary_search(&node.layer).unwrap_or(node.layer);
    }
}
