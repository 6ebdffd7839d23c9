//! From a graph to places: every box, pill and wire of a drawing.

use std::collections::BTreeMap;

use super::cluster::Clusters;
use super::graph::Graph;
use super::shape::{Detail, Shape, clip, text_width, title};
use super::sheet::{PILL, Sheet, What};
use super::{layer, order, pack, place, route};

/// Around a cluster's contents, and above them for its title.
const PADDING: i32 = 22;
const CAPTION: i32 = 34;
/// The same in a schema that is looked at from afar first.
const LARGE_CAPTION: i32 = 60;
/// The sizes of a title and its count from afar, as in `svg.css`.
const FAR: (i32, i32) = (34, 22);
const LARGE_FAR: (i32, i32) = (58, 32);
/// Characters of a title.
pub const LONGEST_TITLE: usize = 40;
/// Tables up to this number are drawn with all their columns.
const ALL_COLUMNS: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub w: i32,
    pub h: i32,
}

#[derive(Debug, Clone)]
pub struct Placed {
    pub table: usize,
    pub x: i32,
    pub y: i32,
    pub shape: Shape,
}

/// A table of another cluster, where tables refer to it.
#[derive(Debug, Clone)]
pub struct Pill {
    pub table: usize,
    pub at: Rect,
}

/// One reference from its parent to its child, as the corners of its way.
#[derive(Debug, Clone)]
pub struct Wire {
    pub reference: usize,
    pub points: Vec<(i32, i32)>,
    /// The way ends at the child; otherwise it begins there.
    pub to_child: bool,
}

#[derive(Debug, Clone)]
pub struct Area {
    pub title: String,
    pub at: Rect,
    pub tables: usize,
    /// From afar there is no room for the count beside the title.
    pub tight: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Drawing {
    pub w: i32,
    pub h: i32,
    pub boxes: Vec<Placed>,
    pub pills: Vec<Pill>,
    pub wires: Vec<Wire>,
    /// The clusters, where there is more than one.
    pub areas: Vec<Area>,
}

impl Drawing {
    /// The same graph gives the same drawing, always.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let detail = if graph.tables.len() > ALL_COLUMNS {
            Detail::Keys
        } else {
            Detail::All
        };
        let shapes: Vec<Shape> = (0..graph.tables.len())
            .map(|at| Shape::of(graph, at, detail))
            .collect();
        let clusters = Clusters::of(graph);
        let mut parts: Vec<Self> = clusters
            .connected
            .iter()
            .map(|members| connected(graph, &shapes, members))
            .collect();
        if !clusters.loose.is_empty() {
            parts.push(loose(&shapes, &clusters.loose));
        }
        assemble(graph, parts, &clusters)
    }

    fn shift(&mut self, dx: i32, dy: i32) {
        for placed in &mut self.boxes {
            placed.x += dx;
            placed.y += dy;
        }
        for pill in &mut self.pills {
            pill.at.x += dx;
            pill.at.y += dy;
        }
        for wire in &mut self.wires {
            for point in &mut wire.points {
                point.0 += dx;
                point.1 += dy;
            }
        }
    }

    fn take(&mut self, other: Self) {
        self.boxes.extend(other.boxes);
        self.pills.extend(other.pills);
        self.wires.extend(other.wires);
    }
}

/// Side by side, with a frame around each cluster where there are several.
fn assemble(graph: &Graph, parts: Vec<Drawing>, clusters: &Clusters) -> Drawing {
    let framed = parts.len() > 1;
    let (side, top) = if framed {
        (PADDING, PADDING + caption_height(graph))
    } else {
        (0, 0)
    };
    let far = if top - side > CAPTION { LARGE_FAR } else { FAR };
    let titles: Vec<String> = (0..parts.len())
        .map(|at| caption(graph, clusters.connected.get(at)))
        .collect();
    let sizes: Vec<(i32, i32)> = parts
        .iter()
        .zip(&titles)
        .map(|(p, title)| {
            let least = if framed { title_width(title, far) } else { 0 };
            ((p.w + 2 * side).max(least), p.h + top + side)
        })
        .collect();
    let places = pack::pack(&sizes);
    let mut drawing = Drawing::default();
    for (at, (mut part, (x, y))) in parts.into_iter().zip(places).enumerate() {
        let (w, h) = sizes[at];
        drawing.w = drawing.w.max(x + w);
        drawing.h = drawing.h.max(y + h);
        if framed {
            let members = clusters.connected.get(at).unwrap_or(&clusters.loose);
            let tables = members.len();
            drawing.areas.push(Area {
                title: titles[at].clone(),
                at: Rect { x, y, w, h },
                tables,
                tight: title_width(&titles[at], far) + count_width(tables, far) > w,
            });
        }
        part.shift(x + side, y + top);
        drawing.take(part);
    }
    drawing
}

