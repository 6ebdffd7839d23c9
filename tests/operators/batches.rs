//! A batched migration beside a standby.

use std::process::{Command, Stdio};

use super::replica::Standby;
use super::support::{World, until};

const BATCH: &str = "
-- batch: public.counted by id, 10 rows, pause 2 ms, lag 1 s
update public.counted set n = n + 1 where id between $1 and $2";

// Goal: readers of a standby are not left behind by a backfill: its next range waits, says
// for whom, and goes on once the standby has replayed.
#[tokio::test]
async fn a_batch_that_minds_its_standbys_waits_for_one_that_is_behind() {
    let world = World::new().await;
    // 1,500 ranges and as many pauses: longer than the lag that is allowed.
    world
        .sql(
            "create table public.counted (id int primary key, n int not null);
             insert into public.counted select i, 0 from generate_series(1, 15000) i",
        )
        .await;
    let standby = Standby::start(&world).await;
    let folder = world.dir.join("batched");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("0001_m.up.sql"), BATCH).unwrap();
    std::fs::write(folder.join("0001_m.down.sql"), "-- no-op: a count").unwrap();
    let replay = async |what: &str| {
        let sql = format!("select pg_wal_replay_{what}()");
        standby.client.batch_execute(&sql).await.unwrap();
    };
    replay("pause").await;
    let said = world.dir.join("batched.log");
    let mut up = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args(["migrate", "--url", &world.server.url("postgres"), "--dir"])
        .arg(&folder)
        .arg("up")
        .stdout(std::fs::File::create(&said).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = || std::fs::read_to_string(&said).unwrap();
    until("the batch to wait", async || {
        text().contains("waits for the standby standby1")
    })
    .await;
    // It waits: nothing more is written, and nothing is held meanwhile.
    let done = "select count(*) from public.counted where n = 1";
    let at_first = world.get(done).await;
    assert_ne!(at_first, "15000");
    world
        .until(
            "the batch to hold nothing",
            "select xact_start is null from pg_stat_activity where application_name = 'crossfade migrate'
             and state = 'idle' and query like '%pg_stat_replication%'",
        )
        .await;
    assert_eq!(world.get(done).await, at_first);
    replay("resume").await;
    until("the batch to end", async || {
        up.try_wait().unwrap().is_some()
    })
    .await;
    assert!(text().contains("1 migration applied"), "{}", text());
    let once = "select count(*) from public.counted where n = 1";
    assert_eq!(world.get(once).await, "15000");
}
