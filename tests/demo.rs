//! The example shop and the application that lives on it, on real servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossfade::demo::application::{Application, Counts, Form, Layout, Report, Settings};
use crossfade::demo::shop::{self, Size};
use crossfade::server::{Mode, Options, Server};
use tokio_postgres::Client;

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn shop_of(server: &Server, orders: u64) -> (String, Client) {
    let url = server.url("postgres");
    let mut client = shop::connect(&url).await.unwrap();
    shop::migrate(&mut client, &[shop::LEGACY]).await.unwrap();
    shop::load(
        &url,
        Size {
            orders,
            sessions: 2,
        },
        &|_| (),
    )
    .await
    .unwrap();
    shop::migrate(&mut client, &[shop::NEW_ORDERS])
        .await
        .unwrap();
    (url, client)
}

/// What the module makes of the whole of legacy.orders, into the new tables.
fn fill_new_tables(orders: &str) -> String {
    shop::TARGETS
        .iter()
        .map(|(table, select)| {
            let columns = match *table {
                "shop.orders" => "id, customer_id, status, placed_at, shipped_at, currency, total_cents, note",
                _ => "order_id, line_no, sku, qty, unit_cents, note",
            };
            format!("insert into {table} ({columns}) with source as (table {orders}) select {columns} from ({select}) q;")
        })
        .collect()
}

#[tokio::test]
async fn the_loader_makes_the_shop_it_promises() {
    let server = Server::start(Options::default()).unwrap();
    let url = server.url("postgres");
    let mut client = shop::connect(&url).await.unwrap();
    shop::migrate(&mut client, &[shop::LEGACY]).await.unwrap();
    let reported = AtomicU64::new(0);
    shop::load(
        &url,
        Size {
            orders: 60_000,
            sessions: 2,
        },
        &|n| {
            reported.fetch_max(n, Ordering::Relaxed);
        },
    )
    .await
    .unwrap();
    assert_eq!(reported.load(Ordering::Relaxed), 60_000);
    let items = number(
        &client,
        "select sum(jsonb_array_length(items)) from legacy.orders",
    )
    .await;
    assert!((170_000..190_000).contains(&items), "{items} items");
    assert_eq!(
        number(
            &client,
            "select count(*) from legacy.orders where id between 1 and 60000"
        )
        .await,
        60_000
    );
    assert!(
        number(
            &client,
            "select count(*) from legacy.orders where items = '[]'"
        )
        .await
            > 20
    );
    // Two per cent of the orders; a chunk of the TOAST table holds 2 kB.
    let toasted = number(
        &client,
        "
        select count(*) from legacy.orders o where pg_column_size(o.items) > 2000
        and pg_column_size(o.items) > 0.9 * length(o.items::text)",
    )
    .await;
    assert!(
        (800..1600).contains(&toasted),
        "{toasted} orders with large items"
    );
    let chunks: i64 = client
        .query_one("select pg_relation_size(reltoastrelid) / 2000 from pg_class where oid = 'legacy.orders'::regclass", &[])
        .await.unwrap().get(0);
    assert!(
        chunks >= toasted,
        "{chunks} chunks out of line for {toasted} orders"
    );
    assert_eq!(
        number(&client, "select nextval('legacy.orders_id_seq')").await,
        60_001
    );
}

#[tokio::test]
async fn the_same_size_is_the_same_data() {
    let mut sums = Vec::new();
    for sessions in [1, 2] {
        let server = Server::start(Options::default()).unwrap();
        let url = server.url("postgres");
        let mut client = shop::connect(&url).await.unwrap();
        shop::migrate(&mut client, &[shop::LEGACY]).await.unwrap();
        shop::load(
            &url,
            Size {
                orders: 3_000,
                sessions,
            },
            &|_| (),
        )
        .await
        .unwrap();
        sums.push(
            number(
                &client,
                "select bit_xor(hashtextextended(o::text, 0)) from legacy.orders o",
            )
            .await,
        );
    }
    assert_eq!(sums[0], sums[1]);
}

#[tokio::test]
async fn the_chain_goes_up_down_and_up_again() {
    let server = Server::start(Options::default()).unwrap();
    let mut client = shop::connect(&server.url("postgres")).await.unwrap();
    for _ in 0..2 {
        shop::migrate(&mut client, &shop::CHAIN).await.unwrap();
        for migration in shop::CHAIN.iter().rev() {
            client.batch_execute(migration.down).await.unwrap();
        }
        let left = "select count(*) from pg_namespace where nspname in ('legacy', 'shop')";
        assert_eq!(number(&client, left).await, 0);
    }
}

