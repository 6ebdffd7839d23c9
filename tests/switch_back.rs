//! The locks of a switch back, which are several: whoever holds one of them keeps the
//! users of the others waiting once, and not at every attempt.

mod support;
mod switching;
mod workload;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::pauses::Control;
use support::{Daemon, World, json, until};
use switching::{crossfade, switch};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

const WAIT: Duration = Duration::from_millis(900);

/// Few attempts, each long enough for somebody to see what it waits for and what it holds.
const SEEN: &str = "[switch]\nattempts = 4\nlock_timeout_ms = 900\nmax_stall_ms = 3000";

const MODULE: &[(&str, &str)] = &[
    (
        "transform.toml",
        "source = 's.orders'\n[[target]]\ntable = 't.orders'\nsource_key = ['id']\nselect = 'orders.sql'\n[[target]]\ntable = 't.items'\nsource_key = ['order_id']\nselect = 'items.sql'\n[reverse]\nselect = 'reverse.sql'\n",
    ),
    ("orders.sql", "select o.id, o.status from source o"),
    (
        "items.sql",
        "select o.id as order_id, i.n::int as n, i.item ->> 'sku' as sku from source o, jsonb_array_elements(o.items) with ordinality as i(item, n)",
    ),
    (
        "reverse.sql",
        "select o.id, o.status, coalesce((select jsonb_agg(jsonb_build_object('sku', i.sku) order by i.n) from t.items i where i.order_id = o.id), '[]') as items from t.orders o",
    ),
];

/// The new schema is in charge and the old one follows.
async fn switched(limits: &str) -> (World, Daemon) {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id bigint primary key, status text not null, items jsonb not null);
             create table t.orders (id bigint primary key, status text not null);
             create table t.items (order_id bigint not null, n int not null, sku text,
                 primary key (order_id, n));
             insert into s.orders select g, 'new', jsonb_build_array(jsonb_build_object('sku', 'S' || g))
             from generate_series(1, 100) g",
        )
        .await;
    world.module("split", MODULE);
    world.config(&["split"], limits);
    let daemon = world.daemon(&[]);
    world.settled().await;
    // Listed from when it is begun, and of use only from when it is consistent.
    let slots =
        "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null";
    world.until("both slots", slots).await;
    let output = switch(&world, &[], &[]).await;
    assert_eq!(json(&output)["outcome"], "switched", "{}", json(&output));
    let back = "select exists(select from pg_replication_slots where slot_name = 'crossfade_test_back' and active)";
    world.until("the stream back", back).await;
    (world, daemon)
}

/// Writes one of the tables in charge; how long each transaction took.
fn writer(world: &World, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let url = world.server.url("postgres");
    tokio::spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let since = Instant::now();
            client
                .batch_execute("update t.orders set status = status || 'x' where id = 3")
                .await
                .unwrap();
            took.push(since.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took
    })
}

/// What attempts were seen waiting for `t.items`, by their server processes, and which of
/// these held meanwhile what keeps writers of `t.orders` waiting.
#[derive(Default)]
struct Attempts {
    waiting: BTreeSet<i32>,
    holding: BTreeSet<i32>,
}