/// Room beside a title, on both sides.
const BESIDE: i32 = 18;

/// A frame is as wide as its title, near with its count, and from afar without.
fn title_width(title: &str, far: (i32, i32)) -> i32 {
    let title = text_width(&clip(title, LONGEST_TITLE));
    let near = title * 15 / 12 + text_width(" 99 tables");
    near.max(title * far.0 / 12) + 2 * BESIDE
}

fn count_width(tables: usize, far: (i32, i32)) -> i32 {
    text_width(&format!(" {tables} tables")) * far.1 / 12
}

/// Room for the title of a cluster.
#[must_use]
pub fn caption_height(graph: &Graph) -> i32 {
    if graph.tables.len() > ALL_COLUMNS {
        LARGE_CAPTION
    } else {
        CAPTION
    }
}

/// A cluster is named after the table that most of it refers to.
fn caption(graph: &Graph, members: Option<&Vec<usize>>) -> String {
    let Some(members) = members else {
        return "no references".to_owned();
    };
    let degree = |table: usize| {
        graph
            .references
            .iter()
            .filter(|r| {
                (r.parent == table && members.contains(&r.child))
                    || (r.child == table && members.contains(&r.parent))
            })
            .count()
    };
    members
        .iter()
        .max_by_key(|&&t| (degree(t), std::cmp::Reverse(t)))
        .map(|&t| title(graph, &graph.tables[t]))
        .unwrap_or_default()
}

/// The best of a few heights: few crossings, short wires, not too narrow or flat.
fn connected(graph: &Graph, shapes: &[Shape], members: &[usize]) -> Drawing {
    let sheet = Sheet::of(graph, shapes, members);
    let area: f64 = sheet
        .nodes
        .iter()
        .map(|n| f64::from(n.w + 90) * f64::from(n.h + layer::GAP))
        .sum();
    let tallest = sheet.nodes.iter().map(|n| n.h).max().unwrap_or(0);
    let mut best: Option<(f64, Drawing)> = None;
    for share in [0.55, 0.75, 1.0, 1.35] {
        let budget = ((area * share / 1.5).sqrt() as i32).max(tallest + layer::GAP);
        let (drawing, crossings) = lay_out(graph, sheet.clone(), shapes, budget);
        let cost = cost(&drawing, crossings);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, drawing));
        }
    }
    best.map(|(_, drawing)| drawing).unwrap_or_default()
}

fn cost(drawing: &Drawing, crossings: usize) -> f64 {
    let length: i64 = drawing
        .wires
        .iter()
        .flat_map(|w| w.points.windows(2))
        .map(|p| i64::from((p[0].0 - p[1].0).abs() + (p[0].1 - p[1].1).abs()))
        .sum();
    let (w, h) = (f64::from(drawing.w.max(1)), f64::from(drawing.h.max(1)));
    // A screen is wider than it is high.
    let aspect = (w / h / 1.5).ln().abs();
    (w * h).sqrt() * (1.0 + 0.5 * aspect)
        + crossings as f64 * 12.0
        + length as f64 / (10.0 + drawing.wires.len() as f64)
}

