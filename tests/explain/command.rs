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
            "",
        ),
    ] {
        let ran = crossfade(&world, &arguments);
        let said = text(&ran.stderr);
        if word.is_empty() {
            continue;
        }
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
