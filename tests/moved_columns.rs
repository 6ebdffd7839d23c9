//! Columns that have moved, in tables that a stream keeps up: what of an old client's write
//! is refused before the stream has rebuilt the row, in partitions too, and what is said.

mod support;
mod switching;
mod workload;

use serde_json::Value;
use support::{Daemon, World, json};
use switching::{crossfade, switch};
use tokio_postgres::Client;

const TOML: &str = "source = 's.acct'\nmoved = ['balance', 'note']\n[[target]]\ntable = 't.bal'\nsource_key = ['acct_id']\nselect = 'bal.sql'\n";
const BAL: &str = "select id as acct_id, balance, note from source";
const REVERSE: &str =
    "select a.id, b.balance, b.note from s.acct a join t.bal b on b.acct_id = a.id";

/// Accounts whose balances move, in phase `streaming`.
async fn accounts(reverse: bool) -> (World, Daemon) {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.acct (id bigint primary key, name text,
                 balance int not null default 0, note text);
             create table t.bal (acct_id bigint primary key, balance int not null, note text);
             insert into s.acct select g, 'a' || g, g, 'n' from generate_series(1, 100) g;
             create role clerk; grant usage on schema s to clerk;
             grant select, insert, update on s.acct to clerk",
        )
        .await;
    let toml = match reverse {
        true => format!("{TOML}[reverse]\nselect = 'reverse.sql'\n"),
        false => TOML.to_owned(),
    };
    let files = [
        ("transform.toml", toml.as_str()),
        ("bal.sql", BAL),
        ("reverse.sql", REVERSE),
    ];
    started(world, &files).await
}

async fn started(world: World, files: &[(&str, &str)]) -> (World, Daemon) {
    world.module("m", files);
    world.config(&["m"], "[switch]\nstrategy = \"columns\"");
    let daemon = world.daemon(&[]);
    world.settled().await;
    if files[0].1.contains("[reverse]") {
        let slots =
            "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null";
        world.until("both slots", slots).await;
    }
    (world, daemon)
}

async fn switched(world: &World) -> Value {
    let report = json(&switch(world, &[], &[]).await);
    assert_eq!(report["outcome"], "switched", "{report}");
    report
}

/// What a check of a report says.
fn said(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == name);
    check.map_or_else(String::new, |c| c["found"].as_str().unwrap().to_owned())
}

/// SQLSTATE and message, or `ok`.
async fn told(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(e) => {
            let e = e.as_db_error().unwrap();
            let _ = client.batch_execute("rollback").await;
            format!("{} {}", e.code().code(), e.message())
        }
    }
}

const MOVED: &str = r#"55000 crossfade: "balance", "note" of table s.acct moved to t.bal"#;

/// An old client that computes a moved column from what the row has in it must not be
/// told that this is stored, while the row has something else in it than the new table.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_computed_from_one_that_is_not_rebuilt_yet_is_refused() {
    let (world, mut daemon) = accounts(true).await;
    switched(&world).await;
    // What is written from now on is not rebuilt.
    daemon.kill();
    world
        .sql(
            "begin; insert into s.acct (id, name) values (9001, 'new');
             insert into t.bal values (9001, 50, 'x'); commit;
             insert into s.acct (id, name) values (9002, 'without a balance');
             update t.bal set balance = 0 where acct_id = 5; delete from t.bal where acct_id = 6;
             update t.bal set note = 'z' where acct_id = 7; update t.bal set note = null where acct_id = 8",
        )
        .await;
    let old = world.open().await;
    // Who may write the old table need not be allowed to read the new one.
    old.batch_execute("set role clerk").await.unwrap();
    for refused in [
        "update s.acct set balance = balance + 100 where id = 9001",
        "update s.acct set note = note || '!' where id = 9001",
        "update s.acct set balance = balance + 100 where id = 9002",
        "update s.acct set balance = greatest(balance, 5) where id = 5",
        "update s.acct set balance = balance where id = 6",
        "update s.acct set name = 'b', note = 'n' where id = 7",
        "update s.acct set note = note where id = 8",
        "insert into s.acct values (9001, 'new') on conflict (id) do update set balance = s.acct.balance + 1",
        // One row of many.
        "update s.acct set balance = balance",
        "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; update s.acct set balance = balance where id = 9001",
    ] {
        assert_eq!(told(&old, refused).await, MOVED, "{refused}");
    }
    for passes in [
        "update s.acct set name = 'b' where id in (5, 6, 7, 8, 9001, 9002)",
        "update s.acct set name = 'b', balance = balance, note = 'n' where id = 10",
        "update s.acct set balance = balance where id between 20 and 30",
        "update s.acct set note = note where id = 31",
    ] {
        assert_eq!(told(&old, passes).await, "ok", "{passes}");
    }
    let _daemon = world.daemon(&[]);
    let rebuilt = "select (balance, note) = (50, 'x') from s.acct where id = 9001";
    world.until("the row to be rebuilt", rebuilt).await;
    let passes = "update s.acct set name = 'c', balance = balance, note = 'x' where id = 9001";
    assert_eq!(told(&old, passes).await, "ok");
    let refused = "update s.acct set balance = balance + 100 where id = 9001";
    assert_eq!(told(&old, refused).await, MOVED);
}

