//! The drop guard: everything that still depends on a column is found, whoever knows it.

use crossfade::server::Options;

use crate::database::Database;

const SCHEMA: &str = r#"
create extension pg_stat_statements;
create schema shop;
create table shop.orders (id bigint primary key, total int, status text, note text,
    check (total > 0 or status = 'new'), unique (status, total));
create view shop.totals as select id, total from shop.orders;
create function shop.sum_of(day int) returns bigint language plpgsql as
    $$ begin return (select sum(o.total) /* all */ from shop.orders o where o.id > day); end $$;
create function shop.by_sql() returns bigint language sql as 'select max(total) from shop.orders';
create function shop.stamp() returns trigger language plpgsql as
    $$ begin if new.total > 3 then new.note := 'big'; end if; return new; end $$;
create trigger stamp before insert on shop.orders for each row execute function shop.stamp();
create function shop.other() returns bigint language sql as 'select 1 -- total of shop.orders';
create index open_totals on shop.orders (id) where total > 100;
create index only_total on shop.orders (total);
create statistics shop.both on total, status from shop.orders;
create publication feed for table shop.orders (id, total);
create policy mine on shop.orders using (total < 5);
select pg_stat_statements_reset();
prepare sum_by as select sum(total) from shop.orders where status = $1;
execute sum_by('x');
execute sum_by('y');
insert into shop.orders (id, total, status) values (1, 4, 'secret');
select note from shop.orders;
"#;

async fn guarded() -> Database {
    let options = Options::default().setting("shared_preload_libraries", "pg_stat_statements");
    let database = Database::with(options).await;
    let columns = "shop.orders (id, total);\ncreate policy";
    assert!(SCHEMA.contains(columns));
    if database.publishes_columns().await {
        database.sql(SCHEMA).await;
    } else {
        let schema = SCHEMA.replace(columns, "shop.orders;\ncreate policy");
        database.sql(&schema).await;
    }
    database
}

#[tokio::test]
async fn a_column_is_not_dropped_while_anything_depends_on_it() {
    let database = guarded().await;
    database.migration(
        1,
        "alter table shop.orders drop column total cascade",
        "alter table shop.orders add column total int",
    );
    let error = database.refused(&["up"]);
    for name in [
        "view:shop.totals reads it",
        "routine:shop.sum_of(integer) names it",
        "routine:shop.by_sql() names it",
        "routine:shop.stamp() reads or writes it as NEW or OLD",
        "index:shop.open_totals would vanish with it",
        "constraint:shop.orders.orders_check would vanish with it",
        "constraint:shop.orders.orders_status_total_key would vanish with it",
        "statistics:shop.\"both\" would vanish with it",
        "policy:shop.orders.mine decides by it",
        "run 2 times by postgres",
    ] {
        assert!(error.contains(name), "{name}\n{error}");
    }
    // A publication of the whole table goes on without the column.
    assert_eq!(
        error.contains("publication:feed publishes it in a column list"),
        database.publishes_columns().await,
        "{error}"
    );
    // The prepared statement's own text.
    assert!(
        error.contains("sum_by as select sum ( total )")
            || error.contains("sum_by as select sum(total)"),
        "{error}"
    );
    // Its own index, a comment, another column's query and constants are none of these.
    for name in ["only_total", "shop.other", "select note", "secret"] {
        assert!(!error.contains(name), "{name}\n{error}");
    }
    assert!(
        error.contains("0001_m.up.sql:1:25 drops shop.orders.total"),
        "{error}"
    );
    // Nothing was changed.
    assert_eq!(database.get("select count(*) from pg_attribute where attrelid = 'shop.orders'::regclass and attname = 'total'").await, "1");
}

