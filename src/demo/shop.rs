//! The example shop: its migrations, its transform module, and a loader that
//! fills the legacy schema with any number of orders.
//!
//! The data is a function of the number of orders alone: everything that looks
//! random comes from the server's hash functions over ids.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::Client;

use crate::error::{Context, Error, Kind, Result};
use crate::pg::{ConnInfo, SessionLimits, connect_with};

/// One migration of the shop's chain.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub name: &'static str,
    pub up: &'static str,
    pub down: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration {
            name: $name,
            up: include_str!(concat!("../../migrations/shop/", $name, ".up.sql")),
            down: include_str!(concat!("../../migrations/shop/", $name, ".down.sql")),
        }
    };
}

/// The legacy schema.
pub const LEGACY: Migration = migration!("0001_legacy_shop");
/// The tables that replace `legacy.orders`.
pub const NEW_ORDERS: Migration = migration!("0002_new_orders");
/// What is added when the new tables have taken over.
pub const FOREIGN_KEY: Migration = migration!("0003_order_items_foreign_key");
/// The lines alone, beside `legacy.orders`: the other way, split in place.
pub const LINES: Migration = migration!("0004_lines_in_place");
/// What is added when they have taken over.
pub const LINES_FOREIGN_KEY: Migration = migration!("0005_lines_foreign_key");
/// What the story needs of the chain, in order.
pub const CHAIN: [Migration; 5] = [LEGACY, NEW_ORDERS, FOREIGN_KEY, LINES, LINES_FOREIGN_KEY];

pub const ORDERS_SELECT: &str = include_str!("../../transforms/split_orders/orders.sql");
pub const ORDER_ITEMS_SELECT: &str = include_str!("../../transforms/split_orders/order_items.sql");

/// What rebuilds the rows of `legacy.orders` out of the new tables.
pub const REVERSE_SELECT: &str = include_str!("../../transforms/split_orders/reverse.sql");

/// The module's targets with their SELECTs, in write order.
pub const TARGETS: [(&str, &str); 2] = [
    ("shop.orders", ORDERS_SELECT),
    ("shop.order_items", ORDER_ITEMS_SELECT),
];
/// Those of the split in place.
pub const TARGETS_IN_PLACE: [(&str, &str); 1] = [("legacy.order_items", ORDER_ITEMS_SELECT)];

/// A transform module of the repository: its folder's name and its files.
#[derive(Debug, Clone, Copy)]
pub struct ModuleText {
    pub name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! module {
    ($name:literal: $($file:literal),+) => {
        ModuleText {
            name: $name,
            files: &[$(($file, include_str!(concat!("../../transforms/", $name, "/", $file)))),+],
        }
    };
}

/// Orders and lines into new tables.
pub const SPLIT: ModuleText = module!("split_orders":
    "transform.toml", "orders.sql", "order_items.sql", "reverse.sql", "README.md");
/// The lines into a table of their own, the orders stay.
pub const SPLIT_IN_PLACE: ModuleText = module!("split_orders_in_place":
    "transform.toml", "order_items.sql", "reverse.sql", "README.md");

/// Writes a transform module below `dir` and returns its folder.
///
/// # Errors
/// What the operating system says.
pub fn write_module(dir: &Path, module: ModuleText) -> Result<PathBuf> {
    let folder = dir.join("transforms").join(module.name);
    fs::create_dir_all(&folder).context(format!("creating {}", folder.display()))?;
    for (name, text) in module.files {
        fs::write(folder.join(name), text)
            .context(format!("writing {}", folder.join(name).display()))?;
    }
    Ok(folder)
}

/// Opens a session that may wait and work as long as it likes.
///
/// # Errors
/// Those of [`connect_with`].
pub async fn connect(url: &str) -> Result<Client> {
    let unlimited = SessionLimits {
        lock: None,
        statement: None,
        idle_in_transaction: None,
    };
    connect_with(&ConnInfo::parse(url)?, "demo", unlimited).await
}

/// Applies migrations, each in one transaction.
///
/// # Errors
/// The server's error, with the migration's name.
pub async fn migrate(client: &mut Client, chain: &[Migration]) -> Result<()> {
    for migration in chain {
        let context = || format!("applying {}", migration.name);
        let transaction = client.transaction().await.context(context())?;
        transaction
            .batch_execute(migration.up)
            .await
            .context(context())?;
        transaction.commit().await.context(context())?;
    }
    Ok(())
}

/// How much to load.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Ids 1 to `orders`, three lines each on average.
    pub orders: u64,
    /// Sessions that load side by side.
    pub sessions: u64,
}

