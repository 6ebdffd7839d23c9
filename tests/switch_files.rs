//! Strategy `sql`: what a module's files may do to the session and to the tables' names.

mod support;
mod switching;
mod workload;

use support::{Daemon, World, json};
use switching::switch;

const AWAY: &str = "alter table s.orders rename to orders_gone;";
const HOME: &str = "alter table s.orders_gone rename to orders;";

/// A migration in phase `streaming` with these files.
async fn streaming(away: &str, home: &str) -> (World, Daemon) {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t; create role deputy;
             create table s.orders (id bigint primary key, status text);
             create table t.orders (id bigint primary key, status text);
             insert into s.orders select g, 'new' from generate_series(1, 100) g",
        )
        .await;
    world.module(
        "m",
        &[
            (
                "transform.toml",
                "source = 's.orders'\nswitch = 'away.sql'\nswitch_back = 'home.sql'\n[[target]]\ntable = 't.orders'\nsource_key = ['id']\nselect = 'orders.sql'\n[reverse]\nselect = 'reverse.sql'\n",
            ),
            ("orders.sql", "select id, status from source"),
            ("reverse.sql", "select id, status from t.orders"),
            ("away.sql", away),
            ("home.sql", home),
        ],
    );
    world.config(&["m"], "[switch]\nstrategy = \"sql\"");
    let daemon = world.daemon(&[]);
    world.settled().await;
    let slots =
        "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null";
    world.until("both slots", slots).await;
    (world, daemon)
}

async fn outcome(world: &World, arguments: &[&str]) -> String {
    let output = switch(world, arguments, &[]).await;
    let text = if output.stdout.is_empty() {
        &output.stderr
    } else {
        &output.stdout
    };
    String::from_utf8_lossy(text).into_owned()
}

/// A role without any right, a path without any schema, no bound on waiting: none of it is
/// the guard's, nor that of the phase which is stored then.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_sets_in_the_session_ends_with_it() {
    let settings = "set search_path = ''; set local statement_timeout = 1;
         set default_transaction_read_only = on; set crossfade.session = off; set role deputy;";
    let (world, _daemon) =
        streaming(&format!("{AWAY}{settings}"), &format!("{HOME}{settings}")).await;
    let said = outcome(&world, &[]).await;
    assert!(
        said.contains("\"outcome\":\"switched\"") || said.contains("\"outcome\": \"switched\""),
        "{said}"
    );
    let refused = world
        .client
        .batch_execute("insert into s.orders_gone values (900, 'x')")
        .await
        .unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "55000");
    assert!(refused.message().contains("t.orders"), "{refused:?}");
    world.sql("insert into t.orders values (901, 'y')").await;
    let said = outcome(&world, &["--back"]).await;
    assert!(said.contains("switched"), "{said}");
    world.sql("insert into s.orders values (902, 'z')").await;
    assert_eq!(
        world
            .get("select status from s.orders where id = 901")
            .await,
        "y"
    );
}

/// Where the tables have other names than the module gives them nobody finds them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_leaves_the_tables_under_other_names_does_not_switch() {
    let (world, _daemon) = streaming(AWAY, "select 1").await;
    assert_eq!(json(&switch(&world, &[], &[]).await)["outcome"], "switched");
    world.sql("insert into t.orders values (901, 'y')").await;
    let said = outcome(&world, &["--back"]).await;
    assert!(
        said.contains("s.orders_gone is not called s.orders"),
        "{said}"
    );
    assert!(said.contains("nothing has changed"), "{said}");
    let phase = "select phase from crossfade.migration";
    assert_eq!(world.get(phase).await, "switched");
    world.sql("insert into t.orders values (902, 'y')").await;
    assert!(
        world
            .client
            .batch_execute("insert into s.orders_gone values (903, 'x')")
            .await
            .is_err(),
        "the old table is guarded still"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_drops_a_new_table_does_not_switch() {
    let (world, _daemon) = streaming("drop table t.orders cascade", HOME).await;
    let said = outcome(&world, &[]).await;
    assert!(said.contains("t.orders is gone"), "{said}");
    let phase = "select phase from crossfade.migration";
    assert_eq!(world.get(phase).await, "streaming");
    world.caught_up().await;
    assert_eq!(
        world.get("select count(*) from t.orders").await,
        "100",
        "it is there"
    );
}