/// Nothing keeps the moved columns up then, and what they were says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_reverse_whatever_names_a_moved_column_is_refused() {
    let (world, _daemon) = accounts(false).await;
    let report = switched(&world).await;
    let note = said(&report, "moved_columns");
    assert!(note.contains("without [reverse] every UPDATE"), "{note}");
    world
        .sql("update t.bal set balance = 77 where acct_id = 5")
        .await;
    for refused in [
        "update s.acct set balance = 5 where id = 5",
        "update s.acct set balance = balance where id = 6",
    ] {
        assert_eq!(told(&world.client, refused).await, MOVED, "{refused}");
    }
    let passes = "update s.acct set name = 'b' where id = 5";
    assert_eq!(told(&world.client, passes).await, "ok");
}

/// Nobody can tell an old client's INSERT that relies on defaults from a new client's.
#[tokio::test(flavor = "multi_thread")]
async fn inserts_that_leave_the_moved_columns_out_are_told_of_before_the_switch() {
    let (world, _daemon) = accounts(true).await;
    let name = "inserts_without_moved_columns";
    let note = said(&json(&switch(&world, &["--rehearse"], &[]).await), name);
    assert!(
        note.contains("no row is made of it in t.bal") && note.contains("default of balance"),
        "{note}"
    );
    // A column that has to be named tells them apart.
    world
        .sql("alter table s.acct alter balance drop default")
        .await;
    let report = json(&switch(&world, &["--rehearse"], &[]).await);
    assert_eq!(said(&report, name), "", "{report}");
}

/// What abort leaves of the way back it names, with what is to be done by hand.
#[tokio::test(flavor = "multi_thread")]
async fn abort_names_the_constraint_that_stands_for_not_null() {
    let (world, _daemon) = accounts(true).await;
    switched(&world).await;
    world.sql("insert into s.acct (id) values (9001)").await;
    let back = json(&switch(&world, &["--back"], &[]).await);
    assert_eq!(back["outcome"], "switched", "{back}");
    let aborted = json(&crossfade(&world, &["abort"], &[]).await);
    let left = aborted["left"].to_string();
    let constraint = world
        .get("select conname from pg_constraint where conrelid = 's.acct'::regclass and not convalidated")
        .await;
    assert!(constraint.starts_with("crossfade_not_null_"), "{left}");
    assert!(left.contains(&constraint), "{left}");
    world.sql("delete from s.acct where id = 9001").await;
    // Each step as it stands there.
    let steps: Vec<_> = aborted["left"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|what| what.as_str().unwrap().split('`'))
        .filter(|part| part.starts_with("ALTER TABLE"))
        .collect();
    assert_eq!(steps.len(), 3, "{left}");
    for step in steps {
        world.sql(step).await;
    }
    let shape = "select attnotnull and not exists(select from pg_constraint where conname like 'crossfade%')
                 from pg_attribute where attrelid = 's.acct'::regclass and attname = 'balance'";
    assert_eq!(world.get(shape).await, "true");
}

/// Orders in partitions by region, `own` being what partition `us` says of its columns.
async fn regions(own: &str) -> (World, Daemon) {
    let world = World::new().await;
    world
        .sql(&format!(
            "create schema s; create schema t;
             create table s.orders (id bigint not null, reg text not null, status text,
                 items jsonb not null default '[]', note text default 'pn',
                 primary key (id, reg)) partition by list (reg);
             create table s.eu partition of s.orders for values in ('eu');
             create table s.us partition of s.orders {own} for values in ('us');
             insert into s.orders (id, reg, items)
             select g, case when g % 2 = 0 then 'eu' else 'us' end, jsonb_build_array('s' || g)
             from generate_series(1, 100) g;
             create table t.lines (order_id bigint not null, reg text not null, n int not null,
                 sku text, primary key (order_id, reg, n));
             create table t.notes (order_id bigint not null, reg text not null, note text,
                 primary key (order_id, reg))"
        ))
        .await;
    let files = [
        (
            "transform.toml",
            "source = 's.orders'\nmoved = ['items', 'note']\n[[target]]\ntable = 't.lines'\nsource_key = ['order_id', 'reg']\nselect = 'lines.sql'\n[[target]]\ntable = 't.notes'\nsource_key = ['order_id', 'reg']\nselect = 'notes.sql'\n[reverse]\nselect = 'reverse.sql'\n",
        ),
        (
            "lines.sql",
            "select o.id as order_id, o.reg, i.n::int as n, i.j #>> '{}' as sku from source o cross join lateral jsonb_array_elements(o.items) with ordinality i(j, n)",
        ),
        (
            "notes.sql",
            "select o.id as order_id, o.reg, o.note from source o where o.note is not null",
        ),
        (
            "reverse.sql",
            "select o.id, o.reg, coalesce((select jsonb_agg(l.sku order by l.n) from t.lines l where l.order_id = o.id and l.reg = o.reg), '[]') as items, n.note from s.orders o left join t.notes n on n.order_id = o.id and n.reg = o.reg",
        ),
    ];
    started(world, &files).await
}

