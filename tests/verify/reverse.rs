//! The round trip: what the reverse rebuilds of the targets is the source, row by row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{World, json as parse};

const TABLES: &str = r#"
create schema "Old ""R"""; create schema new;
create table "Old ""R"""."Sr c" (
    "Id" int primary key, "na me" varchar(20), qty numeric(10,2), tags jsonb not null);
create table new.head (id bigint primary key, "na me" text, qty numeric(12,2));
create table new.tag (id bigint not null, n int not null, tag text, primary key (id, n));
insert into "Old ""R"""."Sr c"
select i, 'n' || i, i * 1.5, jsonb_build_array('t' || i, 'ü "' || i) from generate_series(1, 250) i;
"#;

const HEAD: &str = r#"select o."Id" as id, nullif(o."na me", '') as "na me", o.qty from source o"#;
const TAG: &str = r#"select o."Id" as id, i.n::int as n, i.tag
from source o, jsonb_array_elements_text(o.tags) with ordinality as i (tag, n)"#;
/// Begins with a WITH, and finds the tags by the head's own key.
const BACK: &str = r#"with h as (select * from new.head)
select h.id as "Id", h."na me", h.qty, coalesce(
    (select jsonb_agg(t.tag order by t.n) from new.tag t where t.id = h.id), '[]') as tags
from h"#;

const REPLACED: &str = r#"
source = '"Old ""R"""."Sr c"'
[[target]]
table = 'new.head'
source_key = ['id']
select = 'head.sql'
[[target]]
table = 'new.tag'
source_key = ['id']
select = 'tag.sql'
[reverse]
select = 'back.sql'
"#;

const IN_PLACE: &str = r#"
source = '"Old ""R"""."Sr c"'
moved = ['tags']
[[target]]
table = 'new.tag'
source_key = ['id']
select = 'tag.sql'
[reverse]
select = 'back.sql'
"#;

/// Groups, so that it knows nothing of rows without tags.
const BACK_IN_PLACE: &str =
    r#"select t.id as "Id", jsonb_agg(t.tag order by t.n) as tags from new.tag t group by t.id"#;

const NAME: &str = r#""Old ""R"""."Sr c""#;

async fn world(toml: &str, back: &str) -> World {
    let world = World::new().await;
    world.sql(TABLES).await;
    let files = [
        ("transform.toml", toml),
        ("head.sql", HEAD),
        ("tag.sql", TAG),
        ("back.sql", back),
    ];
    world.module("m", &files);
    world.config(&["m"], "[copy]\nbatch_rows = 10\n");
    world
}