fn lay_out(graph: &Graph, mut sheet: Sheet, shapes: &[Shape], budget: i32) -> (Drawing, usize) {
    layer::assign(&mut sheet, budget);
    sheet.thread();
    let (layers, crossings) = order::order(&sheet);
    place::place(&mut sheet, &layers);
    let channels: Vec<route::Channel> = (0..layers.len())
        .map(|at| route::channel(&sheet, at))
        .collect();
    let widths: Vec<i32> = layers
        .iter()
        .map(|l| l.iter().map(|&n| sheet.nodes[n].w).max().unwrap_or(0))
        .collect();
    let mut lefts = Vec::with_capacity(layers.len());
    let mut x = 0;
    for (width, channel) in widths.iter().zip(&channels) {
        lefts.push(x);
        x += width + channel.width;
    }
    let mut drawing = Drawing {
        w: x,
        h: sheet.nodes.iter().map(|n| n.y + n.h).max().unwrap_or(0),
        ..Drawing::default()
    };
    for node in &sheet.nodes {
        // A pill stands close to those that refer to it.
        let left = lefts[node.layer];
        match node.what {
            What::Table(table) => drawing.boxes.push(Placed {
                table,
                x: left,
                y: node.y,
                shape: shapes[table].clone(),
            }),
            What::Pill(table) => drawing.pills.push(Pill {
                table,
                at: Rect {
                    x: left + widths[node.layer] - node.w,
                    y: node.y,
                    w: node.w,
                    h: PILL,
                },
            }),
            What::Bend => {}
        }
    }
    drawing.wires = wires(graph, &sheet, &lefts, &widths, &channels);
    (drawing, crossings)
}

/// Every reference's way through its net.
fn wires(
    graph: &Graph,
    sheet: &Sheet,
    lefts: &[i32],
    widths: &[i32],
    channels: &[route::Channel],
) -> Vec<Wire> {
    let mut trunk = BTreeMap::new();
    for (at, channel) in channels.iter().enumerate() {
        for &(strand, x) in &channel.trunks {
            trunk.insert((sheet.strands[strand].net, at), lefts[at] + widths[at] + x);
        }
    }
    let mut bend = BTreeMap::new();
    for strand in &sheet.strands {
        for port in &strand.right {
            if sheet.nodes[port.node].what == What::Bend {
                bend.insert((strand.net, strand.channel + 1), sheet.y_of(*port));
            }
        }
    }
    let mut wires = Vec::new();
    for (at, net) in sheet.nets.iter().enumerate() {
        let from = &sheet.nodes[net.from.node];
        let right_of = |node: &super::sheet::Node| match node.what {
            What::Pill(_) => lefts[node.layer] + widths[node.layer],
            _ => lefts[node.layer] + node.w,
        };
        let start = (right_of(from), sheet.y_of(net.from));
        for &(port, reference) in &net.to {
            let to = &sheet.nodes[port.node];
            let mut points = vec![start];
            let mut y = start.1;
            for channel in from.layer..to.layer {
                let x = trunk.get(&(at, channel)).copied().unwrap_or(start.0);
                points.push((x, y));
                y = if channel + 1 == to.layer {
                    sheet.y_of(port)
                } else {
                    bend.get(&(at, channel + 1)).copied().unwrap_or(y)
                };
                points.push((x, y));
            }
            points.push((lefts[to.layer], y));
            wires.push(Wire {
                reference,
                points: corners(points),
                to_child: from.what.table() == Some(graph.references[reference].parent),
            });
        }
        for &(port, reference) in &net.back {
            let x = trunk
                .get(&(at, from.layer))
                .copied()
                .unwrap_or(start.0 + 12);
            let y = sheet.y_of(port);
            wires.push(Wire {
                reference,
                points: corners(vec![start, (x, start.1), (x, y), (start.0, y)]),
                to_child: true,
            });
        }
    }
    wires.sort_by_key(|w| w.reference);
    wires
}

/// Without points that lie on a straight line between others.
fn corners(points: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::with_capacity(points.len());
    for point in points {
        if kept.last() == Some(&point) {
            continue;
        }
        if let [.., a, b] = kept[..] {
            let straight = (a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1);
            if straight {
                kept.pop();
            }
        }
        kept.push(point);
    }
    kept
}

/// Tables without references, in columns.
fn loose(shapes: &[Shape], tables: &[usize]) -> Drawing {
    let area: i32 = tables
        .iter()
        .map(|&t| (shapes[t].w + 24) / 8 * (shapes[t].h + 24) / 8)
        .sum();
    let height = (f64::from(area) * 64.0 / 1.6).sqrt() as i32;
    let mut drawing = Drawing::default();
    let (mut x, mut y, mut column) = (0, 0, 0);
    for &table in tables {
        let shape = &shapes[table];
        if y > 0 && y + shape.h > height {
            x += column + 24;
            (y, column) = (0, 0);
        }
        drawing.boxes.push(Placed {
            table,
            x,
            y,
            shape: shape.clone(),
        });
        column = column.max(shape.w);
        y += shape.h + 24;
        drawing.w = drawing.w.max(x + column);
        drawing.h = drawing.h.max(y - 24);
    }
    drawing
}
