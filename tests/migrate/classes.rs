//! `check` puts each fault in its class and names its file.

use std::process::Command;

use crossfade::pg::{ConnInfo, connect};
use serde_json::Value;

use crate::database::{Database, said, until};

async fn checked(database: &Database, code: i32) -> Value {
    let url = database.server.url("postgres");
    let said = database.migrate(&["check", "--on", &url, "--output", "json"]);
    assert_eq!(said.code, code, "{said:?}");
    serde_json::from_str(&said.text).unwrap()
}

fn judged(report: &Value, number: usize) -> (&str, &str, String) {
    let row = &report["migrations"][number - 1];
    let file = row["file"].as_str().unwrap();
    (
        row["class"].as_str().unwrap(),
        file.rsplit('/').next().unwrap(),
        row["details"].to_string(),
    )
}

#[tokio::test]
async fn each_fault_is_put_in_its_class_and_its_file_is_named() {
    let database = Database::new().await;
    database.migration(
        1,
        r#"create table "Order ""Items"" ÄÖ" (id int primary key, a text, b text, c int check (c > 0));"#,
        r#"drop table "Order ""Items"" ÄÖ""#,
    );
    // Back comes only the column, at the end: another order, and its values are lost.
    database.migration(
        2,
        r#"alter table "Order ""Items"" ÄÖ" drop column a"#,
        r#"alter table "Order ""Items"" ÄÖ" add column a text"#,
    );
    // Fails when it is taken back.
    database.migration(3, "create table t3 (id int)", "drop table t33");
    // Leaves something.
    database.migration(
        4,
        "create table t4 (id int); create type t4_kind as enum ('x')",
        "drop table t4",
    );
    // Forgets an index that was there before.
    database.migration(
        5,
        "create table t5 (id int, n int); create index t5_n on t5 (n)",
        "drop table t5",
    );
    database.migration(
        6,
        "drop index t5_n; create index t5_n2 on t5 (n)",
        "drop index t5_n2",
    );
    // Only the order of columns: the values are kept.
    database.migration(
        7,
        "alter table t5 add column m int; update t5 set m = id; alter table t5 drop column id",
        "alter table t5 add column id int; update t5 set id = m; alter table t5 drop column m",
    );
    // Rounds: the type is back, the values are not.
    database.migration(
        8,
        "create table t8 (id int primary key, at timestamp)",
        "drop table t8",
    );
    database.migration(
        9,
        "alter table t8 alter column at type date",
        "alter table t8 alter column at type timestamp",
    );
    database.file(
        "0010_gone.up.sql",
        "-- irreversible: nobody needs it\ndrop table t4",
    );
    let report = checked(&database, 1).await;
    let class = |number| judged(&report, number).0.to_owned();
    assert_eq!(class(1), "exact", "{report}");
    let (kind, file, details) = judged(&report, 2);
    assert_eq!((kind, file), ("loses data", "0002_m.down.sql"), "{report}");
    assert!(details.contains("has other values in a"), "{details}");
    assert!(details.contains("place is"), "{details}");
    let (kind, file, details) = judged(&report, 3);
    assert_eq!((kind, file), ("broken", "0003_m.down.sql"));
    assert!(
        details.contains("t33") && details.contains("does not exist"),
        "{details}"
    );
    let (kind, file, details) = judged(&report, 4);
    assert_eq!((kind, file), ("broken", "0004_m.down.sql"));
    assert!(
        details.contains("enum public.t4_kind is left over"),
        "{details}"
    );
    assert_eq!(class(5), "exact");
    let (kind, file, details) = judged(&report, 6);
    assert_eq!((kind, file), ("broken", "0006_m.down.sql"));
    assert!(
        details.contains("index public.t5_n is missing"),
        "{details}"
    );
    let (kind, file, details) = judged(&report, 7);
    assert_eq!(
        (kind, file),
        ("column order only", "0007_m.down.sql"),
        "{details}"
    );
    assert_eq!(class(8), "exact");
    let (kind, file, details) = judged(&report, 9);
    assert_eq!((kind, file), ("loses data", "0009_m.down.sql"), "{details}");
    assert!(
        details.contains("public.t8 has other values in at"),
        "{details}"
    );
    assert_eq!(class(10), "irreversible");
    assert_eq!(report["worst"], "broken");
}

