//! An order as the application knows it, whatever tables it is kept in.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub sku: String,
    pub qty: i32,
    pub unit_cents: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Everything about an order but its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub customer_id: i64,
    pub status: String,
    /// Seconds since 1970.
    pub placed_at: i64,
    /// Seconds since 1970.
    pub shipped_at: Option<i64>,
    pub currency: String,
    pub total_cents: i64,
    pub note: Option<String>,
    /// Whether the lines are numbered from 1 without a gap, where they are
    /// numbered at all.
    pub numbered: bool,
    /// In the order of the lines.
    pub items: Vec<Item>,
}

impl Order {
    /// Replaces the lines and what is computed from them.
    pub fn set_items(&mut self, items: Vec<Item>) {
        self.total_cents = total(&items);
        self.items = items;
    }
}

#[must_use]
pub fn total(items: &[Item]) -> i64 {
    items
        .iter()
        .map(|item| i64::from(item.qty) * item.unit_cents)
        .sum()
}

/// The lines as the legacy schema keeps them.
///
/// # Errors
/// Never in practice: strings and numbers always serialize.
pub fn to_json(items: &[Item]) -> Result<String> {
    serde_json::to_string(items)
        .map_err(|e| Error::new(Kind::Data, format!("items do not serialize: {e}")))
}

/// The inverse of [`to_json`].
///
/// # Errors
/// When the text is no array of lines.
pub fn from_json(text: &str) -> Result<Vec<Item>> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(
            Kind::Data,
            format!("legacy.orders.items is no list of lines: {e}"),
        )
    })
}
