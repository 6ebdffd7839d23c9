//! How far down each node stands.
//!
//! Within a layer the order is given and the gaps have a least size; under that, each
//! node wants to be level with what it is joined to. That is a least-squares problem
//! on a chain, and pooling neighbours that press against each other solves it exactly.
//! Sweeps to the right and to the left in turn bring the layers together.

use super::layer::GAP;
use super::order::Layers;
use super::sheet::{Port, Sheet, What};

const SWEEPS: usize = 30;

/// Sets every node's `y`; the topmost is at 0.
pub fn place(sheet: &mut Sheet, layers: &Layers) {
    for layer in layers {
        let mut y = 0;
        for (at, &node) in layer.iter().enumerate() {
            if at > 0 {
                y += gap(sheet, layer[at - 1], node);
            }
            sheet.nodes[node].y = y;
            y += sheet.nodes[node].h;
        }
    }
    let joints = joints(sheet);
    for sweep in 0..SWEEPS {
        // The last sweeps look both ways.
        let side = match sweep {
            s if s + 6 >= SWEEPS => Side::Both,
            s if s % 2 == 0 => Side::Left,
            _ => Side::Right,
        };
        let count = layers.len();
        for step in 0..count {
            let at = if side == Side::Right {
                count - 1 - step
            } else {
                step
            };
            settle(sheet, &layers[at], &joints, side);
        }
    }
    let top = sheet.nodes.iter().map(|n| n.y).min().unwrap_or(0);
    for node in &mut sheet.nodes {
        node.y -= top;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Both,
}

/// Own port, the other end, the weight, and whether that end lies left.
type Joints = Vec<Vec<(i32, Port, f64, bool)>>;

fn joints(sheet: &Sheet) -> Joints {
    let mut joints = vec![Vec::new(); sheet.nodes.len()];
    let bend = |p: Port| sheet.nodes[p.node].what == What::Bend;
    for strand in &sheet.strands {
        for &right in &strand.right {
            let left = strand.left;
            // A long wire is pleasant when it is straight.
            let weight = match (bend(left), bend(right)) {
                (true, true) => 8.0,
                (false, false) => 1.0,
                _ => 2.0,
            };
            joints[left.node].push((left.dy, right, weight, false));
            joints[right.node].push((right.dy, left, weight, true));
        }
    }
    joints
}

fn gap(sheet: &Sheet, above: usize, below: usize) -> i32 {
    let bend = |n: usize| sheet.nodes[n].what == What::Bend;
    match (bend(above), bend(below)) {
        (true, true) => 10,
        (false, false) => GAP,
        _ => 14,
    }
}

fn settle(sheet: &mut Sheet, layer: &[usize], joints: &Joints, side: Side) {
    // Offsets turn "not closer than" into "not less than".
    let mut offset = 0;
    let mut offsets = Vec::with_capacity(layer.len());
    for (at, &node) in layer.iter().enumerate() {
        if at > 0 {
            offset += sheet.nodes[layer[at - 1]].h + gap(sheet, layer[at - 1], node);
        }
        offsets.push(offset);
    }
    let wishes: Vec<(f64, f64)> = layer
        .iter()
        .zip(&offsets)
        .map(|(&node, &offset)| {
            let (y, weight) = wish(sheet, node, joints, side);
            (y - f64::from(offset), weight)
        })
        .collect();
    for ((&node, offset), y) in layer.iter().zip(offsets).zip(pooled(&wishes)) {
        sheet.nodes[node].y = y.round() as i32 + offset;
    }
}

/// Where a node would be level with its neighbours, and how much it wants that.
fn wish(sheet: &Sheet, node: usize, joints: &Joints, side: Side) -> (f64, f64) {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for &(dy, other, weight, left) in &joints[node] {
        let looks = match side {
            Side::Left => left,
            Side::Right => !left,
            Side::Both => true,
        };
        if looks {
            sum += weight * f64::from(sheet.y_of(other) - dy);
            weights += weight;
        }
    }
    if weights == 0.0 {
        (f64::from(sheet.nodes[node].y), 0.05)
    } else {
        (sum / weights, weights)
    }
}

/// The values nearest to the wishes (least weighted squares) that do not decrease.
fn pooled(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for &(value, weight) in wishes {
        let mut pool = (value, weight, 1);
        while let Some(&(v, w, count)) = pools.last() {
            if v <= pool.0 {
                break;
            }
            pools.pop();
            let total = w + pool.1;
            pool = ((v * w + pool.0 * pool.1) / total, total, count + pool.2);
        }
        pools.push(pool);
    }
    pools
        .into_iter()
        .flat_map(|(value, _, count)| std::iter::repeat_n(value, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::pooled;

    #[test]
    fn what_presses_against_each_other_meets_at_the_weighted_mean() {
        assert_eq!(pooled(&[(1.0, 1.0), (2.0, 1.0)]), [1.0, 2.0]);
        assert_eq!(pooled(&[(4.0, 3.0), (0.0, 1.0)]), [3.0, 3.0]);
        assert_eq!(
            pooled(&[(5.0, 1.0), (3.0, 1.0), (1.0, 1.0), (9.0, 1.0)]),
            [3.0, 3.0, 3.0, 9.0]
        );
    }
}
