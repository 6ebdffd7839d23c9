//! One page of the shop's back office, before the split, after it, and with the indexes
//! that `explain` recommends: the same rows, three times.

use std::time::Duration;

use serde::Serialize;

use super::baseline;
use super::shop::{self, Size};
use crate::error::{Context, Error, Kind, Result};
use crate::explain::advise;
use crate::explain::examine::{self, Examined};
use crate::explain::laboratory::Laboratory;
use crate::explain::migration;
use crate::explain::report::Report;
use crate::explain::run::{self, Effort, Equality, Fingerprint};
use crate::explain::statement::Statement;
use crate::explain::words::{count, time};
use crate::pg::{ConnInfo, SessionLimits, connect_with};

/// What the packing station asks for: the orders of five pieces or more of one product that
/// want gift wrap, the newest first, over six tables. The lines are inside of JSON.
pub const LEGACY: &str = "\
select o.id, to_timestamp(o.created_at) as placed_at, o.status, c.full_name, a.city, p.title,
       (i.item ->> 'qty')::integer as qty, (i.item ->> 'unit_cents')::bigint as unit_cents,
       pay.method, s.carrier
from legacy.orders o
cross join lateral jsonb_array_elements(o.items) with ordinality as i (item, line_no)
join legacy.products p on p.sku = i.item ->> 'sku'
join legacy.customers c on c.id = o.customer_id
join legacy.addresses a on a.customer_id = c.id
left join legacy.payments pay on pay.order_id = o.id
left join legacy.shipments s on s.order_id = o.id
where p.title = 'Product 81' and i.item ->> 'note' = 'gift wrap'
      and (i.item ->> 'qty')::integer >= 5
order by o.created_at desc, o.id desc, i.line_no";

/// The same page out of the new tables.
pub const SPLIT: &str = "\
select o.id, o.placed_at, o.status, c.full_name, a.city, p.title, i.qty, i.unit_cents,
       pay.method, s.carrier
from shop.orders o
join shop.order_items i on i.order_id = o.id
join legacy.products p on p.sku = i.sku
join legacy.customers c on c.id = o.customer_id
join legacy.addresses a on a.customer_id = c.id
left join legacy.payments pay on pay.order_id = o.id
left join legacy.shipments s on s.order_id = o.id
where p.title = 'Product 81' and i.note = 'gift wrap' and i.qty >= 5
order by o.placed_at desc, o.id desc, i.line_no";

/// What the page took.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    pub orders: u64,
    /// Medians of warm runs, in milliseconds.
    pub legacy_ms: f64,
    pub split_ms: f64,
    pub indexed_ms: f64,
    /// The statements that were carried out.
    pub indexes: Vec<String>,
    /// Rows of the page, and how the last one's compare with the first one's.
    pub rows: i64,
    pub equality: Equality,
    /// What explain said about the old page, and about the new one.
    #[serde(skip)]
    pub reports: [String; 2],
    #[serde(skip)]
    pub page: String,
}

impl Listing {
    /// How many times faster the page is in the end.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.legacy_ms / self.indexed_ms.max(0.001)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let orders = u32::try_from(self.orders).map_or(f64::MAX, f64::from);
        format!(
            "orders                   {}\nJSON in one table        {}\nafter the split          {}\nwith the indexes         {}\n\
             times as fast            {:.0}\nresult                   {} rows, {:?}\n{}",
            count(orders),
            time(self.legacy_ms),
            time(self.split_ms),
            time(self.indexed_ms),
            self.ratio(),
            self.rows,
            self.equality,
            self.indexes
                .iter()
                .map(|i| format!("  {i};\n"))
                .collect::<String>()
        )
    }
}

/// Loads the shop into an empty database, shows the page, splits the orders by the
/// module's SELECTs, shows it again, takes explain's advice and shows it once more.
///
/// # Errors
/// What the server says.
pub async fn tell(url: &str, orders: u64, progress: &(dyn Fn(String) + Sync)) -> Result<Listing> {
    let mut client = shop::connect(url).await?;
    shop::migrate(&mut client, &[shop::LEGACY]).await?;
    progress(format!("loading {orders} orders"));
    shop::load(
        url,
        Size {
            orders,
            sessions: 2,
        },
        &|_| (),
    )
    .await?;
    let info = ConnInfo::parse(url)?;

    progress("the page as it was".to_owned());
    let (old, before) = look(&info, LEGACY).await?;
    progress("splitting the orders".to_owned());
    shop::migrate(&mut client, &[shop::NEW_ORDERS]).await?;
    for (table, select) in shop::TARGETS {
        let context = || format!("filling {table}");
        let sql = baseline::insert(&client, table, "legacy.orders", select)
            .await
            .context(context())?;
        client.batch_execute(&sql).await.context(context())?;
    }
    shop::migrate(&mut client, &[shop::FOREIGN_KEY]).await?;
    client
        .batch_execute("vacuum (analyze) shop.orders, shop.order_items")
        .await?;

    progress("the page after the split".to_owned());
    let (new, between) = look(&info, SPLIT).await?;
    progress("looking for indexes".to_owned());
    let statement = Statement::read(SPLIT, &[], false)?;
    let mut laboratory = Laboratory::owned(&info, new.catalog.clone()).await?;
    let advice = advise::advise(&mut laboratory, &statement, &new, &[], EFFORT, progress).await?;
    let report = Report {
        statement: &statement,
        examined: &new,
        advice: Some(&advice),
        rewrites: &[],
        notes: Vec::new(),
        files: Vec::new(),
    };
    let (text, page) = (report.text(), report.html());
    let mut indexes = Vec::new();
    for change in &advice.recommended {
        let sql = migration::up(change);
        progress(sql.clone());
        client
            .batch_execute(&sql)
            .await
            .context("building an index")?;
        indexes.push(sql);
    }
    progress("the page with the indexes".to_owned());
    let (last, after) = look(&info, SPLIT).await?;
    Ok(Listing {
        orders,
        legacy_ms: median(&old)?,
        split_ms: median(&new)?,
        indexed_ms: median(&last)?,
        indexes,
        rows: after.rows,
        equality: match before.compare(&between) {
            Equality::Identical => before.compare(&after),
            different => different,
        },
        reports: [old_text(&old)?, text],
        page,
    })
}

const EFFORT: Effort = Effort {
    runs: 5,
    timeout: Duration::from_secs(600),
};

async fn look(info: &ConnInfo, text: &str) -> Result<(Examined, Fingerprint)> {
    let unlimited = SessionLimits {
        lock: None,
        statement: None,
        idle_in_transaction: None,
    };
    let mut client = connect_with(info, "demo listing", unlimited).await?;
    let watcher = connect_with(info, "demo listing", unlimited).await?;
    let statement = Statement::read(text, &[], false)?;
    let examined = examine::examine(&mut client, &watcher, &statement, EFFORT).await?;
    let print = run::fingerprint(&client, &statement).await?;
    Ok((examined, print))
}

fn median(examined: &Examined) -> Result<f64> {
    let measured = examined.measured.as_ref();
    measured
        .map(run::Measured::median)
        .ok_or_else(|| Error::new(Kind::Server, "the page did not end in time"))
}

fn old_text(examined: &Examined) -> Result<String> {
    let statement = Statement::read(LEGACY, &[], false)?;
    Ok(Report {
        statement: &statement,
        examined,
        advice: None,
        rewrites: &[],
        notes: Vec::new(),
        files: Vec::new(),
    }
    .text())
}
