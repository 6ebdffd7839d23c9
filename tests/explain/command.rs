//! The command line.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::world::World;

const TABLES: &str = "
create table orders (id int primary key, customer int not null, at timestamptz not null);
insert into orders select g, g % 3000, now() - g * interval '1 minute' from generate_series(1, 40000) g;
vacuum (analyze) orders";

fn crossfade(world: &World, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .arg("explain")
        .args(arguments)
        .env("CROSSFADE_SOURCE_URL", world.server.url("postgres"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_whole_way_from_a_query_to_a_page_and_a_migration() {
    let world = World::new(TABLES).await;
    let dir = std::env::temp_dir().join(format!("crossfade_explain_cli_{:x}", fastrand::u64(..)));
    let folder = dir.join("migrations");
    std::fs::create_dir_all(&folder).unwrap();
    let query = dir.join("q.sql");
    std::fs::write(
        &query,
        "select id, at from orders where customer = $1 -- the customer's\n;",
    )
    .unwrap();
    let page = dir.join("page.html");
    let path = |p: &std::path::Path| p.display().to_string();
    let ran = crossfade(
        &world,
        &[
            &path(&query),
            "--param",
            "7",
            "--html",
            &path(&page),
            "--migrations",
            &path(&folder),
            "--output",
            "json",
        ],
    );
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let json: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(json["findings"][0]["rule"], "selective-scan", "{json:#}");
    let advice = &json["advice"];
    assert_eq!(advice["measured_on"], "throwaway");
    assert!(
        advice["recommended"][0]["sql"]
            .as_str()
            .unwrap()
            .contains("(customer"),
        "{advice:#}"
    );
    assert_eq!(advice["proof"]["result"], "identical", "{advice:#}");
    assert!(
        advice["proof"]["ratio"].as_f64().unwrap() > 2.0,
        "{advice:#}"
    );
    assert_eq!(json["files"].as_array().unwrap().len(), 3);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("<svg") && !html.contains("http") && html.contains("customer = $1"),
        "{html}"
    );
    let indexes = "select count(*) from pg_indexes where schemaname = 'public'";
    assert_eq!(world.get(indexes).await, "1");

    // What was written goes up and down by the command that it is for.
    let migrate = |verb: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_crossfade"))
            .args(["migrate", verb, "--dir", &path(&folder), "--url"])
            .arg(world.server.url("postgres"))
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}{}",
            text(&ran.stdout),
            text(&ran.stderr)
        );
    };
    migrate("up");
    let valid = "select bool_and(indisvalid) from pg_index where indrelid = 'orders'::regclass";
    assert_eq!(world.get(indexes).await, "2");
    assert_eq!(world.get(valid).await, "true");
    let used = text(&crossfade(&world, &["--used"]).stdout);
    assert!(used.contains("orders_customer"), "{used}");
    migrate("down");
    assert_eq!(world.get(indexes).await, "1");

    // As people read it, and for people who have only a plan.
    let ran = crossfade(
        &world,
        &[
            "--sql",
            "select * from orders where id = 5",
            "--measure",
            "here",
        ],
    );
    assert!(
        text(&ran.stdout).contains("verdict   nothing helps"),
        "{}",
        text(&ran.stdout)
    );
    let plan = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/explain/plans/17/sort_spill.json"
    );
    let ran = crossfade(&world, &["--plan", plan]);
    assert!(
        text(&ran.stdout).contains("[sort-spill]"),
        "{}",
        text(&ran.stdout)
    );
    let ran = crossfade(&world, &["--used"]);
    assert!(
        text(&ran.stdout).contains("no index here was recommended"),
        "{}",
        text(&ran.stdout)
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn wrong_input_is_refused_with_a_remedy() {
    let world = World::new(TABLES).await;
    for (arguments, word) in [
        (vec!["--sql", "delete from orders"], "--allow-writes"),
        (
            vec!["--sql", "select 1; drop table orders"],
            "one statement",
        ),
        (
            vec![
                "--sql",
                "select * from orders where id = $1",
                "--param",
                "1",
                "--param",
                "2",
            ],
            "1 parameters, 2 values",
        ),
        (vec!["/no/such/file.sql"], "cannot read"),
        (vec![], "no query"),
        (vec!["--sql", "select nothing from nowhere"], "nowhere"),
        (vec!["--top", "3"], "pg_stat_statements"),
        (vec!["--plan", "/dev/null"], "not a plan"),
        (
            vec!["--sql", "select 1", "--migrations", "/no/such/folder"],
            "cannot read the folder /no/such/folder",
        ),
    ] {
        let ran = crossfade(&world, &arguments);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    assert_eq!(world.get("select count(*) from orders").await, "40000");

    let mut child = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args([
            "explain",
            "-",
            "--measure",
            "none",
            "--url",
            &world.server.url("postgres"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"select count(*) from orders where customer = 3")
        .unwrap();
    let out = text(&child.wait_with_output().unwrap().stdout);
    assert!(
        out.contains("selective-scan") && out.contains("no index was tried"),
        "{out}"
    );
}

#[tokio::test]
async fn an_index_of_a_partitioned_table_is_built_by_its_parts_under_free_names() {
    let world = World::new(
        r#"create schema "S x";
create table "S x".ev (id int not null, at date not null, nd text not null) partition by range (at);
create table "S x".e1 partition of "S x".ev for values from ('2024-01-01') to ('2024-07-01') partition by range (id);
create table "S x".e11 partition of "S x".e1 default;
create table "S x"."E ""2" partition of "S x".ev default;
insert into "S x".ev select g, date '2024-01-01' + g % 360, md5((g % 20000)::text) from generate_series(1, 40000) g;
create table "S x".ev_nd_idx (taken int);
create table "S x".ev_at_nd_idx (taken int);
create table "S x".e11_nd_idx (taken int);
vacuum (analyze) "S x".ev"#,
    )
    .await;
    let dir = std::env::temp_dir().join(format!("crossfade_parts_{:x}", fastrand::u64(..)));
    std::fs::create_dir_all(&dir).unwrap();
    let folder = dir.display().to_string();
    let query = r#"select count(*) from "S x".ev where nd = md5('77')"#;
    let ran = crossfade(&world, &["--sql", query, "--migrations", &folder]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let said = text(&ran.stdout);
    for part in [
        r#"CREATE INDEX "ev_nd_idx2" ON ONLY "S x"."ev" "#,
        r#"CREATE INDEX CONCURRENTLY "e11_nd_idx2" ON "S x"."e11" "#,
    ] {
        assert!(said.contains(part), "{said}");
    }
    let migrate = |verb: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_crossfade"))
            .args(["migrate", verb, "--dir", &folder, "--url"])
            .arg(world.server.url("postgres"))
            .output()
            .unwrap();
        let (out, error) = (text(&ran.stdout), text(&ran.stderr));
        assert!(ran.status.success(), "{out}{error}");
    };
    migrate("up");
    let indexes = r#"select string_agg(i.indrelid::regclass || ' ' || i.indisvalid, ', ' order by i.indrelid::regclass::text collate "C")
        from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = '"S x"'::regnamespace"#;
    assert_eq!(
        world.get(indexes).await,
        r#""S x"."E ""2" true, "S x".e1 true, "S x".e11 true, "S x".ev true"#
    );
    // Those that have statistics are known again.
    let used = text(&crossfade(&world, &["--used"]).stdout);
    assert_eq!(used.matches("made for:").count(), 2, "{used}");
    migrate("down");
    assert_eq!(world.get(indexes).await, "");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn where_no_index_can_be_made_nothing_is_said_of_indexes() {
    let world = World::new(TABLES).await;
    for sql in [
        "create role reader login",
        "grant select on all tables in schema public to reader",
    ] {
        world.client.batch_execute(sql).await.unwrap();
    }
    let url = world.server.url("postgres");
    let reader = url.replace("//postgres@", "//reader@");
    assert_ne!(reader, url);
    let query = "select * from orders where customer = 3";
    let ran = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args([
            "explain",
            "--sql",
            query,
            "--measure",
            "here",
            "--url",
            &reader,
        ])
        .output()
        .unwrap();
    let said = text(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", text(&ran.stderr));
    assert!(
        said.contains("verdict   nothing is known of indexes: none of the")
            && said.contains("must be owner of table orders"),
        "{said}"
    );
    assert!(!said.contains("at its best"), "{said}");
}