#[tokio::test]
async fn no_name_of_a_column_hides_what_a_way_back_has_lost() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table c (id int primary key, t jsonb, v int, doc jsonb, words text);
         create table numbered (i int primary key, n int, r int, note text);
         create table child (id int primary key, number int not null references numbered, note text)",
        "drop table child; drop table numbered; drop table c",
    );
    database.file(
        "0001_m.seed.sql",
        r#"insert into c values (1, '{"a": 1}', 42, 'null', ''), (2, '{"a": 2}', 43, '{}', 'x')"#,
    );
    let back = "-- no-op: a test";
    database.migration(2, "update c set v = null", back);
    // NULL is neither the `null` of JSON nor an empty text.
    database.migration(3, "update c set doc = null where doc = 'null'", back);
    database.migration(4, "update c set words = null where words = ''", back);
    // Of rows that were made up, which refer to a column called as their number.
    database.migration(5, "update child set note = 'other'", back);
    let report = checked(&database, 1).await;
    for (number, column) in [
        (2, "c has other values in v"),
        (3, "in doc"),
        (4, "in words"),
    ] {
        let (kind, file, details) = judged(&report, number);
        assert_eq!(
            (kind, file),
            ("loses data", &*format!("000{number}_m.down.sql")),
            "{report}"
        );
        assert!(details.contains(column), "{details}");
    }
    let (kind, _, details) = judged(&report, 5);
    assert_eq!(kind, "loses data", "{report}");
    assert!(
        details.contains("child has other values in note"),
        "{details}"
    );
}

#[tokio::test]
async fn a_chain_without_fault_is_fine_and_one_that_cannot_go_up_says_where() {
    let database = Database::new().await;
    database.migration(1, "create table t (id int)", "drop table t");
    database.file(
        "0002_gone.up.sql",
        "-- irreversible: why not\ndrop table t; create table u (id int)",
    );
    database.migration(3, "create table v (id int)", "drop table v");
    let report = checked(&database, 0).await;
    assert_eq!(report["fine"], true);
    assert_eq!(report["whole_chain"], true);
    database.migration(4, "alter table missing add column a int", "select 1");
    database.migration(5, "select 1", "select 1");
    let report = checked(&database, 1).await;
    let (kind, file, details) = judged(&report, 4);
    assert_eq!((kind, file), ("broken", "0004_m.up.sql"));
    assert!(details.contains("0004_m.up.sql:1:"), "{details}");
    assert_eq!(report["unjudged"][0], "0005_m");
}

#[tokio::test]
async fn a_function_that_a_migration_breaks_is_found_in_the_chain() {
    let database = Database::new().await;
    database.migration(1, "create table t (id int, total int)", "drop table t");
    database.migration(
        2,
        "create function sum_of() returns bigint language plpgsql as $$ begin return (select sum(total) from t); end $$",
        "drop function sum_of()",
    );
    database.migration(
        3,
        "alter table t rename column total to amount",
        "alter table t rename column amount to total",
    );
    let report = checked(&database, 1).await;
    let (kind, file, details) = judged(&report, 3);
    assert_eq!((kind, file), ("broken", "0003_m.up.sql"));
    assert!(details.contains("routine:sum_of()"), "{details}");
}

/// The server waits five seconds for the sessions of a database that is dropped.
#[tokio::test]
async fn a_session_of_the_scratch_database_that_is_slow_to_end_is_waited_for() {
    let database = Database::new().await;
    // Until the role is there, the database is.
    database.migration(
        1,
        "create table t (id int);
         do $$ begin
             while not exists (select from pg_roles where rolname = 'go_on') loop
                 perform pg_sleep(0.01);
             end loop;
         end $$;",
        "drop table t",
    );
    let url = database.server.url("postgres");
    let check = database
        .command(&database.folder(), &["check", "--on", &url])
        .spawn()
        .unwrap();
    let mut session = None;
    until("the scratch database", async || {
        let name = "select max(datname) from pg_database where datname like 'crossfade_check%'";
        let name = database.get(name).await;
        let url = database.server.url(&name);
        if !name.is_empty() {
            session = connect(&ConnInfo::parse(&url).unwrap(), "other").await.ok();
        }
        session.is_some()
    })
    .await;
    let row = session.as_ref().unwrap().query_one(
        "select pg_backend_pid(), current_database() like 'crossfade%'",
        &[],
    );
    let row = row.await.unwrap();
    assert!(row.get::<_, bool>(1));
    let signal = |name: &str| {
        let mut kill = Command::new("kill");
        let done = kill
            .args([name, &row.get::<_, i32>(0).to_string()])
            .status();
        assert!(done.unwrap().success());
    };
    signal("-STOP");
    database.sql("create role go_on").await;
    until("the server to give up", async || {
        let log = std::fs::read_to_string(database.server.log_path()).unwrap();
        log.contains("is being accessed by other users")
    })
    .await;
    signal("-CONT");
    let said = said(check.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let left = "select count(*) from pg_database where datname like 'crossfade_check%'";
    assert_eq!(database.get(left).await, "0");
}