async fn verify(world: &World, arguments: &[&str]) -> (i32, Value) {
    let arguments = [&["--output", "json", "verify"], arguments].concat();
    let mut command = world.command(&arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let code = output.status.code().unwrap();
    if output.stdout.is_empty() {
        let text = String::from_utf8(output.stderr).unwrap();
        return (
            code,
            serde_json::from_str(text.lines().last().unwrap()).unwrap(),
        );
    }
    (code, parse(&output))
}

/// Orders that come and go and change their tags and keys, one transaction each, until
/// told to end; returns how many.
async fn write(client: Client, halt: Arc<AtomicBool>) -> u64 {
    let mut writes = 0;
    while !halt.load(Ordering::Relaxed) {
        let id = fastrand::u32(1..=60);
        let sql = match fastrand::u32(0..5) {
            0 => format!("update new.head set qty = qty + 1 where id = {id}"),
            1 => format!(
                "begin; delete from new.tag where id = {id}; delete from new.head where id = {id}; commit"
            ),
            2 => format!(
                "insert into new.head values ({id}, 'w', 2.5) on conflict (id) do update set \"na me\" = 'v' || {writes}"
            ),
            3 => format!(
                "begin; insert into new.head values ({id}, 'w', 1) on conflict do nothing;
                 insert into new.tag select {id}, coalesce(max(n), 0) + 1, 'x' from new.tag where id = {id}; commit"
            ),
            _ => format!(
                "delete from new.tag t where id = {id} and n = (select max(n) from new.tag where id = {id})"
            ),
        };
        client.batch_execute(&sql).await.unwrap();
        writes += 1;
    }
    writes
}

/// A session that the guards let through, to do harm.
async fn harm(world: &World, sql: &str) {
    let client = world.open().await;
    client
        .batch_execute(&format!("set crossfade.session = 'on'; {sql}"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverse_that_does_not_rebuild_a_row_exactly_is_a_difference() {
    let world = world(REPLACED, BACK).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let (code, clean) = verify(&world, &[]).await;
    assert_eq!(code, 0, "{clean}");
    assert_eq!(clean["rebuilt"][0]["table"], NAME);
    assert_eq!(clean["rebuilt"][0]["rows"], 250);
    assert_eq!(clean["targets"].as_array().unwrap().len(), 2);
    // The module makes NULL of an empty name, so the way back cannot make it again.
    world
        .sql(r#"update "Old ""R"""."Sr c" set "na me" = '' where "Id" in (17, 180)"#)
        .await;
    world.caught_up().await;
    let found = |id: &str| {
        json!({"table": NAME, "kind": "changed", "source_key": [id],
               "key": {"Id": id.parse::<i32>().unwrap()}, "columns": ["na me"], "reverse": true})
    };
    for arguments in [&["--changed"][..], &[]] {
        let (code, report) = verify(&world, arguments).await;
        assert_eq!(code, 1, "{report}");
        let differences = report["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 2, "{report}");
        assert!(differences.contains(&found("17")) && differences.contains(&found("180")));
        assert_eq!(report["rebuilt"][0]["differences"], 2);
        assert_eq!(report["targets"][0]["differences"], 0);
    }
    world
        .sql(r#"update "Old ""R"""."Sr c" set "na me" = 'x' where "na me" = ''"#)
        .await;
    world.caught_up().await;
    assert_eq!(verify(&world, &[]).await.0, 0);
    assert!(daemon.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_the_same_verification_compares_the_tables_kept_for_the_way_back() {
    let world = world(REPLACED, BACK).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let (code, refused) = verify(&world, &["--reverse"]).await;
    assert_eq!(code, 2, "{refused}");
    assert!(
        refused["error"].as_str().unwrap().contains("not switched"),
        "{refused}"
    );
    assert_eq!(verify(&world, &[]).await.0, 0);
    world
        .until(
            "the way back to be ready",
            // Listed from when it is begun, and of use only from when it is consistent.
            "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null",
        )
        .await;
    let mut command = world.command(&["--output", "json", "switch"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(parse(&output)["outcome"], "switched", "{}", daemon.log());
    let (code, refused) = verify(&world, &[]).await;
    assert_eq!(code, 2, "{refused}");
    // A writer of the new schema at full speed, while it is verified.
    let halt = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(world.open().await, halt.clone()));
    let mut identical = 0;
    for _ in 0..6 {
        let (code, report) = verify(&world, &["--reverse"]).await;
        assert_ne!(code, 1, "{report}\n{}", daemon.log());
        identical += u32::from(code == 0);
    }
    halt.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 200);
    assert!(identical > 0);
    let (code, report) = verify(&world, &["--reverse"]).await;
    assert_eq!(code, 0, "{report}");
    world
        .sql(
            "delete from new.tag where id > 250; delete from new.head where id > 250;
             insert into new.head select i, 'new', 1.25 from generate_series(1001, 1200) i;
             insert into new.tag select i, 1, 'a' from generate_series(1001, 1200) i;
             insert into new.head select i, 'old', 1 from generate_series(1, 250) i on conflict do nothing",
        )
        .await;
    // Whoever is slow to apply it makes the verification wait.
    let (code, report) = verify(&world, &["--reverse"]).await;
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["rebuilt"][0]["rows"], 450);
    assert_eq!(verify(&world, &["--reverse", "--changed"]).await.0, 0);
    harm(
        &world,
        r#"update "Old ""R"""."Sr c_old" set qty = 0 where "Id" = 1003;
           delete from "Old ""R"""."Sr c_old" where "Id" = 5"#,
    )
    .await;
    let (code, report) = verify(&world, &["--reverse"]).await;
    assert_eq!(code, 1, "{report}");
    let back: Vec<_> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["reverse"] == true)
        .map(|d| (d["kind"].clone(), d["source_key"][0].clone()))
        .collect();
    assert!(back.contains(&("extra".into(), "5".into())), "{report}");
    assert!(
        back.contains(&("changed".into(), "1003".into())),
        "{report}"
    );
    assert!(daemon.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_columns_are_rebuilt_for_rows_that_exist_and_others_do_not_count() {
    let world = world(IN_PLACE, BACK_IN_PLACE).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let (code, clean) = verify(&world, &[]).await;
    assert_eq!(code, 0, "{clean}");
    harm(&world, "insert into new.tag values (9000, 1, 'stray')").await;
    let (code, report) = verify(&world, &[]).await;
    assert_eq!(code, 1, "{report}");
    let stray = json!({"table": "new.tag", "kind": "extra", "source_key": ["9000"],
                       "key": {"id": 9000, "n": 1}, "columns": []});
    assert_eq!(report["differences"], json!([stray]));
    // A row without tags: this reverse makes no row of it.
    harm(&world, "delete from new.tag where id = 9000").await;
    world
        .sql(r#"update "Old ""R"""."Sr c" set tags = '[]' where "Id" = 33"#)
        .await;
    world.caught_up().await;
    let (code, report) = verify(&world, &[]).await;
    assert_eq!(code, 1, "{report}");
    let missing = json!({"table": NAME, "kind": "missing", "source_key": ["33"],
                         "key": {"Id": 33}, "columns": [], "reverse": true});
    assert_eq!(report["differences"], json!([missing]));
    assert!(daemon.is_running());
}
