//! The lines of orders where they have a table of their own.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::order::Item;
use crate::error::{Error, Kind, Result};

/// The lines of one order.
pub struct Lines {
    pub items: Vec<Item>,
    /// Whether they are numbered from 1 without a gap.
    pub numbered: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            numbered: true,
        }
    }
}

/// A table that holds lines, as SQL.
#[derive(Debug, Clone, Copy)]
pub struct Table(pub &'static str);

impl Table {
    pub async fn read(self, client: &Client, ids: &[i64]) -> Result<HashMap<i64, Lines>> {
        let sql = format!(
            "select order_id, line_no, sku, qty, unit_cents, note from {}
             where order_id = any($1) order by order_id, line_no",
            self.0
        );
        let mut found: HashMap<i64, Lines> = HashMap::new();
        for row in client.query(&sql, &[&ids]).await? {
            let lines = found.entry(row.get(0)).or_default();
            lines.numbered &= row.get::<_, i32>(1) == line_no(lines.items.len())?;
            lines.items.push(Item {
                sku: row.get(2),
                qty: row.get(3),
                unit_cents: row.get(4),
                note: row.get(5),
            });
        }
        Ok(found)
    }

    /// Replaces an order's lines; only what differs is written.
    pub async fn replace(self, client: &Client, id: i64, old: &[Item], new: &[Item]) -> Result<()> {
        let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let from = line_no(same)?;
        let sql = format!(
            "delete from {} where order_id = $1 and line_no >= $2",
            self.0
        );
        client.execute(&sql, &[&id, &from]).await?;
        self.insert(client, id, from, &new[same..]).await
    }

    /// Inserts lines with the numbers from `from` on.
    pub async fn insert(self, client: &Client, id: i64, from: i32, items: &[Item]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "insert into {} (order_id, line_no, sku, qty, unit_cents, note)
             select $1, $2 + i.n::int - 1, i.sku, i.qty, i.unit_cents, i.note
             from unnest($3::text[], $4::int[], $5::bigint[], $6::text[])
                  with ordinality as i (sku, qty, unit_cents, note, n)",
            self.0
        );
        let skus: Vec<&str> = items.iter().map(|i| i.sku.as_str()).collect();
        let quantities: Vec<i32> = items.iter().map(|i| i.qty).collect();
        let cents: Vec<i64> = items.iter().map(|i| i.unit_cents).collect();
        let notes: Vec<Option<&str>> = items.iter().map(|i| i.note.as_deref()).collect();
        let written = client
            .execute(&sql, &[&id, &from, &skus, &quantities, &cents, &notes])
            .await?;
        if written == items.len() as u64 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Data,
            format!(
                "{written} of {} lines of order {id} were written",
                items.len()
            ),
        ))
    }

    pub async fn delete(self, client: &Client, id: i64) -> Result<()> {
        let sql = format!("delete from {} where order_id = $1", self.0);
        client.execute(&sql, &[&id]).await?;
        Ok(())
    }

    /// Lines whose order is not in `orders`.
    pub async fn count_orphans(self, client: &Client, orders: &str) -> Result<u64> {
        let sql = format!(
            "select count(*) from {} i where not exists (select from {orders} o where o.id = i.order_id)",
            self.0
        );
        let count: i64 = client.query_one(&sql, &[]).await?.get(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn line_no(index: usize) -> Result<i32> {
    i32::try_from(index + 1).map_err(|_| Error::new(Kind::Data, "an order has too many lines"))
}