#[tokio::test]
async fn the_module_turns_every_order_and_every_line_into_a_row() {
    let server = Server::start(Options::default()).unwrap();
    let (_, client) = shop_of(&server, 2_000).await;
    client
        .batch_execute(&fill_new_tables("legacy.orders"))
        .await
        .unwrap();
    client.batch_execute(shop::FOREIGN_KEY.up).await.unwrap();
    assert_eq!(
        number(&client, "select count(*) from shop.orders").await,
        2_000
    );
    let lines = number(
        &client,
        "select sum(jsonb_array_length(items)) from legacy.orders",
    )
    .await;
    assert_eq!(
        number(&client, "select count(*) from shop.order_items").await,
        lines
    );
    let wrong = number(&client, "
        select count(*) from legacy.orders l join shop.orders s using (id)
        where extract(epoch from s.placed_at) <> l.created_at
           or to_char(s.shipped_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') is distinct from l.shipped_at
           or l.total_cents <> coalesce((select sum(qty * unit_cents) from shop.order_items where order_id = id), 0)").await;
    assert_eq!(wrong, 0);
}

/// The way back: every value of every order, with the types and texts it had, whatever
/// the time zone of who reads it.
#[tokio::test]
async fn the_reverse_rebuilds_every_order_exactly() {
    let server = Server::start(Options::default()).unwrap();
    let (_, client) = shop_of(&server, 5_000).await;
    client
        .batch_execute(&fill_new_tables("legacy.orders"))
        .await
        .unwrap();
    client
        .batch_execute("set timezone = 'America/New_York'")
        .await
        .unwrap();
    let columns = "id, customer_id, status::text, created_at, shipped_at::text, currency::text, total_cents, note, items::text";
    let different = format!(
        "select count(*) from (
             (select {columns} from legacy.orders except all select {columns} from ({0}) b)
             union all
             (select {columns} from ({0}) b except all select {columns} from legacy.orders)) d",
        shop::REVERSE_SELECT
    );
    assert_eq!(number(&client, &different).await, 0);
    client
        .batch_execute("update shop.order_items set line_no = line_no + 100 where order_id = 7")
        .await
        .unwrap();
    assert_eq!(
        number(&client, &different).await,
        0,
        "only the order of the lines counts"
    );
    client
        .batch_execute(
            "update shop.order_items set qty = qty + 1 where order_id = 7 and line_no = 101",
        )
        .await
        .unwrap();
    assert_eq!(number(&client, &different).await, 2, "one order differs");
}

fn application(url: &str, orders: u64) -> Application {
    let settings = Settings {
        url: url.to_owned(),
        clients: 6,
        rate: 2_000.0,
        orders,
        seed: 7,
        layout: Layout::Split,
    };
    Application::start(settings).unwrap()
}

/// Waits until the application has come as far as `enough` says.
async fn until(app: &Application, enough: impl Fn(Counts) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !enough(app.tally().counts()) {
        assert!(
            Instant::now() < deadline,
            "{:?} {:?}",
            app.tally().counts(),
            app.tally().errors()
        );
        // Between two looks at the condition, which has its bound.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets the application commit `more` transactions.
async fn go_on(app: &Application, more: u64) {
    let goal = app.tally().counts().committed + more;
    until(app, |counts| counts.committed >= goal).await;
}

async fn assert_clean(report: &Report) {
    assert_eq!(report.counts.failed, 0, "{:?}", report.errors);
    let findings = report.check().await.unwrap();
    assert!(findings.clean() && findings.checked > 0, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_on_the_old_table_ends_with_a_clean_ledger() {
    let server = Server::start(Options::default()).unwrap();
    let (url, _client) = shop_of(&server, 2_000).await;
    let app = application(&url, 2_000);
    go_on(&app, 1_500).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert_eq!(report.forms, [Form::Old; 6]);
    assert_eq!((report.counts.retried, report.counts.unknown), (0, 0));
    assert!(report.counts.rolled_back > 0);
    assert!(report.latency.count() >= 1_500);
}

/// What crossfade's switch amounts to, by hand.
fn switch_sql(last_statement: &str) -> String {
    format!(
        "begin; lock table legacy.orders in access exclusive mode; {}
         select setval('shop.orders_id_seq', (select last_value from legacy.orders_id_seq));
         {last_statement}; commit",
        fill_new_tables("legacy.orders")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_moves_to_the_new_tables_without_an_error() {
    let server = Server::start(Options::default()).unwrap();
    let (url, client) = shop_of(&server, 2_000).await;
    let app = application(&url, 2_000);
    go_on(&app, 500).await;
    client
        .batch_execute(&switch_sql(
            "alter table legacy.orders rename to orders_old",
        ))
        .await
        .unwrap();
    until(&app, |counts| counts.retried == 6).await;
    go_on(&app, 1_000).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert_eq!(report.forms, [Form::New; 6]);
    assert_eq!(report.counts.retried, 6, "each client notices once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_moves_when_a_guard_stands_on_the_old_table() {
    let server = Server::start(Options::default()).unwrap();
    let (url, client) = shop_of(&server, 500).await;
    let app = application(&url, 500);
    go_on(&app, 100).await;
    let guard = "create function legacy.guard() returns trigger language plpgsql as
        $$ begin raise 'crossfade: legacy.orders has moved to shop.orders' using errcode = '55000'; end $$;
        create trigger crossfade_guard before insert or update or delete on legacy.orders
        for each statement execute function legacy.guard()";
    client.batch_execute(&switch_sql(guard)).await.unwrap();
    until(&app, |counts| counts.retried == 6).await;
    go_on(&app, 300).await;
    assert_clean(&app.stop().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_a_crash_left_unanswered_is_resolved() {
    let mut server = Server::start(Options::default()).unwrap();
    let (url, _client) = shop_of(&server, 1_000).await;
    let app = application(&url, 1_000);
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut crashes = 0;
    // A crash meets a COMMIT on its way only now and then, and on a slow machine each takes
    // seconds.
    while crashes < 3 || (app.tally().counts().unknown == 0 && Instant::now() < deadline) {
        go_on(&app, 100).await;
        tokio::task::block_in_place(|| {
            server.stop(Mode::Immediate).unwrap();
            server.start_again().unwrap();
        });
        crashes += 1;
    }
    go_on(&app, 100).await;
    let report = app.stop().await.unwrap();
    let expected = ["connection", "57P01", "57P02", "57P03"];
    assert!(
        report
            .errors
            .keys()
            .all(|code| expected.contains(&code.as_str())),
        "{:?}",
        report.errors
    );
    assert!(
        report.counts.unknown > 0,
        "no crash in {crashes} met a COMMIT"
    );
    let findings = report.check().await.unwrap();
    assert!(findings.clean(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_finds_what_was_tampered_with() {
    let server = Server::start(Options::default()).unwrap();
    let (url, client) = shop_of(&server, 500).await;
    let app = application(&url, 500);
    go_on(&app, 300).await;
    client
        .batch_execute(&switch_sql(
            "alter table legacy.orders rename to orders_old",
        ))
        .await
        .unwrap();
    until(&app, |counts| counts.retried == 6).await;
    go_on(&app, 300).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;

    // Orders that clients placed, with two lines or more.
    let rows = client
        .query("select id from shop.orders where id > 500 and 2 <= (select count(*) from shop.order_items where order_id = id) order by id limit 6", &[])
        .await.unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let tamper = async |sql: &str| {
        assert!(client.execute(sql, &[]).await.unwrap() > 0, "{sql}");
        let findings = report.check().await.unwrap();
        (findings.lost, findings.doubled, findings.stale)
    };
    // The findings add up, so each line shows what is added.
    let content = format!("update shop.orders set note = 'x' where id = {}", ids[0]);
    assert_eq!(tamper(&content).await, (0, 0, 1));
    let line_lost = format!(
        "delete from shop.order_items where line_no = 1 and order_id = {}",
        ids[1]
    );
    assert_eq!(tamper(&line_lost).await, (1, 0, 1));
    let line_doubled = format!(
        "insert into shop.order_items select order_id, 99, sku, qty, unit_cents, note from shop.order_items where line_no = 1 and order_id = {}",
        ids[2]
    );
    assert_eq!(tamper(&line_doubled).await, (1, 1, 1));
    let renumbered = format!(
        "update shop.order_items set line_no = 77 where line_no = 2 and order_id = {}",
        ids[3]
    );
    assert_eq!(tamper(&renumbered).await, (1, 1, 2));
    let stranger = "insert into shop.orders (id, customer_id, status, placed_at, total_cents) values (10000000, 1, 'new', now(), 0)";
    assert_eq!(tamper(stranger).await, (1, 2, 2));
    let orphan = "insert into shop.order_items values (20000000, 1, 'SKU-1', 1, 1)";
    assert_eq!(tamper(orphan).await, (1, 3, 2));
    // One of the past, whether or not a client knows it; its lines are orphans.
    let past = "delete from shop.orders where id = (select min(id) from shop.orders where exists (select from shop.order_items where order_id = id and line_no = 1) and not exists (select from shop.order_items where order_id = id and line_no = 2))";
    assert_eq!(tamper(past).await, (2, 4, 2));
}