/// Orders a statement: short enough for a progress display, long enough to
/// amortize the planning.
const ORDERS_PER_STATEMENT: u64 = 25_000;
const PRODUCTS: i64 = 1000;

/// Fills the legacy schema, which must be empty, and analyzes it. `progress` is
/// told the number of orders loaded so far.
///
/// # Errors
/// What the server says.
pub async fn load(url: &str, size: Size, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
    let client = connect(url).await?;
    let orders = i64::try_from(size.orders)
        .map_err(|_| Error::new(Kind::Config, "that many orders have no ids"))?;
    let customers = (orders / 10).max(1);
    for (what, sql) in [("customers", CUSTOMERS), ("addresses", ADDRESSES)] {
        client
            .execute(sql, &[&customers])
            .await
            .context(format!("loading {what}"))?;
    }
    client
        .execute(PRODUCTS_SQL, &[&PRODUCTS])
        .await
        .context("loading products")?;

    // A shared counter hands out the ranges; the first error ends everything.
    let next = AtomicU64::new(1);
    let loaded = AtomicU64::new(0);
    let session = || async {
        let client = connect(url).await?;
        client
            .batch_execute("set synchronous_commit = off; set jit = off")
            .await?;
        let statement = client.prepare(ORDERS).await.context("loading orders")?;
        loop {
            let from = next.fetch_add(ORDERS_PER_STATEMENT, Ordering::Relaxed);
            if from > size.orders {
                return Ok::<(), Error>(());
            }
            let to = (from + ORDERS_PER_STATEMENT - 1).min(size.orders);
            let range = [from, to].map(|id| i64::try_from(id).unwrap_or(i64::MAX));
            client
                .execute(&statement, &[&range[0], &range[1], &customers, &PRODUCTS])
                .await
                .context("loading orders")?;
            let more = to - from + 1;
            progress(loaded.fetch_add(more, Ordering::Relaxed) + more);
        }
    };
    let sessions = (0..size.sessions.max(1)).map(|_| session());
    futures_util::future::try_join_all(sessions).await?;

    for (what, sql) in [
        ("payments", PAYMENTS),
        ("shipments", SHIPMENTS),
        ("sequences", SEQUENCES),
    ] {
        client
            .batch_execute(sql)
            .await
            .context(format!("loading {what}"))?;
    }
    for table in [
        "customers",
        "addresses",
        "products",
        "orders",
        "payments",
        "shipments",
    ] {
        client
            .batch_execute(&format!("vacuum (analyze) legacy.{table}"))
            .await
            .context(format!("analyzing legacy.{table}"))?;
    }
    Ok(())
}

const CUSTOMERS: &str = "
insert into legacy.customers (id, email, full_name, phone, created_at)
select g, 'customer' || g || '@example.com',
       (array['Ada', 'Björn', 'Chloé', 'Dmitri', 'Éva', 'Fatma', 'Gökhan', 'Hana'])[1 + abs(hashint8extended(g, 1) % 8)]
       || ' ' ||
       (array['Müller', 'Okafor', 'Smith', 'Nguyễn', 'García', 'Novák', 'O''Brien', 'Sato'])[1 + abs(hashint8extended(g, 2) % 8)],
       case when hashint8extended(g, 3) % 3 = 0 then '+49 30 ' || 100000 + abs(hashint8extended(g, 4) % 900000) end,
       1500000000 + abs(hashint8extended(g, 5) % 200000000)
from generate_series(1, $1::bigint) g";

