//! What the application was told is committed, and whether the tables hold it.

use std::collections::HashMap;

use super::order::Order;

/// What an acknowledged write left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Present(Order),
    Deleted,
}

/// The state of every order one client has touched.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: HashMap<i64, Entry>,
}

/// How the tables differ from the ledger. All zero is what must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Orders compared.
    pub checked: u64,
    /// Acknowledged orders or lines that are not there.
    pub lost: u64,
    /// Orders or lines that are there once too often: deleted, rolled back, or
    /// written twice.
    pub doubled: u64,
    /// Orders with another content than the acknowledged one.
    pub stale: u64,
}

impl Findings {
    #[must_use]
    pub fn clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.stale == 0
    }

    pub fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.stale += other.stale;
    }
}

impl Ledger {
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Takes over what a committed transaction did.
    pub fn commit(&mut self, changes: HashMap<i64, Entry>) {
        self.entries.extend(changes);
    }

    /// Ids in ascending order.
    #[must_use]
    pub fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        self.entries.contains_key(&id)
    }

    /// Compares the entries of `ids` with what was found in the tables.
    #[must_use]
    pub fn compare(&self, ids: &[i64], mut found: HashMap<i64, Order>) -> Findings {
        let mut findings = Findings::default();
        for id in ids {
            let Some(entry) = self.entries.get(id) else {
                continue;
            };
            findings.checked += 1;
            match (entry, found.remove(id)) {
                (Entry::Present(_), None) => findings.lost += 1,
                (Entry::Deleted, Some(_)) => findings.doubled += 1,
                (Entry::Deleted, None) => {}
                (Entry::Present(expected), Some(order)) => {
                    let (want, have) = (expected.items.len(), order.items.len());
                    findings.lost += want.saturating_sub(have) as u64;
                    findings.doubled += have.saturating_sub(want) as u64;
                    if want == have && *expected != order {
                        findings.stale += 1;
                    }
                }
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::Item;
    use super::*;

    fn order(items: usize) -> Order {
        let item = Item {
            sku: "SKU-1".into(),
            qty: 1,
            unit_cents: 5,
            note: None,
        };
        Order {
            customer_id: 1,
            status: "new".into(),
            placed_at: 1,
            shipped_at: None,
            currency: "EUR".into(),
            total_cents: 5,
            note: None,
            numbered: true,
            items: vec![item; items],
        }
    }

    #[test]
    fn each_kind_of_difference_is_found_and_equality_is_clean() {
        let mut ledger = Ledger::default();
        let entries = [
            (1, Entry::Present(order(2))),
            (2, Entry::Present(order(2))),
            (3, Entry::Present(order(2))),
            (4, Entry::Present(order(2))),
            (5, Entry::Deleted),
            (6, Entry::Deleted),
            (7, Entry::Present(order(2))),
        ];
        ledger.commit(HashMap::from(entries));
        let mut shipped = order(2);
        shipped.shipped_at = Some(9);
        let found = HashMap::from([
            (1, order(2)),
            (3, order(1)),
            (4, order(3)),
            (6, order(0)),
            (7, shipped),
        ]);
        let findings = ledger.compare(&ledger.ids(), found);
        let expected = Findings {
            checked: 7,
            lost: 2,
            doubled: 2,
            stale: 1,
        };
        assert_eq!(findings, expected);
        assert!(!findings.clean());
        let same = HashMap::from([(1, order(2))]);
        assert!(ledger.compare(&[1, 5], same).clean());
    }
}
