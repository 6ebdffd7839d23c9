//! Rectangles side by side in little space, in about the shape of a screen.

/// Between clusters.
const GAP: i32 = 36;

/// The place of each rectangle, given as width and height, in their order: each goes
/// where the skyline of those before it is lowest, then furthest left.
#[must_use]
pub fn pack(sizes: &[(i32, i32)]) -> Vec<(i32, i32)> {
    let area: f64 = sizes
        .iter()
        .map(|&(w, h)| f64::from(w + GAP) * f64::from(h + GAP))
        .sum();
    let widest = sizes.iter().map(|s| s.0).max().unwrap_or(0);
    let mut best: Option<(f64, Vec<(i32, i32)>)> = None;
    for stretch in [1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 4.0] {
        let limit = ((area * stretch).sqrt() as i32).max(widest);
        let places = within(sizes, limit);
        let (mut w, mut h) = (1, 1);
        for (&(x, y), size) in places.iter().zip(sizes) {
            w = w.max(x + size.0);
            h = h.max(y + size.1);
        }
        let (w, h) = (f64::from(w), f64::from(h));
        let cost = w * h * (1.0 + 0.4 * (w / h / 1.6).ln().abs());
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, places));
        }
    }
    best.map(|(_, places)| places).unwrap_or_default()
}

fn within(sizes: &[(i32, i32)], limit: i32) -> Vec<(i32, i32)> {
    // The highest first leaves the fewest holes.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(sizes[i].1), i));
    // Steps of the skyline: from x on it is this high.
    let mut skyline = vec![(0, 0)];
    let mut places = vec![(0, 0); sizes.len()];
    for at in order {
        let (w, h) = (sizes[at].0 + GAP, sizes[at].1 + GAP);
        let mut best = None;
        for &(x, _) in &skyline {
            if x > 0 && x + w - GAP > limit {
                continue;
            }
            let y = height(&skyline, x, x + w);
            if best.is_none_or(|(_, least)| y < least) {
                best = Some((x, y));
            }
        }
        let (x, y) = best.unwrap_or((0, 0));
        places[at] = (x, y);
        raise(&mut skyline, x, x + w, y + h);
    }
    places
}

/// The skyline's highest step between two places.
fn height(skyline: &[(i32, i32)], from: i32, to: i32) -> i32 {
    let mut highest = 0;
    for (at, &(x, y)) in skyline.iter().enumerate() {
        let end = skyline.get(at + 1).map_or(i32::MAX, |s| s.0);
        if x < to && end > from {
            highest = highest.max(y);
        }
    }
    highest
}

fn raise(skyline: &mut Vec<(i32, i32)>, from: i32, to: i32, y: i32) {
    let after = height(skyline, to, to + 1);
    skyline.retain(|&(x, _)| x < from || x > to);
    skyline.push((from, y));
    skyline.push((to, after));
    skyline.sort_unstable();
    skyline.dedup_by_key(|s| s.0);
}
