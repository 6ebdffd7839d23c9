//! A view that stands for the old table.

use std::time::{Duration, Instant};

use crossfade::cutover::Direction;
use crossfade::demo::application::{Form, Layout};
use crossfade::demo::shop;

use crate::shop::{Shop, TABLE, assert_clean, code, go_on};
/// The application knows the old schema only and never notices anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_for_the_old_schema_sees_no_error_with_a_view_in_its_place() {
    let mut shop = Shop::new(shop::SPLIT, "view", &[shop::NEW_ORDERS]).await;
    let app = shop.application(Layout::Split);
    go_on(&app, 200).await;
    for _ in 0..4 {
        shop.switch(Direction::Forward).await;
        go_on(&app, 150).await;
        shop.switch(Direction::Back).await;
        go_on(&app, 150).await;
    }
    shop.switch(Direction::Forward).await;
    go_on(&app, 200).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert_eq!(report.counts.retried, 0);
    assert_eq!(report.forms, [Form::Old; 6]);
}

async fn awkward_view(rename_to: &str) -> Shop {
    let toml = format!(
        "source = '{TABLE}'\n[[target]]\ntable = 't.head'\n{rename_to}\nsource_key = ['id']\nselect = 'head.sql'\n[reverse]\nselect = 'reverse.sql'\n"
    );
    Shop::awkward(
        "view",
        &toml,
        "select o.id, o.\"Zahl\" as n, o.txt::text as txt, o.j, o.at::text as at from source o",
        "select h.id, h.n as \"Zahl\", h.txt, h.j, h.at::timestamptz as at from t.head h",
    )
    .await
}

/// What the old table gave and refused, the view gives and refuses.
#[tokio::test]
async fn the_view_behaves_like_the_table_that_it_stands_for() {
    let mut shop = awkward_view("").await;
    shop.run(&format!(
        "create role reader; create role writer login; grant usage on schema \"S \"\"x\"\"\" to public;
         grant select (id, txt) on {TABLE} to reader; grant select, insert, update, delete on {TABLE} to writer with grant option;
         comment on table {TABLE} is 'it''s'; comment on column {TABLE}.\"Zahl\" is 'n'"
    ))
    .await;
    let rows = format!("select string_agg(v::text, ';' order by id) from {TABLE} v");
    let shape = format!(
        "select string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attcollation, attacl,
                col_description(attrelid, attnum)), ', ' order by attnum)
           || obj_description($${TABLE}$$::regclass)
           || (select relacl::text || relowner from pg_class where oid = $${TABLE}$$::regclass)
         from pg_attribute where attrelid = $${TABLE}$$::regclass and attnum > 0"
    );
    let (rows_before, shape_before) = (shop.text(&rows).await, shop.text(&shape).await);
    let app = shop.session().await;
    app.batch_execute(
        "set timezone = 'America/New_York'; set datestyle = 'german'; set role writer",
    )
    .await
    .unwrap();
    let prepared = app
        .prepare(&format!("select * from {TABLE} where id = $1"))
        .await
        .unwrap();
    let old_row = app.query_one(&prepared, &[&7_i64]).await.unwrap();
    shop.switch(Direction::Forward).await;
    assert_eq!(shop.text(&rows).await, rows_before);
    assert_eq!(shop.text(&shape).await, shape_before);
    let new_row = app.query_one(&prepared, &[&7_i64]).await.unwrap();
    assert_eq!(
        old_row.get::<_, i32>("twice"),
        new_row.get::<_, i32>("twice")
    );

    let insert =
        format!("insert into {TABLE} (\"Zahl\", txt) values (40, 'neu') returning id, j::text, at");
    let row = app.query_one(&insert, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, &str>(1)),
        (21, "{\"a\":  1}")
    );
    for (sql, answer) in [
        (
            format!("insert into {TABLE} (id, \"Zahl\") values (21, 1)"),
            "23505",
        ),
        (
            format!("insert into {TABLE} (\"Zahl\") values (null)"),
            "23502",
        ),
        (
            format!("update {TABLE} set \"Zahl\" = -1 where id = 1"),
            "23514",
        ),
        (
            format!("update {TABLE} set txt = 'too long' where id = 1"),
            "22001",
        ),
        (
            format!("insert into {TABLE} (id, \"Zahl\") overriding system value values (50, 1)"),
            "ok",
        ),
        (
            format!("update {TABLE} set id = 51, txt = null where id = 50"),
            "ok",
        ),
        (
            format!(
                "begin; select * from {TABLE} where id = 51 for update; update {TABLE} set \"Zahl\" = 3 where id = 51; commit"
            ),
            "ok",
        ),
        (
            format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id < 5"),
            "ok",
        ),
        (format!("delete from {TABLE} where id = 2"), "ok"),
        ("insert into t.head (n) values (1)".to_owned(), "42501"),
    ] {
        let got = code(&app, &sql).await;
        assert!(got.starts_with(answer), "{sql}: {got}");
    }
    assert_eq!(
        shop.text("select string_agg(concat_ws(' ', id, n, txt, at), ', ' order by id) from t.head where id in (1, 2, 21, 50, 51)").await,
        "1 2 abc 2024-01-01 00:00:00+00, 21 40 neu 2024-01-01 00:00:00+00, 51 3 2024-01-01 00:00:00+00"
    );
    let after = shop.text(&rows).await;
    shop.switch(Direction::Back).await;
    assert_eq!(shop.text(&rows).await, after);
    assert_eq!(shop.text(&shape).await, shape_before);
    assert_eq!(shop.text("select count(*)::text from pg_proc where pronamespace = 'crossfade'::regnamespace and (proname like 'write%' or proname like 'merge%')").await, "0");
    app.query_one(&prepared, &[&7_i64]).await.unwrap();
}