/// Default and NOT NULL of the moved columns in the table and in its partitions.
const SHAPE: &str = "
    select string_agg(concat_ws(' ', a.attrelid::regclass, a.attname, a.attnotnull,
                                pg_get_expr(d.adbin, d.adrelid)), ', ' order by c.relname, a.attnum)
    from pg_partition_tree('s.orders') p join pg_class c on c.oid = p.relid
    join pg_attribute a on a.attrelid = c.oid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attname in ('items', 'note')";

#[tokio::test(flavor = "multi_thread")]
async fn partitions_keep_their_own_defaults_over_the_switch_and_back() {
    let (world, _daemon) =
        regions("(items default '[\"us\"]', note default 'usnote', status default 'x')").await;
    world
        .sql("alter table only s.eu alter items drop default")
        .await;
    let before = world.get(SHAPE).await;
    switched(&world).await;
    let lifted = world.get(SHAPE).await;
    assert!(
        !lifted.contains('\'') && !lifted.contains(" t,"),
        "{lifted}"
    );
    for reg in ["eu", "us"] {
        let insert = format!("insert into s.{reg} (id, reg) values (1000, '{reg}')");
        assert_eq!(told(&world.client, &insert).await, "ok");
    }
    let rebuilt = "select bool_and(items = '[]') from s.orders where id = 1000";
    world.until("the rows to be rebuilt", rebuilt).await;
    let back = json(&switch(&world, &["--back"], &[]).await);
    assert_eq!(back["outcome"], "switched", "{back}");
    assert_eq!(world.get(SHAPE).await, before);
}

/// The switch back could not restore it, and on some servers the switch would not lift it.
#[tokio::test(flavor = "multi_thread")]
async fn not_null_and_checks_of_one_partition_alone_are_found_before_the_switch() {
    let (world, _daemon) = regions("(note not null)").await;
    world
        .sql("alter table s.eu add constraint wanted check (items is not null)")
        .await;
    let report = json(&switch(&world, &[], &[]).await);
    assert_eq!(report["outcome"], "not_switched", "{report}");
    let why = said(&report, "optional_columns");
    assert!(
        why.contains("note is NOT NULL in partition s.us alone")
            && why.contains("constraint wanted of partition s.eu refuses NULL"),
        "{why}"
    );
    world
        .sql("alter table s.us alter note drop not null; alter table s.eu drop constraint wanted")
        .await;
    switched(&world).await;
}

/// To the server such an UPDATE is a DELETE and an INSERT, which names no moved column.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_takes_a_row_to_another_partition_is_no_write_of_moved_columns() {
    let (world, _daemon) = regions("").await;
    switched(&world).await;
    let moved = r#"55000 crossfade: "items", "note" of table s.us moved to t.lines, t.notes"#;
    for refused in [
        "update s.orders set reg = 'eu', items = '[5]' where id = 11",
        "update s.orders set reg = 'eu', note = null where id = 11",
        "insert into s.orders (id, reg, items) values (500, 'us', '[]')",
    ] {
        assert_eq!(told(&world.client, refused).await, moved, "{refused}");
    }
    // Its rows of the new tables go along, as with a row that is deleted.
    let alone = told(
        &world.client,
        "update s.orders set reg = 'eu' where id = 13",
    )
    .await;
    assert!(
        alone.starts_with("55000 crossfade: a deleted row of table s.us has rows in"),
        "{alone}"
    );
    let along = "begin; update s.orders set reg = 'eu', status = 'y' where id in (7, 9);
         update t.lines set reg = 'eu' where order_id in (7, 9);
         update t.notes set reg = 'eu' where order_id in (7, 9); commit";
    assert_eq!(told(&world.client, along).await, "ok");
    let rebuilt = "select bool_and(reg = 'eu' and status = 'y' and note = 'pn'
                                   and items = jsonb_build_array('s' || id))
                   from s.orders where id in (7, 9)";
    world.until("the rows to be rebuilt", rebuilt).await;
    // A key that stays where it is takes its columns along.
    world
        .sql("begin; update s.orders set id = 1100 where id = 100; update t.lines set order_id = 1100 where order_id = 100; update t.notes set order_id = 1100 where order_id = 100; commit")
        .await;
    let (missing, extra) = world
        .difference(
            "select o.id as order_id, o.reg, 1 as n, o.items ->> 0 as sku from s.orders o",
            "t.lines",
        )
        .await;
    assert_eq!((missing, extra), (0, 0));
}

