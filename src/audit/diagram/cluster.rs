//! Which tables are drawn together.
//!
//! What is connected belongs together, as long as it is not too much. A larger
//! component is cut into communities: tables that refer to each other more than to the
//! rest. A reference to a table that half of the schema refers to says little about
//! what belongs together, so it weighs the less the more there are.

use std::collections::BTreeMap;

use super::graph::Graph;

/// A component up to this size is drawn as one.
const WHOLE: usize = 48;
/// The size that communities do not grow beyond.
const LARGEST: usize = 26;
/// Smaller ones join the neighbour that they have most to do with.
const SMALLEST: usize = 5;

/// The tables of each cluster, largest first; tables without any reference are the
/// last cluster, `loose`.
#[derive(Debug, Clone, Default)]
pub struct Clusters {
    pub connected: Vec<Vec<usize>>,
    pub loose: Vec<usize>,
}

impl Clusters {
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let edges = edges(graph);
        let mut clusters = Self::default();
        for component in components(graph.tables.len(), &edges) {
            let own = |t: usize| {
                graph
                    .references
                    .iter()
                    .any(|r| r.child == t && r.parent == t)
            };
            if component.len() == 1 && !own(component[0]) {
                clusters.loose.extend(component);
            } else if component.len() <= WHOLE {
                clusters.connected.push(component);
            } else {
                clusters.connected.extend(split(&component, &edges));
            }
        }
        clusters
            .connected
            .sort_by_key(|c| (std::cmp::Reverse(c.len()), c[0]));
        clusters
    }
}

/// Weights of pairs of tables, lower index first.
type Edges = BTreeMap<(usize, usize), f64>;

fn edges(graph: &Graph) -> Edges {
    let mut referring = vec![0_u32; graph.tables.len()];
    for reference in &graph.references {
        referring[reference.parent] += 1;
    }
    let mut edges = Edges::new();
    for reference in graph.references.iter().filter(|r| r.child != r.parent) {
        let pair = (
            reference.child.min(reference.parent),
            reference.child.max(reference.parent),
        );
        let weight = 1.0 / f64::from(referring[reference.parent]).sqrt();
        *edges.entry(pair).or_default() += weight;
    }
    edges
}

/// Connected components, each sorted.
fn components(count: usize, edges: &Edges) -> Vec<Vec<usize>> {
    let mut root: Vec<usize> = (0..count).collect();
    fn find(root: &mut [usize], mut at: usize) -> usize {
        while root[at] != at {
            root[at] = root[root[at]];
            at = root[at];
        }
        at
    }
    for &(a, b) in edges.keys() {
        let (a, b) = (find(&mut root, a), find(&mut root, b));
        root[a.max(b)] = a.min(b);
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..count {
        let of = find(&mut root, at);
        members.entry(of).or_default().push(at);
    }
    members.into_values().collect()
}

/// Communities of one component: local moving and merging by modularity (Louvain), in
/// a fixed order and with a limit on the size.
fn split(component: &[usize], edges: &Edges) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = component.iter().map(|&t| vec![t]).collect();
    loop {
        let before = groups.len();
        groups = merge_round(&groups, edges);
        if groups.len() == before {
            break;
        }
    }
    absorb_small(groups, edges)
}

/// The weights between groups, and each group's total.
fn between(groups: &[Vec<usize>], edges: &Edges) -> (BTreeMap<(usize, usize), f64>, Vec<f64>) {
    let mut of = BTreeMap::new();
    for (group, members) in groups.iter().enumerate() {
        for &table in members {
            of.insert(table, group);
        }
    }
    let mut weights = BTreeMap::new();
    let mut total = vec![0.0; groups.len()];
    for (&(a, b), &weight) in edges {
        let (Some(&a), Some(&b)) = (of.get(&a), of.get(&b)) else {
            continue;
        };
        total[a] += weight;
        total[b] += weight;
        if a != b {
            *weights.entry((a, b)).or_default() += weight;
            *weights.entry((b, a)).or_default() += weight;
        }
    }
    (weights, total)
}

/// One level: each group moves to the community where modularity gains most.
fn merge_round(groups: &[Vec<usize>], edges: &Edges) -> Vec<Vec<usize>> {
    let (weights, total) = between(groups, edges);
    let all: f64 = total.iter().sum();
    let mut home: Vec<usize> = (0..groups.len()).collect();
    let mut size: Vec<usize> = groups.iter().map(Vec::len).collect();
    let mut degree = total.clone();
    let mut moved = true;
    let mut rounds = 0;
    while moved && rounds < 20 {
        moved = false;
        rounds += 1;
        for group in 0..groups.len() {
            let mut links: BTreeMap<usize, f64> = BTreeMap::new();
            for (&(_, other), &weight) in weights.range((group, 0)..(group + 1, 0)) {
                *links.entry(home[other]).or_default() += weight;
            }
            let own = home[group];
            size[own] -= groups[group].len();
            degree[own] -= total[group];
            let gain = |to: usize| {
                links.get(&to).copied().unwrap_or(0.0) - degree[to] * total[group] / all
            };
            let mut best = (own, gain(own));
            for &to in links.keys() {
                if size[to] + groups[group].len() <= LARGEST && gain(to) > best.1 + 1e-9 {
                    best = (to, gain(to));
                }
            }
            moved |= best.0 != own;
            home[group] = best.0;
            size[best.0] += groups[group].len();
            degree[best.0] += total[group];
        }
    }
    let mut merged: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (group, members) in groups.iter().enumerate() {
        merged.entry(home[group]).or_default().extend(members);
    }
    sorted(merged.into_values().collect())
}

fn sorted(mut groups: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort();
    groups
}

/// Groups of a few tables join the neighbour with most weight between them.
fn absorb_small(mut groups: Vec<Vec<usize>>, edges: &Edges) -> Vec<Vec<usize>> {
    loop {
        let (weights, _) = between(&groups, edges);
        let mut best: Option<(usize, usize, f64)> = None;
        for (&(small, other), &weight) in &weights {
            if groups[small].len() < SMALLEST
                && groups[small].len() + groups[other].len() <= LARGEST + SMALLEST
                && best.is_none_or(|(_, _, w)| weight > w)
            {
                best = Some((small, other, weight));
            }
        }
        let Some((small, other, _)) = best else {
            return sorted(groups);
        };
        let moved = std::mem::take(&mut groups[small]);
        groups[other].extend(moved);
        groups.retain(|g| !g.is_empty());
        groups = sorted(groups);
    }
}
