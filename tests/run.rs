//! The daemon end to end on a real server: copy, stream, stop, go on, switch.

mod support;

use support::{World, json, split};

/// 3,000 rows, a third without items.
async fn fill(world: &World) {
    world
        .sql(
            "insert into s.orders (status, items)
             select 'new', (select coalesce(jsonb_agg(jsonb_build_object('sku', 'S' || i, 'qty', i)), '[]')
                            from generate_series(1, g % 3) i)
             from generate_series(1, 3000) g; analyze s.orders",
        )
        .await;
}

#[tokio::test]
async fn history_and_changes_reach_the_targets_and_a_restart_goes_on() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    split::assert_equal(&world).await;
    let changes = "
        insert into s.orders (items) values ('[{\"sku\": \"a\", \"qty\": 1}]'), ('[]');
        update s.orders set items = items || '{\"sku\": \"b\", \"qty\": 2}' where id % 10 = 0;
        update s.orders set items = '[]' where id % 7 = 0;
        delete from s.orders where id % 11 = 0;
        update s.orders set id = id + 100000 where id % 13 = 0;
        update s.orders set status = 'shipped' where id % 5 = 0;";
    world.sql(changes).await;
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert_eq!(daemon.stop().await, 0);
    world.sql(&changes.replace("100000", "200000")).await;
    let mut daemon = world.daemon(&[]);
    world.caught_up().await;
    split::assert_equal(&world).await;
    world
        .sql("truncate s.orders; insert into s.orders (items) values ('[{\"sku\": \"z\"}]')")
        .await;
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test]
async fn until_copied_ends_with_everything_written_so_far() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let output = world.run(&["--output", "json", "run", "--until", "copied"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(json(&output)["ended"], "copied");
    split::assert_equal(&world).await;
    let status = json(&world.run(&["--output", "json", "status"]));
    assert_eq!(status["phase"], "streaming");
    assert_eq!(status["rows_copied"], 3000);
    assert_eq!(status["daemon"], false);
}

#[tokio::test]
async fn a_switch_renames_guards_and_finish_leaves_the_new_world() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let refused = world
        .client
        .batch_execute("delete from t.items")
        .await
        .unwrap_err();
    assert!(
        refused
            .as_db_error()
            .unwrap()
            .message()
            .contains("crossfade"),
        "{refused}"
    );
    let output = world.run(&["--output", "json", "switch", "--unverified"]);
    let report = json(&output);
    assert_eq!(report["outcome"], "switched", "{report}");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.exit().await, 0);
    let stray = world
        .client
        .batch_execute("insert into s.orders_old default values")
        .await
        .unwrap_err();
    assert_eq!(stray.code().unwrap().code(), "55000");
    world
        .sql("insert into t.orders values (900000, 'new', now())")
        .await;
    let again = world.run(&["switch"]);
    assert_eq!(again.status.code(), Some(0));
    let output = world.run(&["finish"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        world.get("select count(*) from pg_replication_slots").await,
        "0"
    );
    assert_eq!(world.get("select count(*) from pg_publication").await, "0");
    let guards = "select string_agg(tgrelid::regclass::text, ' ') from pg_trigger where tgname = 'crossfade_guard'";
    assert_eq!(
        world.get(guards).await,
        "s.orders_old",
        "only the old table stays guarded"
    );
}

/// The daemon's lock and its origin are held by two sessions of its own, which the server
/// ends in any order: abort waits for the one that still has the origin.
#[tokio::test]
async fn an_abort_waits_for_a_session_that_still_has_the_origin() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    let late = world.open().await;
    let origin = world
        .get("select min(roname) from pg_replication_origin")
        .await;
    support::until("the origin to be free", async || {
        late.execute("select pg_replication_origin_session_setup($1)", &[&origin])
            .await
            .is_ok()
    })
    .await;
    let mut abort = world.command(&["abort"]).spawn().unwrap();
    world
        .until(
            "abort to ask for the origin",
            "select exists(select from pg_stat_activity
             where pid <> pg_backend_pid() and query like '%pg_replication_origin_drop(roname)%')",
        )
        .await;
    assert!(abort.try_wait().unwrap().is_none(), "it did not wait");
    late.batch_execute("select pg_replication_origin_session_reset()")
        .await
        .unwrap();
    let ended = abort.wait().unwrap();
    assert_eq!(ended.code(), Some(0));
    let left = "select count(*) from pg_replication_origin";
    assert_eq!(world.get(left).await, "0");
}

