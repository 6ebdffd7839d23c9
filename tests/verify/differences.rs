//! What differs is found, named and counted exactly.

use serde_json::{Value, json};

use crate::world::{World, execute};
use crossfade::verify::{self, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_difference_of_each_kind_is_found_and_named_exactly() {
    let world = World::streaming(300).await;
    let client = world.client().await;
    let (code, clean) = world.verify(&[]);
    assert_eq!(code, 0, "{clean}");
    assert_eq!(clean["result"], "identical");
    assert_eq!(clean["sources"][0]["rows"], 300);
    assert_eq!(clean["targets"][1]["rows"], 300);
    assert_eq!(clean["targets"][2]["rows"], 600);
    assert_eq!(clean["sources"][0]["ranges"], 4);
    assert!(world.has_certificate().await);
    // Twice the same, whatever the number of workers.
    let (_, again) = world.verify(&["--workers", "5"]);
    assert_eq!(clean["targets"], again["targets"]);

    execute(
        &client,
        r#"delete from "New"."Ord""ers" where "Id" = 17;
           insert into "New"."Ord""ers" ("Id") values (-4), (7000000000);
           update "New"."Ord""ers" set amount = amount + 0.01, "gr""p" = '' where "Id" = 120;
           update "New"."Ord""ers" set doc = '{"a":1,"b":2}' where "Id" = 121;
           insert into "New"."li nes" values (200, 3, 'extra');
           delete from "New"."gro ups" where "na me" = 'g3';
           update new_prices set cents = 0 where k = 5"#,
    )
    .await;
    let (code, found) = world.verify(&[]);
    assert_eq!(code, 1, "{found}");
    assert_eq!(found["result"], "different");
    let orders = r#""New"."Ord""ers""#;
    let mut expected = vec![
        json!({"table": orders, "kind": "missing", "source_key": ["17"], "key": {"Id": 17}, "columns": []}),
        json!({"table": orders, "kind": "extra", "source_key": ["-4"], "key": {"Id": -4}, "columns": []}),
        json!({"table": orders, "kind": "extra", "source_key": ["7000000000"], "key": {"Id": 7_000_000_000_i64}, "columns": []}),
        json!({"table": orders, "kind": "changed", "source_key": ["120"], "key": {"Id": 120}, "columns": ["gr\"p", "amount"]}),
        json!({"table": orders, "kind": "changed", "source_key": ["121"], "key": {"Id": 121}, "columns": ["doc"]}),
        json!({"table": "\"New\".\"li nes\"", "kind": "extra", "source_key": ["200"], "key": {"order Id": 200, "no": 3}, "columns": []}),
        json!({"table": "public.new_prices", "kind": "changed", "source_key": ["5", "r2"], "key": {"region": "r2", "k": 5}, "columns": ["cents"]}),
    ];
    // The lookup's row is missed by every source row that uses it.
    for id in (3..=300).step_by(7) {
        expected.push(json!({"table": "\"New\".\"gro ups\"", "kind": "missing", "source_key": [id.to_string()], "key": {"na me": "g3"}, "columns": []}));
    }
    let sorted = |mut list: Vec<Value>| {
        list.sort_by_key(Value::to_string);
        list
    };
    assert_eq!(
        sorted(found["differences"].as_array().unwrap().clone()),
        sorted(expected)
    );
    assert_eq!(found["targets"][1]["differences"], 5);
    assert!(!world.has_certificate().await);
    // Counted all, listed as many as asked for.
    let (_, short) = world.verify(&["--limit", "2"]);
    assert_eq!(short["differences"].as_array().unwrap().len(), 2);
    assert_eq!(short["targets"], found["targets"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_lost_everything_is_counted_to_the_row() {
    let world = World::streaming(5000).await;
    let client = world.client().await;
    execute(&client, r#"truncate "New"."li nes", new_prices"#).await;
    let (code, found) = world.verify(&["--limit", "3"]);
    assert_eq!(code, 1);
    assert_eq!(found["targets"][2]["differences"], 10_000);
    assert_eq!(found["targets"][3]["differences"], 5000);
    assert_eq!(found["targets"][1]["differences"], 0);
    assert_eq!(found["differences"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_no_key_lies_outside_of_every_range() {
    let world = World::streaming(10).await;
    let subject = world.subject().await;
    let client = world.client().await;
    execute(
        &client,
        "alter table new_prices drop constraint new_prices_pkey;
         alter table new_prices alter k drop not null;
         insert into new_prices values (null, 'r9', 1)",
    )
    .await;
    let report = world.pass(&subject).await;
    assert_eq!(report.outcome(), Outcome::Different);
    assert_eq!(report.differences.len(), 1);
    let difference = &report.differences[0];
    assert_eq!(difference.kind, verify::DifferenceKind::Outside);
    assert_eq!(
        Value::from(difference.key.clone()),
        json!({"region": "r9", "k": null})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_said_and_ends_with_two() {
    let mut world = World::new(50).await;
    let (code, error) = world.verify(&[]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains("not been started")
    );
    drop(world);
    world = World::streaming(50).await;
    world.stop();
    let client = world.client().await;
    // Nothing is under way: no daemon is needed.
    let (code, _) = world.verify(&[]);
    assert_eq!(code, 0);
    execute(&client, "update prices set cents = '77' where k = 3").await;
    let (code, error) = world.verify(&[]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error["error"].as_str().unwrap().contains("no daemon"),
        "{error}"
    );
    world.start();
    let pid = world.daemon.as_ref().unwrap().id();
    // How long a daemon takes to start is the machine's; a verification waits a while only.
    world
        .until(
            "the daemon to own the migration",
            &format!(
                "select exists(select from crossfade.daemon where pid = {pid})
                    and exists(select from pg_replication_slots where active)"
            ),
        )
        .await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_quarantine_are_counted_and_not_compared() {
    let world = World::streaming(100).await;
    let client = world.client().await;
    execute(
        &client,
        "update prices set cents = 'many' where k in (7, 8)",
    )
    .await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["quarantined"], 2);
    execute(&client, "update prices set cents = '8' where k = 8").await;
    world.applied().await;
    execute(&client, "update new_prices set cents = 9 where k = 8").await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["quarantined"], 1);
    assert_eq!(report["differences"].as_array().unwrap().len(), 1);
    assert_eq!(report["differences"][0]["source_key"], json!(["8", "r2"]));
}