#[tokio::test]
async fn what_is_accepted_by_name_or_dealt_with_in_the_file_is_let_through() {
    let database = guarded().await;
    database
        .sql("drop policy mine on shop.orders; drop publication feed; drop statistics shop.both;
              drop function shop.by_sql(); drop trigger stamp on shop.orders; drop function shop.stamp();
              select pg_stat_statements_reset()")
        .await;
    database.migration(
        1,
        "drop view shop.totals;
         create view shop.totals as select id from shop.orders;
         create or replace function shop.sum_of(day int) returns bigint language plpgsql as
             $$ begin return 0; end $$;
         drop index shop.open_totals;
         alter table shop.orders drop constraint orders_check;
         alter table shop.orders drop column total;",
        "-- irreversible: a test",
    );
    let error = database.refused(&["up"]);
    assert!(error.contains("1 thing still depends"), "{error}");
    assert!(
        error.contains("--accept 'constraint:shop.orders.orders_status_total_key'"),
        "{error}"
    );
    let name = "constraint:shop.orders.orders_status_total_key";
    assert!(database.migrate(&["up", "--accept", "something_else"]).code == 2);
    database.done(&["up", "--accept", name]);
    // Who has accepted what is remembered.
    assert_eq!(
        database
            .get("select accepted from crossfade.schema_event where outcome = 'done'")
            .await,
        format!("{{{name}}}")
    );
}

#[tokio::test]
async fn renames_and_drops_of_tables_and_functions_are_guarded_too() {
    let database = guarded().await;
    database
        .sql("select shop.sum_of(1); create view shop.uses as select shop.by_sql() as n")
        .await;
    database.migration(
        1,
        "alter table shop.orders rename to sales",
        "alter table shop.sales rename to orders",
    );
    let error = database.refused(&["up"]);
    assert!(
        error.contains("routine:shop.sum_of(integer) names it"),
        "{error}"
    );
    // A view follows by itself.
    assert!(!error.contains("view:shop.totals"), "{error}");
    // With a view under the old name nothing breaks.
    database.migration(
        1,
        "alter table shop.orders rename to sales; create view shop.orders as select * from shop.sales",
        "drop view shop.orders; alter table shop.sales rename to orders",
    );
    database.done(&["up"]);
    database.done(&["down"]);
    database.migration(1, "drop function shop.by_sql()", "select 1");
    let error = database.refused(&["up"]);
    assert!(error.contains("view:shop.uses calls it"), "{error}");
    database.migration(1, "drop function shop.sum_of(int)", "select 1");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("query:") && error.contains("shop.sum_of"),
        "{error}"
    );
    database.migration(1, "drop table shop.orders cascade", "select 1");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("view:shop.totals") && error.contains("publication:feed publishes it"),
        "{error}"
    );
}

/// Whether a migration is let through after this was run.
async fn passes_after(database: &Database, ran: &str, up: &str) -> bool {
    database.sql("select pg_stat_statements_reset()").await;
    if ran.ends_with("stdout") {
        drop(database.client.copy_out(ran).await.unwrap());
    } else {
        database.sql(ran).await;
    }
    database.migration(1, up, "select 1");
    let said = database.migrate(&["up", "--dry-run"]);
    assert!([0, 2].contains(&said.code), "{ran}\n{said:?}");
    said.code == 0
}

#[tokio::test]
async fn jobs_that_copy_empty_or_run_a_block_are_queries_too_and_a_backup_is_none() {
    let options = Options::default().setting("shared_preload_libraries", "pg_stat_statements");
    let database = Database::with(options).await;
    database
        .sql("create extension pg_stat_statements; create table t (id int, a int, b text)")
        .await;
    let column = "alter table t drop column a";
    for (ran, up, passes) in [
        ("copy t (id, a) to stdout", column, false),
        ("copy t (id, a) to '/dev/null'", column, false),
        ("copy t from '/dev/null'", column, false),
        ("do 'begin perform a from t; end'", column, false),
        ("truncate t", "drop table t", false),
        ("COPY public.t (id, a, b) TO stdout", column, true),
        ("copy t (id, b) to stdout", column, true),
        ("truncate t", column, true),
        (
            "do $$ begin alter table t alter a set default 1; end $$",
            column,
            true,
        ),
        (
            "begin; lock table t in access share mode; commit",
            "drop table t",
            true,
        ),
    ] {
        assert_eq!(
            passes_after(&database, ran, up).await,
            passes,
            "{ran}; {up}"
        );
    }
}

#[tokio::test]
async fn without_statistics_of_queries_it_says_that_it_is_blind() {
    let database = Database::new().await;
    database.sql("create table t (id int, a int, b int)").await;
    database.migration(
        1,
        "alter table t drop column a",
        "alter table t add column a int",
    );
    let text = database.done(&["up", "--dry-run"]);
    assert!(
        text.contains("pg_stat_statements is not installed"),
        "{text}"
    );
    let text = database.done(&["up"]);
    assert!(
        text.contains("pg_stat_statements is not installed"),
        "{text}"
    );
}

/// What `up` says of a migration on a schema that is made anew; the routine `f` is in it.
async fn refused(database: &Database, schema: &str, up: &str) -> String {
    database
        .sql("drop schema if exists s cascade; drop schema public cascade; create schema public; create schema s")
        .await;
    database.sql(schema).await;
    database.migration(1, up, "-- no-op: a test");
    database.refused(&["up", "--dry-run"])
}

