//! Batches along a key of several columns.

use crate::database::{Database, Point, kill};

/// 500 rows of 7 tenants under a key of three columns, whose first two are not unique, with
/// names and texts that want quoting.
const TABLE: &str = r#"
create table "Or,ders" (
    "Ten)ant" text, "day" date, n int, price numeric, twice numeric, changes int default 0,
    primary key ("Ten)ant", "day", n));
insert into "Or,ders"
select format('a "%s" '', \', i % 7), date '2026-01-01' + i % 5, i, i / 3.0 from generate_series(1, 500) i"#;

const TWICE: &str = r#"
-- batch: "Or,ders" by ("Ten)ant", day, n), 30 rows
update "Or,ders" set twice = price * 2, changes = changes + 1
where ("Ten)ant", "day", n) between ($1, $2, $3) and ($4, $5, $6)"#;

async fn with(up: &str) -> Database {
    let database = Database::new().await;
    database.migration(1, TABLE, r#"drop table "Or,ders""#);
    database.migration(2, up, "-- no-op: a column's values");
    database.done(&["up", "--to", "1"]);
    database
}

#[tokio::test]
async fn a_walk_along_several_columns_goes_on_where_it_was_killed_and_does_every_row_once() {
    let database = with(TWICE).await;
    let point = Point::new(&database, "migrate.batch.1");
    let child = database.start(&["up"], &point);
    point.reached().await;
    kill(child);
    let done = r#"select count(*) from "Or,ders" where changes = 1"#;
    assert_eq!(database.get(done).await, "30");
    let text = database.done(&["up"]);
    assert!(text.contains("1 migration applied"), "{text}");
    let right = r#"select count(*) filter (where changes = 1 and twice = price * 2) || ' of ' || count(*) from "Or,ders""#;
    assert_eq!(database.get(right).await, "500 of 500");
}

#[tokio::test]
async fn rows_of_equal_keys_are_done_together() {
    let database = with(
        r#"
-- batch: "Or,ders" by ("Ten)ant", day), 30 rows
update "Or,ders" set changes = changes + 1
where ("Ten)ant", "day") between ($1, $2) and ($3, $4)"#,
    )
    .await;
    database.done(&["up"]);
    let once = r#"select count(*) from "Or,ders" where changes = 1"#;
    assert_eq!(database.get(once).await, "500");
}

#[tokio::test]
async fn columns_that_no_index_has_in_this_order_are_refused_before_anything_is_written() {
    let database = with(
        r#"
-- batch: "Or,ders" by (day, n)
update "Or,ders" set changes = 1 where ("day", n) between ($1, $2) and ($3, $4)"#,
    )
    .await;
    let error = database.refused(&["up"]);
    assert!(
        error.contains("no index begins with") && error.contains("day, n"),
        "{error}"
    );
    let wrong = TWICE.replace("day, n)", "day, m)");
    database.file("0002_m.up.sql", &wrong);
    let error = database.refused(&["up"]);
    assert!(
        error.contains("there is no") && error.contains(".m"),
        "{error}"
    );
    let short = TWICE.replace("($4, $5, $6)", "($4, $5, $3)");
    database.file("0002_m.up.sql", &short);
    let error = database.refused(&["up"]);
    assert!(
        error.contains("between ($1, $2, $3) and ($4, $5, $6)"),
        "{error}"
    );
    let changed = r#"select count(*) from "Or,ders" where changes > 0"#;
    assert_eq!(database.get(changed).await, "0");
}