fn watch(client: Client, stop: Arc<AtomicBool>) -> JoinHandle<Attempts> {
    // The lock that keeps vacuum away is held by every attempt and keeps no writer waiting.
    let sql = "select i.pid, exists(
                   select from pg_locks o where o.pid = i.pid and o.granted
                   and o.relation = to_regclass('t.orders')
                   and o.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock'))
               from pg_locks i join pg_stat_activity using (pid)
               where not i.granted and i.relation = to_regclass('t.items')
                 and application_name = 'crossfade switch'";
    tokio::spawn(async move {
        let mut seen = Attempts::default();
        while !stop.load(Ordering::Relaxed) {
            for row in client.query(sql, &[]).await.unwrap() {
                seen.waiting.insert(row.get(0));
                if row.get(1) {
                    seen.holding.insert(row.get(0));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen
    })
}

/// A switch back that does not get its locks, and what was seen of its attempts.
async fn refused(world: &World) -> Attempts {
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(world.open().await, stop.clone());
    let output = crossfade(world, &["switch", "--back", "--unverified"], &[]).await;
    stop.store(true, Ordering::Relaxed);
    let report = json(&output);
    assert_eq!(report["outcome"], "not_switched", "{report}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["attempts"], 4, "{report}");
    let why = report["reason"].as_str().unwrap();
    assert!(why.contains("locking t.items"), "{why}");
    watching.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_whose_lock_was_not_had_is_asked_for_first_the_next_time() {
    let (world, mut daemon) = switched(SEEN).await;
    let holder = world.open().await;
    holder
        .batch_execute("begin; update t.items set sku = 'held' where order_id = 5")
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let control = Control::start(&world).await;
    let writing = writer(&world, stop.clone());
    // Asked of the server, and not of the clock: a transaction takes long on a machine that
    // stands still, too. Several attempts of one run must have been seen for this to say
    // something, and this process may be the one that stands still.
    until("several attempts to be seen", async || {
        let seen = refused(&world).await;
        let (waiting, holding) = (seen.waiting.len(), seen.holding.len());
        println!("{waiting} attempts were seen waiting, {holding} of them kept writers waiting");
        assert!(
            holding <= 1,
            "at every attempt again: {holding} of {waiting}"
        );
        waiting >= 2
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let took = writing.await.unwrap();
    let machine = control.take();
    let longest = took.iter().max().unwrap();
    assert!(
        *longest < WAIT + switching::SLACK + machine,
        "{longest:?}, {machine:?} of it the machine's at most"
    );
    holder.batch_execute("commit").await.unwrap();
    let output = crossfade(&world, &["switch", "--back", "--unverified"], &[]).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "switched", "{report}");
    // All that was written meanwhile has come back.
    let x = took.len();
    let back = world
        .get("select length(status) - 3 || (items -> 0 ->> 'sku') from s.orders where id = 3")
        .await;
    assert_eq!(back, format!("{x}S3"));
    let held = "select items -> 0 ->> 'sku' from s.orders where id = 5";
    assert_eq!(world.get(held).await, "held");
    let status = json(&crossfade(&world, &["status"], &[]).await);
    assert_eq!(status["switch"]["direction"], "back");
    assert_eq!(status["switch"]["outcome"], "switched");
    assert_eq!(daemon.stop().await, 0);
}

/// What one strategy did another one cannot take back: tables would stay under the wrong
/// names, and nobody could write either schema.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_taken_back_by_the_strategy_that_it_went_by() {
    let (world, mut daemon) = switched("").await;
    for other in ["columns", "view", "sql"] {
        world.config(&["split"], &format!("[switch]\nstrategy = \"{other}\""));
        for verb in [&["switch", "--back", "--unverified"][..], &["finish"]] {
            let refused = crossfade(&world, verb, &[]).await;
            assert_eq!(refused.status.code(), Some(2), "{other}: {verb:?}");
            let told: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
            let why = told["error"].as_str().unwrap();
            assert!(
                why.contains("was switched by strategy \"rename\""),
                "{told}"
            );
            let remedy = told["remedy"].as_str().unwrap();
            assert!(remedy.contains("set strategy = \"rename\""), "{told}");
        }
    }
    world
        .sql("update t.orders set status = 'y' where id = 3")
        .await;
    world.config(&["split"], "");
    let back = switch(&world, &["--back"], &[]).await;
    assert_eq!(json(&back)["outcome"], "switched");
    assert_eq!(
        world.get("select status from s.orders where id = 3").await,
        "y"
    );
    // Back, another one may be tried.
    assert_eq!(daemon.stop().await, 0);
    world.config(&["split"], "[switch]\nstrategy = \"view\"");
    let _daemon = world.daemon(&[]);
    let slots =
        "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null";
    world.until("both slots", slots).await;
    let output = switch(&world, &[], &[]).await;
    assert_eq!(json(&output)["outcome"], "switched", "{}", json(&output));
}

/// Between two versions of the program the state is as the older one left it, until the
/// newer one's daemon is started.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_says_that_the_state_is_another_versions() {
    let (world, mut daemon) = switched("").await;
    assert_eq!(daemon.stop().await, 0);
    for (change, remedy) in [
        (
            "delete from crossfade.schema_version where number = (select max(number) from crossfade.schema_version)",
            "start the daemon",
        ),
        (
            "insert into crossfade.schema_version (number, name) values (99999, 'later')",
            "use the newer crossfade",
        ),
    ] {
        world.sql(change).await;
        for verb in [
            &["switch", "--back"][..],
            &["status"],
            &["verify"],
            &["finish"],
        ] {
            let refused = crossfade(&world, verb, &[]).await;
            assert_eq!(refused.status.code(), Some(2), "{verb:?}");
            let why = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(why.contains("the schema crossfade has version"), "{why}");
            assert!(why.contains(remedy), "{why}");
        }
    }
}

/// The way back is as safe to kill as the way forward.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_back_killed_at_any_step_leaves_one_world_and_the_next_run_completes() {
    use crossfade::state::switchover::Step;
    use support::Point;
    use switching::fingerprint;

    let limits = "[switch]\nmax_stall_ms = 30000";
    let (world, mut daemon) = switched(limits).await;
    let before = fingerprint(&world).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(&world, stop.clone());
    for step in Step::ALL {
        if step == Step::Ended {
            stop.store(true, Ordering::Relaxed);
        }
        let point = Point::new(&world, step.failpoint());
        let mut child = world
            .command(&["switch", "--back", "--unverified"])
            .env("CROSSFADE_FAILPOINTS", point.spec())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        point.reached().await;
        child.kill().unwrap();
        child.wait().unwrap();
        let after = fingerprint(&world).await;
        if step == Step::Ended {
            assert_ne!(after, before);
        } else {
            assert_eq!(after, before, "{step:?}");
        }
    }
    let output = crossfade(&world, &["switch", "--back", "--unverified"], &[]).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "switched", "{report}");
    assert_eq!(report["attempts"], 0, "it was switched already");
    let written = writing.await.unwrap().len();
    let back = world
        .get("select length(status) - 3 from s.orders where id = 3")
        .await;
    assert_eq!(back, written.to_string(), "writes in the old table");
    assert_eq!(daemon.stop().await, 0);
}
