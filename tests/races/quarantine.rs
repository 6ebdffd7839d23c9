//! Rows whose values fit no target: set aside, never lost, never in anybody's way.

use crate::stage::{self, daemon, differing};
use crate::support::{World, json, split};

/// A value that no message may ever show.
const SECRET: &str = "the-31st-of-secret";

/// What both targets hold of an order.
async fn rows(world: &World, id: u32) -> String {
    world
        .get(&format!(
            "select (select count(*) from t.orders where id = {id}) || ' ' ||
                    (select count(*) from t.items where order_id = {id})"
        ))
        .await
}

async fn keys(world: &World) -> String {
    world
        .get(
            "select coalesce(string_agg(format('%s %s %s', array_to_string(key, ','), reason, sqlstate), '; '
                                        order by key), '') from crossfade.quarantine",
        )
        .await
}

/// Whatever one row's values bring about concerns that row: a function of the user's that
/// raises an error, a value too large for an index. What the function says may quote it.
#[tokio::test]
async fn a_row_that_a_function_or_an_index_refuses_is_set_aside_without_its_words() {
    let world = stage::world().await;
    world
        .sql(
            "create function s.read(text) returns text language plpgsql immutable as
                 'begin if $1 like ''the-31st%'' then raise exception ''cannot read %'', $1; end if; return $1; end';
             create index on t.orders (status);",
        )
        .await;
    world.module(
        "split",
        &[(
            "orders.sql",
            &split::ORDERS.replace("o.status", "s.read(o.status) as status"),
        )],
    );
    let too_large = "(select string_agg(md5(g::text), '') from generate_series(1, 2000) g)";
    world
        .sql(&format!(
            "update s.orders set status = '{SECRET}' where id = 3;
             update s.orders set status = {too_large} where id = 250"
        ))
        .await;
    let mut daemon = daemon(&world, &[], None);
    world.settled().await;
    world
        .sql(&format!(
            "update s.orders set status = '{SECRET}' where id = 42;
             update s.orders set status = {too_large} where id = 65;
             update s.orders set status = 'good' where id = 66"
        ))
        .await;
    world.caught_up().await;
    assert_eq!(
        keys(&world).await,
        "250 bad 54000; 3 bad P0001; 42 bad P0001; 65 bad 54000"
    );
    assert!(daemon.is_running());
    let list = world.run(&["quarantine", "list"]);
    let told = String::from_utf8_lossy(&list.stdout).into_owned() + &daemon.log();
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(
        world.get("select status from t.orders where id = 66").await,
        "good"
    );
}

#[tokio::test]
async fn bad_rows_are_set_aside_by_copy_and_stream_and_their_next_good_image_brings_them_back() {
    let world = stage::world().await;
    world
        .sql(&format!(
            "update s.orders set at = '{SECRET}' where id in (3, 250);
             update s.orders set items = '[{{\"qty\": 1}}, {{\"qty\": \"{SECRET}\"}}]' where id = 120"
        ))
        .await;
    let daemon = daemon(&world, &[], None);
    world.settled().await;
    assert_eq!(
        keys(&world).await,
        "120 bad 22P02; 250 bad 22007; 3 bad 22007"
    );
    // By the stream: a row that was good, alone and among others, and a new one.
    world
        .sql(&format!(
            "update s.orders set at = '{SECRET}' where id = 42;
             begin; update s.orders set status = 'more' where id between 60 and 70;
             update s.orders set items = '[{{\"qty\": \"{SECRET}\"}}]' where id = 65; commit;
             insert into s.orders (id, at) values (900, '{SECRET}');
             update s.orders set status = 'still bad' where id = 3"
        ))
        .await;
    world.caught_up().await;
    assert_eq!(
        keys(&world).await,
        "120 bad 22P02; 250 bad 22007; 3 bad 22007; 42 bad 22007; 65 bad 22P02; 900 bad 22007"
    );
    for id in [3, 42, 65, 120, 250, 900] {
        assert_eq!(rows(&world, id).await, "0 0", "order {id}");
    }
    for (select, table) in [(split::ORDERS, "t.orders"), (split::ITEMS, "t.items")] {
        let good = select.replace(
            "source o",
            "(select * from s.orders where id not in (3, 42, 65, 120, 250, 900)) o",
        );
        assert_eq!(world.difference(&good, table).await, (0, 0));
    }
    switch_counts_them(&world).await;
    // Each way out: a good value, another key, the row's end.
    world
        .sql(
            "update s.orders set at = '2024-05-05' where id in (3, 42);
             update s.orders set items = '[{\"qty\": 7}]' where id = 120;
             update s.orders set id = 1065, items = '[]' where id = 65;
             delete from s.orders where id = 250",
        )
        .await;
    world.caught_up().await;
    assert_eq!(keys(&world).await, "900 bad 22007");
    world.sql("truncate s.orders").await;
    world
        .until(
            "the quarantine to be emptied with the table",
            "select not exists(select from crossfade.quarantine)",
        )
        .await;
    assert_eq!(differing(&world).await, 0);
    assert!(!daemon.log().contains(SECRET), "a value is in the log");
    let shown =
        world.get("select count(*) from crossfade.quarantine where message like '%secret%'");
    assert_eq!(shown.await, "0");
}

/// The switch is refused with one row more than was accepted.
async fn switch_counts_them(world: &World) {
    let list = world.run(&["--output", "json", "quarantine", "list"]);
    assert!(!String::from_utf8_lossy(&list.stdout).contains(SECRET));
    assert_eq!(json(&list)["rows"].as_array().unwrap().len(), 6);
    let switch = |accepted| {
        world.run(&[
            "--output",
            "json",
            "switch",
            "--unverified",
            "--rehearse",
            "--accept-quarantined",
            accepted,
        ])
    };
    let refused = switch("5");
    assert_eq!(refused.status.code(), Some(1));
    let report = json(&refused);
    assert_eq!(report["outcome"], "not_switched", "{report}");
    let check = report["checks"].as_array().unwrap().iter();
    let failed: Vec<_> = check.filter(|c| c["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(failed[0]["name"], "quarantine");
    let report = json(&switch("6"));
    assert_eq!(report["outcome"], "rehearsed", "{report}");
}