/// What would let nobody insert any more is found while that can be mended.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_demands_a_moved_column_is_found_before_the_switch() {
    let (world, _daemon) = accounts(true).await;
    let version = "select current_setting('server_version_num')::int / 10000";
    let version: u32 = world.get(version).await.parse().unwrap();
    for (make, says, mend) in [
        (
            "alter table s.acct add constraint mix check (name = 'draft' or note is not null)",
            "constraint mix refuses NULL",
            "alter table s.acct drop constraint mix",
        ),
        (
            "alter table s.acct add constraint whole check (acct.* is not null or name = '')",
            "constraint whole refuses NULL",
            "alter table s.acct drop constraint whole",
        ),
        (
            "alter table s.acct add size int generated always as (length(note)) stored not null",
            "size is NOT NULL and generated from them",
            "alter table s.acct drop column size",
        ),
        (
            "create unique index one on s.acct (id, note) nulls not distinct",
            "index s.one takes one row without a value only",
            "drop index s.one",
        ),
    ] {
        if make.contains("nulls not distinct") && version < 15 {
            continue;
        }
        world.sql(make).await;
        let report = json(&switch(&world, &["--rehearse"], &[]).await);
        assert_eq!(report["outcome"], "not_switched", "{make}: {report}");
        let why = said(&report, "optional_columns");
        assert!(why.contains(says), "{make}: {why}");
        world.sql(mend).await;
    }
    world
        .sql(
            "create function s.demand() returns trigger language plpgsql as
             $$ begin if new.note is null then raise 'no note'; end if; return new; end $$;
             create trigger demanding before insert on s.acct for each row execute function s.demand();
             alter table s.acct add constraint harmless check (id > 0 or note is not null)",
        )
        .await;
    let report = json(&switch(&world, &["--rehearse"], &[]).await);
    assert_eq!(report["outcome"], "rehearsed", "{report}");
    let note = said(&report, "triggers_of_moved_columns");
    assert!(note.contains("trigger demanding"), "{note}");
}

/// The guards run with the rights of their owner and under a search path of their own.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_types_from_any_schema_are_deleted_and_updated_after_the_switch() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema \"T y\"; create domain public.acct_no as text;
             create type \"T y\".\"Kind\" as enum ('a', 'b');
             create table s.acct (id public.acct_no, kind \"T y\".\"Kind\", name text, note public.acct_no,
                 primary key (id, kind));
             create table s.notes (id public.acct_no, kind \"T y\".\"Kind\", note public.acct_no,
                 primary key (id, kind));
             insert into s.acct select 'n' || g, 'a', 'x', 'n' from generate_series(1, 20) g",
        )
        .await;
    let files = [
        (
            "transform.toml",
            "source = 's.acct'\nmoved = ['note']\n[[target]]\ntable = 's.notes'\nsource_key = ['id', 'kind']\nselect = 'notes.sql'\n[reverse]\nselect = 'reverse.sql'\n",
        ),
        ("notes.sql", "select id, kind, note from source"),
        (
            "reverse.sql",
            "select a.id, a.kind, n.note from s.acct a left join s.notes n on n.id = a.id and n.kind = a.kind",
        ),
    ];
    let (world, _daemon) = started(world, &files).await;
    switched(&world).await;
    // A temporary type of that name is the session's own business.
    let app = world.open().await;
    let sql = "create function pg_temp.spy(text) returns boolean language plpgsql as
                   $$ begin raise 'called by %', current_user; end $$;
               create domain pg_temp.acct_no as text check (pg_temp.spy(value));
               create domain pg_temp.text as pg_catalog.text check (pg_temp.spy(value))";
    app.batch_execute(sql).await.unwrap();
    for passes in [
        "begin; delete from s.notes where id = 'n3'; delete from s.acct where id = 'n3'; commit",
        "update s.acct set note = note, name = 'y' where id = 'n4'",
    ] {
        assert_eq!(told(&app, passes).await, "ok", "{passes}");
    }
    let left = told(&app, "delete from s.acct where id = 'n5'").await;
    assert!(left.starts_with("55000 crossfade: a deleted row"), "{left}");
}
