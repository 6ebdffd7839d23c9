//! `lint` as a program: with and without a database.

use serde_json::Value;

use crate::database::Database;

#[tokio::test]
async fn with_a_database_a_finding_is_measured_by_its_table() {
    let database = Database::new().await;
    database
        .sql(
            "create table small (a int); create table large (a int, b text);
                  insert into large select i, repeat('x', 100) from generate_series(1, 400000) i;
                  analyze",
        )
        .await;
    database.migration(
        1,
        "create index small_a on small (a);\ncreate index large_a on large (a);",
        "drop index small_a; drop index large_a",
    );
    let lint = |arguments: &[&str]| {
        let said = database.migrate(arguments);
        let found: Value = serde_json::from_str(&said.text).unwrap();
        (said.code, found)
    };
    let (code, blind) = lint(&["lint", "--output", "json"]);
    // Two builds, two drops, and the lock of the first build held through the second.
    assert_eq!((code, blind["warnings"].as_u64()), (1, Some(5)), "{blind}");
    let (code, found) = lint(&["lint", "--live", "--output", "json"]);
    assert_eq!(code, 1);
    let up: Vec<&Value> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["file"].as_str().unwrap().ends_with("up.sql"))
        .filter(|f| f["rule"] == "require-concurrent-index-creation")
        .collect();
    assert_eq!(
        (&up[0]["severity"], &up[0]["line"]),
        (&"notice".into(), &1.into()),
        "{found}"
    );
    assert_eq!(
        (&up[1]["severity"], &up[1]["line"]),
        (&"warning".into(), &2.into()),
        "{found}"
    );
    let message = up[1]["message"].as_str().unwrap();
    assert!(
        message.contains("SHARE on public.large, 400 k rows"),
        "{message}"
    );
    assert!(up[1]["seconds"].as_f64().unwrap() > 0.5);
    assert_eq!(
        up[1]["instead"],
        "-- no-transaction\ncreate index concurrently large_a on large (a);"
    );
    assert_eq!(up[1]["lock"]["blocks"], "writes");
    // What is applied is not looked at.
    database.done(&["up"]);
    let (code, none) = lint(&["lint", "--pending", "--output", "json"]);
    assert_eq!((code, none["findings"].as_array().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn with_a_database_the_drop_guard_takes_part() {
    let database = Database::new().await;
    database
        .sql("create table t (a int, b int); create view v as select a from t")
        .await;
    database.migration(1, "select 1;\nalter table t drop column a;", "select 1");
    let said = database.migrate(&["lint", "--live"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.text.contains(
            "0001_m.up.sql:2:15: error drop-guard: drops public.t.a: view:public.v reads it"
        ),
        "{}",
        said.text
    );
    assert!(
        said.text
            .contains("2 | alter table t drop column a;\n  |               ^"),
        "{}",
        said.text
    );
}
