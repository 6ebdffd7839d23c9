//! One cluster as a layered graph: boxes, and wires that go from left to right.
//!
//! Referenced tables stand left of those that refer to them. All references to one
//! column of one table share a *net*: one wire that leaves the table and branches, so
//! that a table with forty references has one line beside it and not forty.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::shape::{Shape, title};

/// Height of the pill that stands for a table of another cluster.
pub const PILL: i32 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An index into the graph's tables.
    Table(usize),
    /// A table of another cluster that tables of this one refer to.
    Pill(usize),
    /// Where a wire passes a layer.
    Bend,
}

impl What {
    /// The table that it is or stands for.
    #[must_use]
    pub fn table(self) -> Option<usize> {
        match self {
            Self::Table(table) | Self::Pill(table) => Some(table),
            Self::Bend => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Node {
    pub what: What,
    pub w: i32,
    pub h: i32,
    pub layer: usize,
    pub y: i32,
}

/// A place at a node's side, down from its upper edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub node: usize,
    pub dy: i32,
}

/// One wire with its branches.
#[derive(Debug, Clone)]
pub struct Net {
    pub from: Port,
    /// To tables further right, with the reference each stands for.
    pub to: Vec<(Port, usize)>,
    /// Back to the same table: a reference to itself.
    pub back: Vec<(Port, usize)>,
}

/// What runs between one layer and the next: a net's piece there.
#[derive(Debug, Clone)]
pub struct Strand {
    pub net: usize,
    /// The layer left of it.
    pub channel: usize,
    pub left: Port,
    pub right: Vec<Port>,
    /// Ports of the left layer that it returns to.
    pub back: Vec<Port>,
}

#[derive(Debug, Clone)]
pub struct Sheet {
    pub nodes: Vec<Node>,
    pub nets: Vec<Net>,
    pub strands: Vec<Strand>,
}

impl Sheet {
    /// The cluster's tables and, as pills, what they refer to outside of it.
    #[must_use]
    pub fn of(graph: &Graph, shapes: &[Shape], members: &[usize]) -> Self {
        let mut nodes = Vec::new();
        let mut at = BTreeMap::new();
        for &table in members {
            at.insert(table, nodes.len());
            nodes.push(Node {
                what: What::Table(table),
                w: shapes[table].w,
                h: shapes[table].h,
                layer: 0,
                y: 0,
            });
        }
        let references: Vec<usize> = (0..graph.references.len())
            .filter(|&r| at.contains_key(&graph.references[r].child))
            .collect();
        for &r in &references {
            let parent = graph.references[r].parent;
            at.entry(parent).or_insert_with(|| {
                nodes.push(Node {
                    what: What::Pill(parent),
                    w: super::shape::text_width(&pill_text(graph, parent)) + 22,
                    h: PILL,
                    layer: 0,
                    y: 0,
                });
                nodes.len() - 1
            });
        }
        let rank = rank(nodes.len(), &pairs(graph, &references, &at));
        let nets = nets(graph, shapes, &references, &at, &nodes, &rank);
        Self {
            nodes,
            nets,
            strands: Vec::new(),
        }
    }

    /// Adds the bends: a net passes each layer between its ends once, whatever the
    /// number of its branches.
    pub fn thread(&mut self) {
        for at in 0..self.nets.len() {
            let net = &self.nets[at];
            let first = self.nodes[net.from.node].layer;
            let last = net.to.iter().map(|(p, _)| self.nodes[p.node].layer).max();
            let mut left = net.from;
            for channel in first..last.unwrap_or(first + 1).max(first + 1) {
                let mut strand = Strand {
                    net: at,
                    channel,
                    left,
                    right: Vec::new(),
                    back: Vec::new(),
                };
                let net = &self.nets[at];
                if channel == first {
                    strand.back = net.back.iter().map(|(port, _)| *port).collect();
                }
                for (port, _) in &net.to {
                    if self.nodes[port.node].layer == channel + 1 {
                        strand.right.push(*port);
                    }
                }
                if last.is_some_and(|last| channel + 1 < last) {
                    self.nodes.push(Node {
                        what: What::Bend,
                        w: 0,
                        h: 2,
                        layer: channel + 1,
                        y: 0,
                    });
                    left = Port {
                        node: self.nodes.len() - 1,
                        dy: 1,
                    };
                    strand.right.push(left);
                }
                self.strands.push(strand);
            }
        }
    }

    /// The nodes of each layer, in the order in which they were made.
    #[must_use]
    pub fn layers(&self) -> Vec<Vec<usize>> {
        let count = self.nodes.iter().map(|n| n.layer + 1).max().unwrap_or(0);
        let mut layers = vec![Vec::new(); count];
        for (at, node) in self.nodes.iter().enumerate() {
            layers[node.layer].push(at);
        }
        layers
    }

    #[must_use]
    pub fn y_of(&self, port: Port) -> i32 {
        self.nodes[port.node].y + port.dy
    }
}

#[must_use]
pub fn pill_text(graph: &Graph, table: usize) -> String {
    super::shape::clip(&title(graph, &graph.tables[table]), 34)
}

/// Left and right node of each reference between two nodes.
fn pairs(graph: &Graph, references: &[usize], at: &BTreeMap<usize, usize>) -> Vec<(usize, usize)> {
    references
        .iter()
        .map(|&r| &graph.references[r])
        .filter(|r| r.child != r.parent)
        .map(|r| (at[&r.parent], at[&r.child]))
        .collect()
}

/// An order of the nodes in which few pairs point backwards (Eades, Lin and Smyth):
/// from the right take what nothing depends on, from the left what depends on nothing,
/// and where everything is in a cycle, what has most more leaving than arriving.
fn rank(count: usize, pairs: &[(usize, usize)]) -> Vec<usize> {
    let mut open: Vec<bool> = vec![true; count];
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut degrees = vec![(0_i32, 0_i32); count];
        for &(a, b) in pairs.iter().filter(|(a, b)| open[*a] && open[*b]) {
            degrees[a].0 += 1;
            degrees[b].1 += 1;
        }
        let candidates = || (0..count).filter(|&n| open[n]);
        if let Some(node) = candidates().find(|&n| degrees[n].0 == 0) {
            tail.push(node);
            open[node] = false;
            continue;
        }
        let source = candidates().find(|&n| degrees[n].1 == 0);
        let Some(node) = source.or_else(|| {
            candidates().max_by_key(|&n| (degrees[n].0 - degrees[n].1, std::cmp::Reverse(n)))
        }) else {
            break;
        };
        head.push(node);
        open[node] = false;
    }
    head.extend(tail.into_iter().rev());
    let mut rank = vec![0; count];
    for (place, node) in head.into_iter().enumerate() {
        rank[node] = place;
    }
    rank
}

fn nets(
    graph: &Graph,
    shapes: &[Shape],
    references: &[usize],
    at: &BTreeMap<usize, usize>,
    nodes: &[Node],
    rank: &[usize],
) -> Vec<Net> {
    let mut by_port: BTreeMap<Port, Net> = BTreeMap::new();
    let mut taken: BTreeMap<Port, i32> = BTreeMap::new();
    for &r in references {
        let reference = &graph.references[r];
        let (child, parent) = (at[&reference.child], at[&reference.parent]);
        let mut child_port = Port {
            node: child,
            dy: shapes[reference.child].port(reference.child_columns.first().copied()),
        };
        // Two references of one column end side by side.
        let used = taken.entry(child_port).or_default();
        child_port.dy += [0, 5, -5][usize::try_from(*used % 3).unwrap_or(0)];
        *used += 1;
        let parent_port = Port {
            node: parent,
            dy: match nodes[parent].what {
                What::Table(t) => shapes[t].port(reference.parent_columns.first().copied()),
                _ => PILL / 2,
            },
        };
        let (from, to) = if rank[parent] <= rank[child] {
            (parent_port, child_port)
        } else {
            (child_port, parent_port)
        };
        let net = by_port.entry(from).or_insert_with(|| Net {
            from,
            to: Vec::new(),
            back: Vec::new(),
        });
        if child == parent {
            net.back.push((to, r));
        } else {
            net.to.push((to, r));
        }
    }
    by_port.into_values().collect()
}
