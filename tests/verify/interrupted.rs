//! A pass that is interrupted keeps its place, and what it says stays true.

#![cfg(feature = "failpoints")]

use std::process::Child;

use serde_json::Value;
use tokio_postgres::Client;

use crate::world::{World, execute};

/// A range has ten batches of ten rows.
const ROWS: u32 = 450;

const ORDERS_DONE: &str = "select (frontier -> 0 ->> 'done')::boolean from crossfade.verification";

/// A pass that has verified all orders and none of the prices.
async fn half_way(world: &World) -> Child {
    held_at(world, "verify.next_source")
}

fn held_at(world: &World, name: &str) -> Child {
    let point = world.dir.join(name);
    std::fs::create_dir_all(&point).unwrap();
    let spec = format!("{name}={}", point.display());
    world.spawn(&["verify"], &[("CROSSFADE_FAILPOINTS", spec.as_str())])
}

/// The same, killed when its place was stored.
async fn killed_half_way(world: &World) {
    let mut pass = half_way(world).await;
    world.until("the orders to be verified", ORDERS_DONE).await;
    pass.kill().unwrap();
    pass.wait().unwrap();
}

/// Makes a change that is applied, and then spoils what it wrote.
async fn change_and_harm(world: &World, client: &Client) {
    execute(
        client,
        r#"update "Old ""Shop"""."Or ders" set amount = 3 where "Id" = 5"#,
    )
    .await;
    world.applied().await;
    execute(
        client,
        r#"update "New"."Ord""ers" set amount = 4 where "Id" = 5"#,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_was_killed_goes_on_where_it_was_and_ends_with_the_same_sums() {
    let world = World::streaming(ROWS).await;
    let (code, whole) = world.verify(&[]);
    assert_eq!(code, 0, "{whole}");
    assert_eq!(whole["resumed"], Value::Null);
    killed_half_way(&world).await;
    assert_eq!(world.status()["verification"]["pass"]["rows"], ROWS);
    let (code, rest) = world.verify(&[]);
    assert_eq!(code, 0, "{rest}");
    assert_eq!(rest["resumed"]["rows"], ROWS);
    assert_eq!(rest["sources"], whole["sources"]);
    assert_eq!(rest["targets"], whole["targets"]);
    assert_eq!(rest["certificate"]["targets"][1]["rows"], ROWS);
    // The place is used up; and it is not used where it is not wanted.
    assert_eq!(world.verify(&[]).1["resumed"], Value::Null);
    killed_half_way(&world).await;
    assert_eq!(world.verify(&["--fresh"]).1["resumed"], Value::Null);
}

/// The prices' key has two columns, one of which prints in more than one way.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_was_killed_within_a_table_goes_on_above_its_key() {
    let world = World::streaming(ROWS).await;
    let client = world.client().await;
    execute(&client, "update prices set k = k * 1.00 where k = 300").await;
    world.applied().await;
    let (code, whole) = world.verify(&[]);
    assert_eq!(code, 0, "{whole}");
    let mut pass = held_at(&world, "verify.fourth_range");
    world
        .until(
            // A worker may still be at a range of the orders while another is beyond them.
            "the orders and three ranges of the prices to be verified",
            "select (frontier -> 0 ->> 'done')::boolean and (frontier -> 1 ->> 'ranges')::int = 3
             from crossfade.verification",
        )
        .await;
    pass.kill().unwrap();
    pass.wait().unwrap();
    let above = "select frontier -> 1 -> 'above' ->> 0 = '300.00' from crossfade.verification";
    world.until("the place to be above the key", above).await;
    let (code, rest) = world.verify(&["--workers", "3"]);
    assert_eq!(code, 0, "{rest}");
    assert_eq!(rest["resumed"]["rows"], ROWS + 300);
    assert_eq!(rest["sources"], whole["sources"]);
    assert_eq!(rest["targets"], whole["targets"]);
}

/// The verified part is not read again: what changed in it since is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_behind_an_interrupted_pass_is_not_covered_by_its_certificate() {
    let world = World::streaming(ROWS).await;
    let client = world.client().await;
    killed_half_way(&world).await;
    change_and_harm(&world, &client).await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    let (code, changed) = world.verify(&["--changed"]);
    assert_eq!(code, 1, "{changed}");
    assert_eq!(changed["differences"][0]["source_key"][0], "5");
    assert_eq!(changed["certificate"], Value::Null);
}

/// An older certificate that is moved on meanwhile removes entries of the log that the
/// interrupted pass would need, had their keys not been found equal.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_moved_on_between_the_halves_of_a_pass_loses_nothing() {
    let world = World::streaming(ROWS).await;
    let client = world.client().await;
    assert_eq!(world.verify(&[]).0, 0);
    killed_half_way(&world).await;
    let update = r#"update "Old ""Shop"""."Or ders" set amount = 9 where "Id" in (7, 8)"#;
    execute(&client, update).await;
    world.applied().await;
    let (code, changed) = world.verify(&["--changed"]);
    assert_eq!((code, &changed["keys"]), (0, &2.into()), "{changed}");
    let moved = changed["certificate"]["applied_lsn"].clone();
    change_and_harm(&world, &client).await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    assert!(report["resumed"].is_object());
    // It stands where the older one stood, not where the pass began.
    assert_eq!(report["certificate"]["applied_lsn"], moved);
    let (code, changed) = world.verify(&["--changed"]);
    assert_eq!((code, &changed["keys"]), (1, &1.into()), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_ends_pass_and_certificate_at_once() {
    let world = World::streaming(ROWS).await;
    let client = world.client().await;
    assert_eq!(world.verify(&[]).0, 0);
    execute(
        &client,
        r#"update "New"."Ord""ers" set amount = 4 where "Id" = 5"#,
    )
    .await;
    let mut pass = half_way(&world).await;
    world
        .until(
            "the certificate to be removed before the pass ends",
            "select not exists(select from crossfade.certificate)
                and not exists(select from crossfade.verification)",
        )
        .await;
    pass.kill().unwrap();
    pass.wait().unwrap();
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["resumed"], Value::Null);
    let status = world.status();
    assert_eq!(status["verification"]["last"]["outcome"], "different");
    let tables = &status["verification"]["last"]["differences"];
    assert_eq!(tables[r#""New"."Ord""ers""#], 1, "{status}");
}

/// The position must be read before the first range. Read after the last, a key
/// that changed after its range was compared would count as verified.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_while_its_range_is_verified_is_not_covered() {
    for (omit, found) in [("", 1), ("verify_position_first", 0)] {
        let world = World::streaming(ROWS).await;
        let client = world.client().await;
        let point = world.dir.join("after_ranges");
        std::fs::create_dir_all(&point).unwrap();
        let spec = format!("verify.after_ranges={}", point.display());
        let environment = [
            ("CROSSFADE_FAILPOINTS", spec.as_str()),
            ("CROSSFADE_OMIT", omit),
        ];
        let pass = world.spawn(&["verify"], &environment);
        let since = std::time::Instant::now();
        while !point.join("reached").exists() {
            assert!(since.elapsed() < crate::world::BOUND);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        change_and_harm(&world, &client).await;
        std::fs::write(point.join("go"), b"").unwrap();
        let done = pass.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0));
        let (code, changed) = world.verify(&["--changed"]);
        assert_eq!(code, found, "with {omit:?} left out: {changed}");
    }
}
