//! What a transaction of the application does, decided before it begins: pure
//! data from a seeded generator, so that it can be played again in another form.

use fastrand::Rng;

use super::order::{Item, Order, total};

/// An order that an earlier step or transaction knows, or one of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Id(i64),
    /// The order that the transaction's own `Place` made.
    Placed,
}

#[derive(Debug, Clone)]
pub enum Step {
    Place(Order),
    /// Adds, removes, changes or reorders lines; the seed decides which.
    EditItems {
        which: Which,
        seed: u64,
    },
    SetStatus {
        which: Which,
        status: &'static str,
    },
    Ship {
        which: Which,
        at: i64,
    },
    Delete {
        which: Which,
    },
    Savepoint,
    /// Back to the last savepoint, as if the steps since had not been.
    RollbackToSavepoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
}

#[derive(Debug, Clone)]
pub struct Script {
    pub steps: Vec<Step>,
    pub end: End,
}

const STATUSES: [&str; 5] = ["new", "paid", "packed", "on hold", "cancelled"];

/// Where the orders to change come from.
pub trait Choice {
    /// An order of this client that exists, different from `not`.
    fn pick(&mut self, rng: &mut Rng, not: Option<i64>) -> Option<i64>;
}

impl Script {
    /// One random transaction. `now` is in seconds since 1970.
    pub fn random(rng: &mut Rng, choice: &mut impl Choice, now: i64) -> Self {
        let dice = rng.u32(0..100);
        let one = choice.pick(rng, None);
        let Some(id) = one else {
            return Self::commit(vec![Step::Place(order(rng, now))]);
        };
        let which = Which::Id(id);
        let seed = rng.u64(..);
        let status = STATUSES[rng.usize(..STATUSES.len())];
        let step = match dice {
            0..25 => Step::Place(order(rng, now)),
            25..50 => Step::EditItems { which, seed },
            50..70 => Step::SetStatus { which, status },
            70..80 => Step::Ship { which, at: now },
            80..84 => Step::Delete { which },
            _ => return Self::long(rng, choice, id, now),
        };
        Self::commit(vec![step])
    }

    fn commit(steps: Vec<Step>) -> Self {
        Self {
            steps,
            end: End::Commit,
        }
    }

    /// Several statements on several orders, with a savepoint that is kept or
    /// rolled back to; one in five is rolled back as a whole.
    fn long(rng: &mut Rng, choice: &mut impl Choice, id: i64, now: i64) -> Self {
        let status = STATUSES[rng.usize(..STATUSES.len())];
        let mut steps = vec![
            Step::Place(order(rng, now)),
            Step::EditItems {
                which: Which::Placed,
                seed: rng.u64(..),
            },
            Step::Savepoint,
            Step::EditItems {
                which: Which::Id(id),
                seed: rng.u64(..),
            },
            Step::SetStatus {
                which: Which::Placed,
                status: "paid",
            },
        ];
        if rng.bool() {
            steps.push(Step::RollbackToSavepoint);
        }
        steps.push(Step::SetStatus {
            which: Which::Id(id),
            status,
        });
        if let Some(other) = choice.pick(rng, Some(id)) {
            steps.push(Step::Ship {
                which: Which::Id(other),
                at: now,
            });
        }
        if rng.u32(0..10) == 0 {
            steps.push(Step::Delete {
                which: Which::Placed,
            });
        }
        let end = if rng.u32(0..5) == 0 {
            End::Rollback
        } else {
            End::Commit
        };
        Self { steps, end }
    }
}

fn order(rng: &mut Rng, now: i64) -> Order {
    let items: Vec<Item> = (0..rng.usize(1..=5)).map(|_| item(rng)).collect();
    Order {
        customer_id: rng.i64(1..=10_000),
        status: "new".to_owned(),
        placed_at: now,
        shipped_at: None,
        currency: "EUR".to_owned(),
        total_cents: total(&items),
        note: (rng.u32(0..10) == 0).then(|| "don't ring \\ \"please\"".to_owned()),
        numbered: true,
        items,
    }
}

/// One line in 40 has a note so long and so random that it is stored out of line.
fn item(rng: &mut Rng) -> Item {
    let note = match rng.u32(0..40) {
        0 => Some((0..3_000).map(|_| rng.alphanumeric()).collect()),
        1..5 => Some("für \"Lena\" \u{1F381}".to_owned()),
        _ => None,
    };
    Item {
        sku: format!("SKU-{}", rng.u32(1..=1000)),
        qty: rng.i32(1..=5),
        unit_cents: rng.i64(100..20_000),
        note,
    }
}

/// Another list of lines, made from `items` by `seed`. It may become empty.
#[must_use]
pub fn edited(items: &[Item], seed: u64) -> Vec<Item> {
    let mut rng = Rng::with_seed(seed);
    let mut items = items.to_vec();
    match rng.u32(0..4) {
        0 if !items.is_empty() => {
            items.remove(rng.usize(..items.len()));
        }
        1 if !items.is_empty() => {
            let at = rng.usize(..items.len());
            items[at].qty = rng.i32(1..=9);
        }
        2 if items.len() > 1 => items.rotate_left(1),
        _ => items.insert(rng.usize(..=items.len()), item(&mut rng)),
    }
    items
}
