//! Wrong files and wrong histories: each a clear message, and nothing changed.

use crate::database::{Database, said};

#[tokio::test]
async fn wrong_files_are_named_and_nothing_is_touched() {
    let database = Database::new().await;
    database.file("0001_a.up.sql", "create table t ();");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0001_a has no way back: 0001_a.down.sql is missing"),
        "{error}"
    );
    database.file("0001_a.down.sql", "drop table t;");
    database.file("0003_c.up.sql", "select 1;");
    database.file("0003_c.down.sql", "select 1;");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("number 0002 is missing: 0003_c follows 0001_a"),
        "{error}"
    );
    database.file("0002_b.sql", "-- Up\nselect 1;\n-- Down\nselect 1;");
    database.file("0002_d.sql", "-- Up\nselect 1;\n-- Down\nselect 1;");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0002_d.sql: number 2 is taken by 0002_b"),
        "{error}"
    );
    std::fs::remove_file(database.folder().join("0002_d.sql")).unwrap();
    database.file(
        "0002_b.sql",
        "-- Up\nselect 1;\n\ncreate tabel x (\n    id int\n);\n-- Down\nselect 1;",
    );
    let error = database.refused(&["up"]);
    assert!(error.contains("0002_b.sql:4:8:"), "{error}");
    assert!(
        error.contains("4 | create tabel x (\n  |        ^"),
        "{error}"
    );
    // Not even the history was made.
    assert_eq!(database.get("select to_regclass('t')").await, "");
    assert_eq!(
        database
            .get("select count(*) from crossfade.schema_migration")
            .await,
        "0"
    );
}

#[tokio::test]
async fn an_edited_applied_file_is_shown_as_a_difference() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table t (\n    id int,\n    a int\n);",
        "drop table t",
    );
    database.done(&["up"]);
    database.migration(
        1,
        "create table t (\n    id bigint,\n    a int\n);",
        "drop table t",
    );
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0001_m was edited after it was applied"),
        "{error}"
    );
    assert!(error.contains("-     id int,\n+     id bigint,"), "{error}");
    let status = database.done(&["status"]);
    assert!(status.contains("0001_m  edited"), "{status}");
    // Only line ends and blanks around it: no edit.
    database.migration(
        1,
        "\ncreate table t (\r\n    id int,\r\n    a int\r\n);\n\n",
        "drop table t",
    );
    database.done(&["up"]);
    database.migration(1, "create table t (id int, a int);", "drop table t");
    database.done(&["repair", "--accept-edit", "1"]);
    database.done(&["up"]);
    // The way back may be corrected at any time.
    database.migration(
        1,
        "create table t (id int, a int);",
        "drop table if exists t",
    );
    database.done(&["down"]);
}

#[tokio::test]
async fn histories_that_do_not_fit_are_explained() {
    let database = Database::new().await;
    database.migration(1, "select 1", "select 1");
    database.migration(2, "select 2", "select 2");
    database.done(&["up"]);
    std::fs::remove_file(database.folder().join("0002_m.up.sql")).unwrap();
    std::fs::remove_file(database.folder().join("0002_m.down.sql")).unwrap();
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0002_m is applied, but its file is not here"),
        "{error}"
    );
    database.file("0002_other.sql", "-- Up\nselect 2\n-- Down\nselect 2");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("number 0002 was applied as 0002_m, the file is 0002_other"),
        "{error}"
    );
    let error = database.refused(&["up", "--to", "7"]);
    assert!(error.contains("there is no migration 0007"), "{error}");
}

#[tokio::test]
async fn a_database_that_has_it_all_already_is_adopted() {
    let database = Database::new().await;
    database
        .sql("create table t (id int); create table u (id int)")
        .await;
    database.migration(1, "create table t (id int)", "drop table t");
    database.migration(2, "create table u (id int)", "drop table u");
    database.migration(3, "create table v (id int)", "drop table v");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0001_m.up.sql:1:") && error.contains("already exists"),
        "{error}"
    );
    database.done(&["repair", "--mark-applied", "2"]);
    assert!(database.done(&["up"]).contains("1 migration applied"));
    assert_eq!(database.applied().await, "{1,2,3}");
    database.done(&["repair", "--mark-pending", "3"]);
    assert_eq!(database.applied().await, "{1,2}");
}

#[tokio::test]
async fn what_only_the_server_can_read_is_run_all_the_same() {
    let database = Database::new().await;
    // The parser knows no such option; the server has the last word.
    let text = "create table t (id int);\nselect 1 operator(pg_catalog.+) 2;";
    database.migration(1, text, "drop table t");
    database.done(&["up"]);
    // And it says what is wrong where.
    database.migration(
        2,
        "create table u (id int);\ninsert into u values (1,;",
        "drop table u",
    );
    let error = database.refused(&["up"]);
    assert!(error.contains("0002_m.up.sql:2:25"), "{error}");
    assert_eq!(database.get("select to_regclass('u')").await, "");
}

#[tokio::test]
async fn no_database_no_folder_and_no_name_are_usage_errors() {
    let database = Database::new().await;
    let run = |arguments: &[&str]| {
        said(
            std::process::Command::new(env!("CARGO_BIN_EXE_crossfade"))
                .current_dir(&database.dir)
                .env_remove("CROSSFADE_SOURCE_URL")
                .arg("migrate")
                .args(arguments)
                .output()
                .unwrap(),
        )
    };
    database.migration(1, "select 1", "select 1");
    let up = run(&["up"]);
    assert_eq!(up.code, 2);
    assert!(up.error.contains("no database is given"), "{}", up.error);
    let up = run(&["--dir", "nowhere", "up"]);
    assert_eq!(up.code, 2);
    assert!(
        up.error.contains("cannot read the folder nowhere"),
        "{}",
        up.error
    );
    let new = run(&["new", "Add VAT!"]);
    assert_eq!(new.code, 0, "{new:?}");
    assert!(
        new.text.contains("migrations/0002_add_vat.up.sql"),
        "{}",
        new.text
    );
    let lint = run(&["lint"]);
    assert_eq!(lint.code, 2, "{lint:?}");
    assert!(
        lint.error
            .contains("0002_add_vat.up.sql holds no statement"),
        "{}",
        lint.error
    );
}

#[tokio::test]
async fn a_changed_live_schema_is_told_apart_from_what_the_files_make() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table t (id int primary key, a text)",
        "drop table t",
    );
    database.done(&["up"]);
    let said = database.migrate(&["status", "--drift"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.text
            .contains("the schema is what the migrations up to 0001 make")
    );
    database
        .sql("alter table t alter column a set not null; create index by_hand on t (a)")
        .await;
    let said = database.migrate(&["status", "--drift"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.text
            .contains("column public.t.a: not null is yes, should be nothing"),
        "{}",
        said.text
    );
    assert!(
        said.text.contains("index public.by_hand is left over"),
        "{}",
        said.text
    );
}
