//! crossfade's own state schema is installed by the same engine.

use crossfade::state::install;

use crate::database::Database;

#[tokio::test]
async fn the_state_schema_has_the_same_history_as_any_chain() {
    let database = Database::new().await;
    let mut client = database.open().await;
    install::install(&mut client).await.unwrap();
    let versions = "select array_agg(number order by number) from crossfade.schema_version";
    let records = "select array_agg(number order by number) from crossfade.schema_migration where chain = 'crossfade' and state = 'applied'";
    let installed = database.get(versions).await;
    assert_eq!(database.get(records).await, installed);
    assert_eq!(
        database
            .get("select count(*) = max(number) from crossfade.schema_event where chain = 'crossfade' and direction = 'up'")
            .await,
        "true"
    );
    // Again is nothing, and a user's own chain lives beside it.
    install::install(&mut client).await.unwrap();
    database.migration(1, "create table t ()", "drop table t");
    database.done(&["up"]);
    assert_eq!(database.applied().await, "{1}");
    assert_eq!(database.get(records).await, installed);
}

#[tokio::test]
async fn a_database_that_was_installed_without_a_history_is_upgraded() {
    let database = Database::new().await;
    let text = |n: i32, name: &str| {
        let dir = env!("CARGO_MANIFEST_DIR");
        std::fs::read_to_string(format!("{dir}/migrations/crossfade/{n:04}_{name}.up.sql")).unwrap()
    };
    // As the program of four versions ago left it.
    database
        .sql(
            "create schema crossfade;
             create table crossfade.schema_version (number int primary key, name text not null,
                 applied_at timestamptz not null default clock_timestamp())",
        )
        .await;
    for (number, name) in [(1, "state"), (2, "guards"), (3, "reverse")] {
        database.sql(&text(number, name)).await;
        database
            .sql(&format!(
                "insert into crossfade.schema_version (number, name) values ({number}, '{name}')"
            ))
            .await;
    }
    let mut client = database.open().await;
    install::install(&mut client).await.unwrap();
    let newest = database
        .get("select max(number) from crossfade.schema_version")
        .await;
    let count = "select count(*) from crossfade.schema_migration where chain = 'crossfade'";
    assert_eq!(database.get(count).await, newest);
    // What was there before was not run again.
    assert_eq!(
        database
            .get("select min(number) from crossfade.schema_event where chain = 'crossfade'")
            .await,
        "4"
    );
    assert_eq!(
        install::current(&client)
            .await
            .unwrap()
            .map(|n| n.to_string()),
        Some(newest)
    );
}

#[tokio::test]
async fn the_state_schemas_chain_can_be_taken_back_too() {
    let database = Database::new().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/crossfade");
    // The check leaves out the schema crossfade itself: the chain is run in its place.
    database.sql("create schema crossfade").await;
    let run = |arguments: &[&str]| {
        crate::database::said(database.command(&folder, arguments).output().unwrap())
    };
    for arguments in [["up", "--chain", "trial"], ["down", "--chain", "trial"]] {
        let mut arguments = arguments.to_vec();
        if arguments[0] == "down" {
            arguments.extend(["--to", "0"]);
        }
        let said = run(&arguments);
        assert_eq!(said.code, 0, "{arguments:?} {said:?}");
    }
    let left = "select array_agg(relname::text order by relname) from pg_class where relnamespace = 'crossfade'::regnamespace and relkind = 'r'";
    assert_eq!(
        database.get(left).await,
        "{schema_event,schema_migration,schema_step}"
    );
}