/// A session that restores a dump without triggers, or applies another subscription, is in
/// the replica role: it must not write what is being filled either.
#[tokio::test]
async fn nobody_writes_a_target_before_the_switch_whatever_his_replication_role() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let session = world.open().await;
    for role in ["origin", "local", "replica"] {
        session
            .batch_execute(&format!("set session_replication_role = {role}"))
            .await
            .unwrap();
        let refused = session
            .batch_execute("insert into t.orders values (900000, 'stray', now())")
            .await
            .unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55000", "{role}");
    }
}

/// A newer program's daemon meets the state of an older one, under a migration that runs.
#[tokio::test]
async fn the_daemon_brings_an_older_programs_state_up_to_date() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/crossfade");
    let mut downs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".down.sql"))
        .collect();
    downs.sort();
    let newest = downs.len();
    // What the seventh migration made is the oldest state that a program was given out with.
    for path in downs.drain(7..).rev() {
        world.sql(&std::fs::read_to_string(path).unwrap()).await;
    }
    world
        .sql("delete from crossfade.schema_version where number > 7; delete from crossfade.schema_migration where chain = 'crossfade' and number > 7")
        .await;
    assert_eq!(world.run(&["verify"]).status.code(), Some(2));
    world
        .sql("update s.orders set status = 'meanwhile' where id < 10")
        .await;
    let _daemon = world.daemon(&[]);
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert_eq!(
        world
            .get("select max(number) from crossfade.schema_version")
            .await,
        newest.to_string()
    );
    assert_eq!(world.run(&["verify"]).status.code(), Some(0));
}