const ADDRESSES: &str = "
insert into legacy.addresses (id, customer_id, street, zip, city, country)
select g, g, 'Street ' || 1 + abs(hashint8extended(g, 6) % 500),
       lpad((abs(hashint8extended(g, 7) % 100000))::text, 5, '0'),
       (array['Berlin', 'Łódź', 'São Paulo', 'Oslo', 'Lyon'])[1 + abs(hashint8extended(g, 8) % 5)],
       (array['DE', 'PL', 'BR', 'NO', 'FR'])[1 + abs(hashint8extended(g, 8) % 5)]
from generate_series(1, $1::bigint) g";

const PRODUCTS_SQL: &str = "
insert into legacy.products (id, sku, title, price_cents, tags)
select g, 'SKU-' || g, 'Product ' || g, 100 + abs(hashint8extended(g, 9) % 20000),
       case when hashint8extended(g, 10) % 2 = 0 then 'new,sale' else 'classic' end
from generate_series(1, $1::bigint) g";

/// One order in 1,000 has no items, the others one to five, one item in eight a
/// note. One order in 50 carries notes of hash digits that no compression makes
/// small, so that its items are stored out of line.
const ORDERS: &str = r#"
insert into legacy.orders
    (id, customer_id, status, created_at, shipped_at, currency, total_cents, note, items)
select o.id, 1 + (o.a % $3::bigint), o.status, o.created_at,
       case when o.status in ('shipped', 'delivered') then
           (timestamp '1970-01-01' + make_interval(secs => o.created_at + 3600 + o.b % 600000))::text
       end,
       case when o.a % 10 = 0 then 'USD' else 'EUR' end,
       i.total_cents,
       case when o.b % 20 = 0 then 'ring twice, don''t leave at "Café Zoë" \ back door' end,
       i.items
from (
    select g as id, a, b, 1600000000 + b % 150000000 as created_at,
           (array['new', 'paid', 'shipped', 'delivered', 'cancelled'])[1 + a % 5] as status
    from generate_series($1::bigint, $2::bigint) g,
    lateral (select hashint8extended(g, 11) & 9223372036854775807 as a,
                    hashint8extended(g, 12) & 9223372036854775807 as b) h
) o
cross join lateral (
    select coalesce(jsonb_agg(
               case when h % 8 = 0 then
                   jsonb_build_object('sku', 'SKU-' || 1 + h % $4::bigint, 'qty', qty, 'unit_cents', unit,
                       'note', (array['gift wrap', 'für "Lena"', 'size M', 'engrave: a\b'])[1 + (h >> 8) % 4])
               when o.b % 50 = 0 then
                   jsonb_build_object('sku', 'SKU-' || 1 + h % $4::bigint, 'qty', qty, 'unit_cents', unit,
                       'note', (select string_agg(md5(h::text || m), '') from generate_series(1, 75) m))
               else
                   jsonb_build_object('sku', 'SKU-' || 1 + h % $4::bigint, 'qty', qty, 'unit_cents', unit)
               end order by n), '[]') as items,
           coalesce(sum(qty * unit), 0)::bigint as total_cents
    from (
        select n, h, 1 + (h >> 16) % 5 as qty, 100 + (h >> 24) % 20000 as unit
        from generate_series(1, case when o.b % 1000 = 1 then 0 else 1 + (o.b >> 20) % 5 end) n,
        lateral (select hashint8extended(o.id, n) & 9223372036854775807 as h) x
    ) l
) i"#;

const PAYMENTS: &str = "
insert into legacy.payments (order_id, method, amount_cents, paid_at)
select id, (array['card', 'invoice', 'transfer'])[1 + id % 3], total_cents,
       (timestamp '1970-01-01' + make_interval(secs => created_at + 60))::text
from legacy.orders where id % 10 = 0";

const SHIPMENTS: &str = "
insert into legacy.shipments (order_id, carrier, tracking, shipped_at)
select id, (array['DHL', 'UPS', 'GLS'])[1 + id % 3], md5(id::text), shipped_at
from legacy.orders where id % 10 = 0 and shipped_at is not null";

const SEQUENCES: &str = "
select setval('legacy.orders_id_seq', greatest((select max(id) from legacy.orders), 1)),
       setval('legacy.customers_id_seq', (select max(id) from legacy.customers)),
       setval('legacy.addresses_id_seq', (select max(id) from legacy.addresses)),
       setval('legacy.products_id_seq', (select max(id) from legacy.products))";