fn reads(what: &str) -> String {
    format!(
        "create function f() returns bigint language plpgsql as 'begin return (select count({what}); end'"
    )
}

#[tokio::test]
async fn what_partitions_and_children_lose_with_the_column_is_told_once() {
    let database = Database::new().await;
    let partitions = format!(
        "create table p (id int, a int, k int, check (a < k), unique (k, a)) partition by list (k);
         create table p1 partition of p for values in (1) partition by range (k);
         create table p11 partition of p1 default;
         create table p2 partition of p default;
         create index whole on p (a, id);
         create index p11ix on p11 (a, id); create unique index p11u on p11 (id) where a > 5;
         alter table p11 add constraint less check (a < id); create statistics st on a, id from p11;
         {}",
        reads("a) from p11")
    );
    let error = refused(&database, &partitions, "alter table p drop column a").await;
    for name in [
        "drops public.p11.a",
        "index:p11ix would vanish",
        "index:p11u would vanish",
        "constraint:p11.less would vanish",
        "statistics:public.st would vanish",
        "routine:f() names it",
        "index:whole would vanish",
    ] {
        assert_eq!(error.matches(name).count(), 1, "{name}\n{error}");
    }
    // The parts of what the whole has are told of the whole.
    assert_eq!(error.matches("UNIQUE (k, a)").count(), 1, "{error}");
    assert_eq!(error.matches("CHECK ((a < k))").count(), 1, "{error}");
    assert!(!error.contains("p2"), "{error}");
    let error = refused(&database, &partitions, "alter table p rename column a to b").await;
    assert!(
        error.contains("renames public.p11.a") && error.contains("routine:f() names it"),
        "{error}"
    );
    let children = format!(
        "create table p (id int, a int); create table c () inherits (p); create index cix on c (a, id);
         create table own (a int) inherits (p); create index ownix on own (a, id); {}",
        reads("a) from c")
    );
    let error = refused(&database, &children, "alter table p drop column a").await;
    assert!(
        error.contains("index:cix would vanish") && error.contains("routine:f() names it"),
        "{error}"
    );
    // It has the column of its own too, and keeps it.
    assert!(!error.contains("ownix"), "{error}");
}

#[tokio::test]
async fn a_column_of_a_view_is_not_renamed_while_a_function_reads_it() {
    let database = Database::new().await;
    for kind in ["view", "materialized view"] {
        let schema = format!(
            "create table t (id int, a int); create {kind} v as select * from t; {}",
            reads("a) from v")
        );
        let up = format!("alter {kind} v rename column a to aa");
        let error = refused(&database, &schema, &up).await;
        assert!(
            error.contains("renames public.v.a") && error.contains("routine:f() names it"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_takes_the_name_of_a_table_must_have_the_columns_that_are_read() {
    let database = Database::new().await;
    let schema = format!(
        "create table t (id int, a int, b text); {}",
        reads("a) from t")
    );
    for up in [
        "drop table t; create table t (id int)",
        "alter table t rename to t_old; create view t as select id, b from t_old",
        "alter table t rename to t_old; create view t (x, y) as select a, b from t_old",
        "create table t_new (id int); alter table t rename to t_old; alter table t_new rename to t",
    ] {
        let error = refused(&database, &schema, up).await;
        assert!(
            error.contains("what takes its name has no a")
                && error.contains("routine:f() names it"),
            "{error}"
        );
        assert!(
            !error.contains("no id") && !error.contains("no b"),
            "{error}"
        );
    }
    for up in [
        "drop table t; create table t (id int, a int)",
        "alter table t rename to t_old; create view t as select a, id as b from t_old",
        "alter table t rename to t_old; create view t as select * from t_old",
        "create table t_new (id int); alter table t rename to t_old; alter table t_new rename to t;
         alter table t add column a int",
        "create table t_new (like t); alter table t rename to t_old; alter table t_new rename to t",
    ] {
        database
            .sql("drop schema public cascade; create schema public")
            .await;
        database.sql(&schema).await;
        database.migration(1, up, "-- no-op: a test");
        database.done(&["up", "--dry-run"]);
    }
}

#[tokio::test]
async fn a_search_path_that_the_file_sets_says_which_table_is_meant() {
    let database = Database::new().await;
    let schema = format!(
        "create table t (id int, a int); create table s.t (id int, a int); {}",
        reads("a) from t").replace("as 'begin", "set search_path = s as 'begin")
    );
    let up = "set search_path = s; alter table t drop column a";
    let error = refused(&database, &schema, up).await;
    assert!(
        error.contains("drops s.t.a") && error.contains("routine:f() names it"),
        "{error}"
    );
}
