//! The application's SQL, in the forms it knows: against the old table with its
//! JSON, against the new tables, and against the old table with new lines.

use std::collections::HashMap;

use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::lines::Table;
use super::order::{Item, Order, from_json, to_json, total};
use crate::error::{Error, Kind, Result};

/// What the migration makes of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `legacy.orders` becomes `shop.orders` and `shop.order_items`.
    #[default]
    Split,
    /// `legacy.orders` stays, its items become `legacy.order_items`.
    InPlace,
}

/// Which schema a statement is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `legacy.orders` with its JSON; also what a view of that name is used with.
    Old,
    /// `shop.orders` and `shop.order_items`.
    New,
    /// `legacy.orders` without its JSON, and `legacy.order_items`.
    InPlace,
}

/// Whether an error means that this form is no longer, or not yet, the one to use:
/// a table was renamed away, a column dropped, or crossfade's guard stands on it.
#[must_use]
pub fn has_moved(error: &Error) -> bool {
    match error.sqlstate.as_deref() {
        Some("42P01" | "42703") => true,
        Some("55000") => error.message.contains("crossfade:"),
        // The moved column is mandatory again, and an order was placed without it.
        Some("23514") => error.message.contains("crossfade_not_null"),
        Some("23502") => error.message.ends_with(" on items"),
        _ => false,
    }
}

impl Form {
    /// The form to use before the switch, and after a switch back.
    pub const BEFORE: Self = Self::Old;

    /// The form to use after the switch.
    #[must_use]
    pub fn after(layout: Layout) -> Self {
        match layout {
            Layout::Split => Self::New,
            Layout::InPlace => Self::InPlace,
        }
    }

    /// The other of the two forms of a layout.
    #[must_use]
    pub fn other(self, layout: Layout) -> Self {
        if self == Self::BEFORE {
            Self::after(layout)
        } else {
            Self::BEFORE
        }
    }