/// Has a second session run its statement, in a transaction begun by another, while the
/// first, which has run its own, has not committed yet; what the second is told then.
pub async fn beside_another(shop: &Shop, one: &str, begun: &str, sql: &str) -> String {
    let (first, second) = (shop.session().await, shop.session().await);
    second.batch_execute(begun).await.unwrap();
    first.batch_execute(&format!("begin; {one}")).await.unwrap();
    let pid: i32 = second
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let sql = sql.to_owned();
    let told = tokio::spawn(async move { code(&second, &sql).await });
    let waits = format!(
        "select count(*)::text from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'"
    );
    let deadline = Instant::now() + Duration::from_secs(120);
    while shop.text(&waits).await != "1" {
        assert!(Instant::now() < deadline, "it does not wait for the row");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.batch_execute("commit").await.unwrap();
    let told = told.await.unwrap();
    told.split(' ').next().unwrap_or_default().to_owned()
}

/// Two statements that add to one value: each counts, or is told to run again.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_through_the_view_is_lost() {
    let mut shop = awkward_view("rename_to = 't.\"Head ÄÖ\"'").await;
    shop.switch(Direction::Forward).await;
    let add = format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id = 1");
    assert_eq!(beside_another(&shop, &add, "", &add).await, "40001");
    // The new row of one who needs no more than that the key stays carries the other's lock.
    let lock = "begin; select from t.\"Head ÄÖ\" where id = 1 for key share";
    let one = "update t.\"Head ÄÖ\" set n = n + 1 where id = 1";
    assert_eq!(beside_another(&shop, one, lock, &add).await, "40001");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (app, add) = (shop.session().await, add.clone());
        tasks.spawn(async move {
            for _ in 0..100 {
                while let Err(e) = app.batch_execute(&add).await {
                    assert_eq!(e.code().unwrap().code(), "40001", "{e:?}");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let select = |table: &str| format!("select \"Zahl\"::text from {table} where id = 1");
    assert_eq!(shop.text(&select(TABLE)).await, "403");
    assert_eq!(
        shop.text("select n::text from t.\"Head ÄÖ\" where id = 1")
            .await,
        "403"
    );
    // The reverse names a target that has another name by now.
    shop.switch(Direction::Back).await;
    assert_eq!(shop.text(&select(TABLE)).await, "403");
    assert_eq!(
        shop.text("select n::text from t.head where id = 1").await,
        "403"
    );
}

/// The new tables hold what the old row cannot show; who updates the old row must not
/// destroy it.
#[tokio::test]
async fn an_update_through_the_view_keeps_what_the_view_cannot_show() {
    let mut shop = Shop::new(shop::SPLIT, "view", &[shop::NEW_ORDERS]).await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    let id: i64 = app
        .query_one(
            "select min(order_id) from shop.order_items where line_no = 3",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    app.batch_execute(&format!(
        "update shop.orders set placed_at = '2024-02-03 04:05:06.789+00', status = 'waiting for the supplier''s answer' where id = {id};
         delete from shop.order_items where order_id = {id} and line_no > 3;
         update shop.order_items set line_no = 7 where order_id = {id} and line_no = 3"
    ))
    .await
    .unwrap();
    let lines = format!(
        "select string_agg(line_no || ' ' || qty, ',' order by line_no) from shop.order_items where order_id = {id}"
    );
    let order = format!(
        "select concat_ws('|', placed_at at time zone 'UTC', status, note) from shop.orders where id = {id}"
    );
    let lines_before = shop.text(&lines).await;
    app.batch_execute(&format!(
        "update legacy.orders set note = 'seen' where id = {id}"
    ))
    .await
    .unwrap();
    assert_eq!(
        shop.text(&order).await,
        "2024-02-03 04:05:06.789|waiting for the supplier's answer|seen"
    );
    assert_eq!(shop.text(&lines).await, lines_before);
    // Lines that do change are written out: three of them, and no fourth.
    app.batch_execute(&format!(
        "update legacy.orders set items = jsonb_set(items, '{{2,qty}}', '77'), status = 'paid' where id = {id}"
    ))
    .await
    .unwrap();
    let now = shop.text(&lines).await;
    assert!(
        now.ends_with(",3 77") && now.split(',').count() == 3,
        "{now}"
    );
    assert_eq!(shop.text(&order).await, "2024-02-03 04:05:06.789|paid|seen");
}
