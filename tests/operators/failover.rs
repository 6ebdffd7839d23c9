//! The server dies in the middle of a migration and its standby takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Mode, Options};
use tokio_postgres::Client;

use super::replica::Standby;
use super::support::{World, split, until};
use super::watch::fill;

/// Changes rows of the shop over and over, until it is told to halt or its server dies.
fn application(client: Client, halt: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut done = 0;
        while !halt.load(Ordering::Relaxed) {
            let id = fastrand::i64(1..20_000);
            let sql = match fastrand::u8(0..4) {
                0 => format!("delete from s.orders where id = {id}"),
                1 => "insert into s.orders (items) values ('[{\"sku\": \"new\", \"qty\": 1}]')"
                    .into(),
                2 => format!("update s.orders set status = status || '.' where id = {id}"),
                _ => format!(
                    "update s.orders set items = items || '{{\"sku\": \"more\"}}' where id = {id}"
                ),
            };
            if client.batch_execute(&sql).await.is_err() {
                break;
            }
            done += 1;
        }
        done
    })
}

/// Until the standby has the daemon's slot, if it can.
async fn synchronized(standby: &Standby) {
    until("the standby to have the slot", async || {
        standby
            .client
            .query_one(
                "select exists(select from pg_replication_slots
                     where slot_name = 'crossfade_test' and synced and not temporary)",
                &[],
            )
            .await
            .unwrap()
            .get(0)
    })
    .await;
}

// Goal: a migration survives a failover without loss: where the standby has a copy of the
// slot (PostgreSQL 17 and later) it goes on, elsewhere it begins its stream anew. What the
// old server had committed and the standby had not received is gone from source and targets
// alike.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_migration_goes_on_at_the_promoted_standby() {
    let mut world = World::with(Options::default()).await;
    let knows_failover = world
        .get("select current_setting('server_version_num')::int >= 170000")
        .await
        == "true";
    fill(&world, 20_000).await;
    world
        .sql("select pg_create_physical_replication_slot('standby1', true)")
        .await;
    let mut settings = "primary_slot_name = 'standby1'\nhot_standby_feedback = on\n".to_owned();
    if knows_failover {
        settings.push_str("sync_replication_slots = on\n");
    }
    let mut standby = Standby::start_with(&world, &settings).await;
    let slow = "[copy]\nbatch_rows = 50\nworkers = 1\nsleep_ms = 20";
    world.config(&["split"], slow);
    let mut daemon = world.daemon(&[]);
    let halt = Arc::new(AtomicBool::new(false));
    let writes = application(world.open().await, halt.clone());
    world
        .until(
            "some of the copy",
            "select coalesce(sum(rows), 0) > 1000 from crossfade.chunk_1 where state = 'copied'",
        )
        .await;
    if knows_failover {
        synchronized(&standby).await;
    }
    world.server.stop(Mode::Immediate).unwrap();
    let done = writes.await.unwrap();
    assert!(done > 0, "nothing was changed before the failover");
    daemon.kill();

    standby.promote().await;
    let config = std::fs::read_to_string(world.dir.join("crossfade.toml")).unwrap();
    let moved = config.replace(&world.server.url("postgres"), &standby.url);
    assert_ne!(config, moved);
    std::fs::write(world.dir.join("crossfade.toml"), moved).unwrap();
    let info = ConnInfo::parse(&standby.url).unwrap();
    world.client = connect(&info, "test").await.unwrap();
    let copied = world
        .get("select coalesce(sum(rows), 0) from crossfade.chunk_1 where state = 'copied'")
        .await;
    let mut daemon = world.daemon(&[]);
    let writes = application(connect(&info, "shop").await.unwrap(), halt.clone());
    world
        .until(
            "the rest of the copy",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    halt.store(true, Ordering::Relaxed);
    assert!(writes.await.unwrap() > 0);
    world.settled().await;
    split::assert_equal(&world).await;
    let anew = world
        .get("select recoveries from crossfade.migration")
        .await;
    println!("{copied} rows were copied before; the stream was begun anew {anew} times");
    assert!(knows_failover || anew == "1", "{anew}");
    let verified = world.run(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(daemon.stop().await, 0);
}