    fn orders(self) -> &'static str {
        match self {
            Self::Old | Self::InPlace => "legacy.orders",
            Self::New => "shop.orders",
        }
    }

    /// The table of the lines, where they have one.
    fn lines(self) -> Option<Table> {
        match self {
            Self::Old => None,
            Self::New => Some(Table("shop.order_items")),
            Self::InPlace => Some(Table("legacy.order_items")),
        }
    }

    /// Inserts an order and returns the id that the table's sequence gave it.
    pub async fn place(self, client: &Client, order: &Order) -> Result<i64> {
        let (sql, items) = match self {
            Self::Old => (
                "insert into legacy.orders (customer_id, status, created_at, shipped_at, currency, total_cents, note, items)
                 values ($1, $2::text, $3, to_char(to_timestamp($4::bigint) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                         $5::text, $6, $7, $8::text::jsonb) returning id",
                Some(to_json(&order.items)?),
            ),
            Self::InPlace => (
                "insert into legacy.orders (customer_id, status, created_at, shipped_at, currency, total_cents, note)
                 values ($1, $2::text, $3, to_char(to_timestamp($4::bigint) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                         $5::text, $6, $7) returning id",
                None,
            ),
            Self::New => (
                "insert into shop.orders (customer_id, status, placed_at, shipped_at, currency, total_cents, note)
                 values ($1, $2, to_timestamp($3::bigint), to_timestamp($4::bigint), $5, $6, $7) returning id",
                None,
            ),
        };
        let mut values: Vec<&(dyn postgres_types::ToSql + Sync)> = vec![
            &order.customer_id,
            &order.status,
            &order.placed_at,
            &order.shipped_at,
            &order.currency,
            &order.total_cents,
            &order.note,
        ];
        if let Some(items) = &items {
            values.push(items);
        }
        let id: i64 = client.query_one(sql, &values).await?.get(0);
        if let Some(lines) = self.lines() {
            lines.insert(client, id, 1, &order.items).await?;
        }
        Ok(id)
    }

    /// Reads orders by id, each complete. With `lock`, rows stay locked until the
    /// transaction ends.
    pub async fn read(
        self,
        client: &Client,
        ids: &[i64],
        lock: bool,
    ) -> Result<HashMap<i64, Order>> {
        let lock = if lock { " for update" } else { "" };
        let columns = match self {
            Self::Old | Self::InPlace => {
                "status::text, created_at,
                 extract(epoch from shipped_at::timestamp at time zone 'UTC')::bigint, currency::text"
            }
            Self::New => {
                "status, extract(epoch from placed_at)::bigint,
                 extract(epoch from shipped_at)::bigint, currency"
            }
        };
        let items = match self {
            Self::Old => ", items::text",
            Self::New | Self::InPlace => "",
        };
        let sql = format!(
            "select id, customer_id, {columns}, total_cents, note{items}
             from {} where id = any($1){lock}",
            self.orders()
        );
        let rows = client.query(&sql, &[&ids]).await?;
        let Some(lines) = self.lines() else {
            return rows
                .iter()
                .map(|row| Ok((row.get(0), order(row, from_json(row.get(8))?))))
                .collect();
        };
        let mut lines = lines.read(client, ids).await?;
        let orders = rows.iter().map(|row| {
            let id = row.get(0);
            let lines = lines.remove(&id).unwrap_or_default();
            let mut order = order(row, lines.items);
            order.numbered = lines.numbered;
            (id, order)
        });
        Ok(orders.collect())
    }

    /// Replaces an order's lines. Where they have a table, only what differs is
    /// written.
    pub async fn set_items(
        self,
        client: &Client,
        id: i64,
        old: &[Item],
        new: &[Item],
    ) -> Result<()> {
        let cents = total(new);
        let written = if let Some(lines) = self.lines() {
            lines.replace(client, id, old, new).await?;
            let sql = format!(
                "update {} set total_cents = $2 where id = $1",
                self.orders()
            );
            client.execute(&sql, &[&id, &cents]).await?
        } else {
            let sql =
                "update legacy.orders set items = $2::text::jsonb, total_cents = $3 where id = $1";
            client.execute(sql, &[&id, &to_json(new)?, &cents]).await?
        };
        one(written, id)
    }

    /// Changes the status alone.
    pub async fn set_status(self, client: &Client, id: i64, status: &str) -> Result<()> {
        let sql = format!(
            "update {} set status = $2::text where id = $1",
            self.orders()
        );
        one(client.execute(&sql, &[&id, &status]).await?, id)
    }

    pub async fn ship(self, client: &Client, id: i64, at: i64) -> Result<()> {
        let sql = match self {
            Self::Old | Self::InPlace => {
                "update legacy.orders set status = 'shipped',
                 shipped_at = to_char(to_timestamp($2::bigint) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') where id = $1"
            }
            Self::New => {
                "update shop.orders set status = 'shipped', shipped_at = to_timestamp($2::bigint) where id = $1"
            }
        };
        one(client.execute(sql, &[&id, &at]).await?, id)
    }

    pub async fn delete(self, client: &Client, id: i64) -> Result<()> {
        if let Some(lines) = self.lines() {
            lines.delete(client, id).await?;
        }
        let sql = format!("delete from {} where id = $1", self.orders());
        one(client.execute(&sql, &[&id]).await?, id)
    }

    /// Every id above `above`.
    pub async fn ids_above(self, client: &Client, above: i64) -> Result<Vec<i64>> {
        let sql = format!("select id from {} where id > $1", self.orders());
        let rows = client.query(&sql, &[&above]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How many of the ids 1 to `last` there are, leaving `touched` out.
    pub async fn count_others(self, client: &Client, last: i64, touched: &[i64]) -> Result<u64> {
        let sql = format!(
            "select count(*) from {} o where id between 1 and $1
             and not exists (select from unnest($2::bigint[]) t (id) where t.id = o.id)",
            self.orders()
        );
        let count: i64 = client.query_one(&sql, &[&last, &touched]).await?.get(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Lines whose order is not there.
    pub async fn count_orphans(self, client: &Client) -> Result<u64> {
        match self.lines() {
            None => Ok(0),
            Some(lines) => lines.count_orphans(client, self.orders()).await,
        }
    }

    /// Which form the database wants now.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn current(client: &Client, layout: Layout) -> Result<Self> {
        // The guard's name begins alike on a replaced table and on moved columns.
        let answer = client
            .simple_query(
                "select from pg_class c where c.oid = to_regclass('legacy.orders')
                 and c.relkind in ('r', 'p', 'v')
                 and exists (select from pg_attribute a where a.attrelid = c.oid
                             and a.attname = 'items' and not a.attisdropped)
                 and not exists (select from pg_trigger t where t.tgrelid = c.oid
                                 and t.tgname like 'crossfade\\_guard%')",
            )
            .await?;
        let old = answer
            .iter()
            .any(|m| matches!(m, SimpleQueryMessage::Row(_)));
        Ok(if old {
            Self::BEFORE
        } else {
            Self::after(layout)
        })
    }
}

fn order(row: &Row, items: Vec<Item>) -> Order {
    Order {
        customer_id: row.get(1),
        status: row.get(2),
        placed_at: row.get(3),
        shipped_at: row.get(4),
        currency: row.get(5),
        total_cents: row.get(6),
        note: row.get(7),
        numbered: true,
        items,
    }
}

/// A write to a known order that finds no row has lost the order.
fn one(rows: u64, id: i64) -> Result<()> {
    if rows == 1 {
        Ok(())
    } else {
        Err(Error::new(
            Kind::Data,
            format!("order {id}: {rows} rows were written where one should be"),
        ))
    }
}