/// A copy of the database has the state too, and the names of slots that are the whole
/// server's: nothing that is done there may touch the original's.
#[tokio::test]
async fn a_copy_of_the_database_leaves_the_originals_slots_alone() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    let (admin, connection) =
        tokio_postgres::connect(&world.server.url("template1"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    support::until("nobody to be in the original", async || {
        let end =
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres'";
        admin.query(end, &[]).await.unwrap();
        let copy = "create database copy template postgres";
        admin.batch_execute(copy).await.is_ok()
    })
    .await;
    let original = std::fs::read_to_string(world.dir.join("crossfade.toml")).unwrap();
    let (from, to) = (world.server.url("postgres"), world.server.url("copy"));
    assert!(original.contains(&from), "{original}");
    std::fs::write(world.dir.join("copy.toml"), original.replace(&from, &to)).unwrap();
    let slots = "select string_agg(slot_name || database || confirmed_flush_lsn, ' ') from pg_replication_slots";
    let slots = async || {
        let row = admin.query_one(slots, &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    let before = slots().await;
    for verb in ["abort", "finish", "run", "status", "switch", "verify"] {
        let refused = std::process::Command::new(env!("CARGO_BIN_EXE_crossfade"))
            .arg("--config")
            .arg(world.dir.join("copy.toml"))
            .arg(verb)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{verb}: {text}");
        assert!(text.contains("is a copy of the one"), "{verb}: {text}");
    }
    assert_eq!(slots().await, before);
    assert!(world.run(&["verify"]).status.success());
}

/// A daemon that has just been started goes through its phases while an abort asks for its
/// end: the abort does not insist on the phase that it has read.
#[tokio::test]
async fn an_abort_that_meets_a_change_of_phase_still_ends_the_migration() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    assert_eq!(daemon.stop().await, 0);
    let mut phases = world.open().await;
    let changing = phases.transaction().await.unwrap();
    changing
        .execute("update crossfade.migration set phase = 'copying'", &[])
        .await
        .unwrap();
    let mut abort = world.command(&["abort"]).spawn().unwrap();
    world
        .until(
            "abort to wait for the phase",
            "select exists(select from pg_stat_activity
             where wait_event_type = 'Lock' and query like 'update crossfade.migration set stop%')",
        )
        .await;
    changing.commit().await.unwrap();
    assert_eq!(abort.wait().unwrap().code(), Some(0));
    assert_eq!(
        world.get("select count(*) from crossfade.migration").await,
        "0"
    );
}

#[tokio::test]
async fn abort_removes_what_crossfade_made_and_another_start_works() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world
        .until(
            "some copied chunk",
            "select exists(select from crossfade.checkpoint)",
        )
        .await;
    let output = world.run(&["abort"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(daemon.exit().await, 0);
    assert_eq!(
        world.get("select count(*) from pg_replication_slots").await,
        "0"
    );
    world.sql("truncate t.orders, t.items").await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    split::assert_equal(&world).await;
}

/// A start waits for whoever is writing, for minutes if need be; it can be given up meanwhile.
#[tokio::test]
async fn an_abort_ends_a_start_that_waits_for_somebody_who_writes() {
    let world = World::new().await;
    split::install(&world).await;
    let writer = world.open().await;
    writer
        .batch_execute("begin; insert into s.orders default values")
        .await
        .unwrap();
    let mut daemon = world.daemon(&[]);
    world
        .until(
            "the slot to wait for the writer",
            "select exists(select from pg_locks where locktype = 'transactionid' and not granted)",
        )
        .await;
    let output = world.run(&["abort"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(daemon.exit().await, 0);
    assert_eq!(
        world.get("select count(*) from pg_replication_slots").await,
        "0"
    );
    writer.batch_execute("rollback").await.unwrap();
}

/// All in one transaction: what it sets aside itself counts for the rest of it.
#[tokio::test]
async fn a_row_refused_before_a_truncate_and_corrected_after_it_is_written_whole() {
    let world = World::new().await;
    split::install(&world).await;
    world
        .sql(
            "create table s.other (id int primary key); create table t.other (id int primary key);
             alter table s.orders alter items set storage external",
        )
        .await;
    let toml = "source = 's.other'\n[[target]]\ntable = 't.other'\nsource_key = ['id']\nselect = 'other.sql'\n";
    let files = [
        ("transform.toml", toml),
        ("other.sql", "select o.id from source o"),
    ];
    world.module("other", &files);
    world.config(&["split", "other"], "");
    world
        .sql(
            "insert into s.orders (items)
             select jsonb_build_array(jsonb_build_object('sku', 'a', 'note', string_agg(md5(i::text), '')))
             from generate_series(1, 200) i",
        )
        .await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    world
        .sql(
            "begin; update s.orders set at = 'no time', items = items || '{}'; truncate s.other;
             update s.orders set at = '2024-05-05'; commit",
        )
        .await;
    world.caught_up().await;
    split::assert_equal(&world).await;
    assert_eq!(
        world.get("select count(*) from crossfade.quarantine").await,
        "0"
    );
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test]
async fn a_switch_file_that_ends_the_transaction_is_refused_before_anything_starts() {
    let world = World::new().await;
    split::install(&world).await;
    let toml = "source = 's.orders'\nswitch = 'switch.sql'\n[[target]]\ntable = 't.orders'\nsource_key = ['id']\nselect = 'orders.sql'\n";
    world.module(
        "split",
        &[
            ("transform.toml", toml),
            ("orders.sql", split::ORDERS),
            ("switch.sql", "begin; drop table s.orders; commit;"),
        ],
    );
    let output = world.run(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("begins or ends a transaction"), "{text}");
    assert_eq!(
        world.get("select count(*) from pg_replication_slots").await,
        "0"
    );
}

#[tokio::test]
async fn a_switch_refuses_modules_other_than_those_it_began_with() {
    let world = World::new().await;
    split::install(&world).await;
    fill(&world).await;
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let other = format!("{} where o.id > 0", split::ORDERS);
    world.module("split", &[("orders.sql", other.as_str())]);
    let output = world.run(&["switch", "--unverified"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not those"));
    assert_eq!(
        world.get("select phase from crossfade.migration").await,
        "streaming"
    );
    assert!(daemon.is_running());
}
