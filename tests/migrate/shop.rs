//! The demo's chain, and the migration that turns three ways of storing moments into one.

use std::path::{Path, PathBuf};

use crate::database::{Database, said};

fn chain() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/shop")
}

#[tokio::test]
async fn the_shops_chain_goes_up_down_up_and_is_checked_exact() {
    let database = Database::new().await;
    let run = |arguments: &[&str]| said(database.command(&chain(), arguments).output().unwrap());
    let fingerprint = "select md5(string_agg(c.oid::regclass || a.attname || format_type(a.atttypid, a.atttypmod) || a.attnotnull, ',' order by a.attrelid::regclass::text, a.attname))
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace::regnamespace::text in ('legacy', 'shop')";
    let up = run(&["up"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.text.contains("6 migrations applied"), "{}", up.text);
    let first = database.get(fingerprint).await;
    let down = run(&["down", "--to", "0"]);
    assert_eq!(down.code, 0, "{down:?}");
    assert_eq!(
        database
            .get("select count(*) from pg_namespace where nspname in ('legacy', 'shop')")
            .await,
        "0"
    );
    let again = run(&["up"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(database.get(fingerprint).await, first);
    // Twice is once.
    let twice = run(&["up"]);
    assert!(twice.text.contains("nothing to do"), "{}", twice.text);

    // In scratch databases of this server; they are gone afterwards.
    let check = run(&[
        "check",
        "--on",
        &database.server.url("postgres"),
        "--output",
        "json",
    ]);
    assert_eq!(check.code, 0, "{check:?}");
    let report: serde_json::Value = serde_json::from_str(&check.text).unwrap();
    assert_eq!(report["worst"], "exact");
    assert_eq!(report["whole_chain"], true);
    assert_eq!(report["migrations"].as_array().unwrap().len(), 6);
    assert_eq!(
        database
            .get("select count(*) from pg_database where datname like 'crossfade_check%'")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_throwaway_server_is_enough_for_a_check() {
    let database = Database::new().await;
    database.migration(1, "create table t (id int primary key)", "drop table t");
    let text = database.done(&["check"]);
    assert!(text.contains("0001_m  exact"), "{text}");
    // The database that --url names is not touched.
    assert_eq!(database.get("select to_regclass('t')").await, "");
}

/// Seconds since 1970, text, and a timestamp that knows no zone: with values at the edges.
const THREE_WAYS: &str = "
create table visit (
    id       bigint primary key,
    began    bigint not null,
    ended    varchar(19),
    logged   timestamp not null default now()
);
insert into visit
select i, -86400 * 400 + i * 7919, case when i % 3 > 0 then
           to_char(timestamp '1969-12-31 23:59:58' + i * interval '7 hours 1 second', 'YYYY-MM-DD HH24:MI:SS') end,
       timestamp '2024-03-31 01:59:59.123456' + i * interval '13 minutes'
from generate_series(1, 12345) i;
analyze visit";

const UP: &str = "
-- no-transaction
alter table visit add column began_time timestamptz;
alter table visit add column ended_time timestamptz;
-- batch: visit by id, 1000 rows
update visit set began_time = to_timestamp(began), ended_time = (ended || '+00')::timestamptz
where id between $1 and $2;
begin;
alter table visit alter column began_time set not null;
alter table visit drop column began;
alter table visit drop column ended;
alter table visit rename column began_time to began;
alter table visit rename column ended_time to ended;
alter table visit alter column logged type timestamptz using logged at time zone 'UTC';
commit;";

const DOWN: &str = "
-- no-transaction
alter table visit add column began_seconds bigint;
alter table visit add column ended_text varchar(19);
-- batch: visit by id, 700 rows
update visit set began_seconds = extract(epoch from began),
    ended_text = to_char(ended at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
where id between $1 and $2;
begin;
alter table visit alter column began_seconds set not null;
alter table visit drop column began;
alter table visit drop column ended;
alter table visit rename column began_seconds to began;
alter table visit rename column ended_text to ended;
alter table visit alter column logged type timestamp using logged at time zone 'UTC';
commit;";

#[tokio::test]
async fn three_ways_of_storing_moments_become_one_and_every_value_comes_back() {
    let database = Database::new().await;
    database.sql(THREE_WAYS).await;
    let values = "select md5(string_agg(format('%s %s %s %s', id, began, ended, logged), ';' order by id)) || count(*) from visit";
    let before = database.get(values).await;
    let types = "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attname)
         from pg_attribute where attrelid = 'visit'::regclass and attnum > 0 and not attisdropped and attname <> 'id'";
    let old = database.get(types).await;
    database.migration(1, UP, DOWN);
    let text = database.done(&["up"]);
    assert!(text.contains("12345 rows"), "{text}");
    assert_eq!(
        database.get(types).await,
        "began timestamp with time zone, ended timestamp with time zone, logged timestamp with time zone"
    );
    let moment = "select format('%s %s %s', began, ended, logged) from visit where id = 1";
    assert_eq!(
        database.get(moment).await,
        "1968-11-27 02:11:59+00 1970-01-01 06:59:59+00 2024-03-31 02:12:59.123456+00"
    );
    database.done(&["down"]);
    assert_eq!(database.get(types).await, old);
    assert_eq!(database.get(values).await, before);
}

#[tokio::test]
async fn the_shops_moments_are_moved_while_rows_are_written() {
    let database = Database::new().await;
    let run = |arguments: &[&str]| said(database.command(&chain(), arguments).output().unwrap());
    assert_eq!(run(&["up", "--to", "5"]).code, 0);
    database
        .sql(
            "insert into legacy.customers (email, full_name, created_at)
                 select 'c' || i, 'C', i * 1000 from generate_series(1, 12000) i;
             insert into legacy.payments (order_id, method, amount_cents, paid_at)
                 select i, 'card', 1, case when i % 2 = 0 then to_char(timestamp '2020-02-28' + i * interval '1 h', 'YYYY-MM-DD HH24:MI:SS') end
                 from generate_series(1, 12000) i;
             insert into legacy.shipments (order_id, carrier, shipped_at)
                 select i, 'DHL', to_char(timestamp '1999-12-31' + i * interval '1 h', 'YYYY-MM-DD HH24:MI:SS')
                 from generate_series(1, 12000) i",
        )
        .await;
    let values = "select md5((select string_agg(format('%s %s', id, created_at), ';' order by id) from legacy.customers)
         || (select string_agg(format('%s %s', id, paid_at), ';' order by id) from legacy.payments)
         || (select string_agg(format('%s %s', id, shipped_at), ';' order by id) from legacy.shipments))";
    // Stopped between two batches, an application goes on writing the old columns.
    let point = crate::database::Point::new(&database, "migrate.batch.11");
    let mut child = database
        .command(&chain(), &["up"])
        .env("CROSSFADE_FAILPOINTS", point.spec())
        .spawn()
        .unwrap();
    point.reached().await;
    database
        .sql(
            "insert into legacy.customers (email, full_name, created_at) values ('new', 'N', 1709296496);
             update legacy.payments set paid_at = '2001-02-03 04:05:06' where id in (1, 11999);
             delete from legacy.shipments where id = 7",
        )
        .await;
    let before = database.get(values).await;
    point.release();
    assert!(child.wait().unwrap().success());
    assert_eq!(
        database
            .get("select created_at from legacy.customers where email = 'new'")
            .await,
        "2024-03-01 12:34:56+00"
    );
    assert_eq!(
        database
            .get("select count(*) from legacy.payments where paid_at = '2001-02-03 04:05:06+00'")
            .await,
        "2"
    );
    let down = run(&["down", "--to", "5"]);
    assert_eq!(down.code, 0, "{down:?}");
    assert_eq!(database.get(values).await, before);
}
