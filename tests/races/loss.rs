//! Lost connections, killed processes, and one that is not quite dead.

use std::process::Command;

use crate::stage::{self, copied, daemon, differing, guarded, terminate};
use crate::support::{Daemon, Point, World, split};

fn signal(daemon: &Daemon, name: &str) {
    let pid = daemon.pid().to_string();
    let status = Command::new("kill").args([name, &pid]).status();
    assert!(status.unwrap().success());
}

/// A daemon that has decided on a batch loses its locks and its stream; a successor
/// applies that batch and newer changes of the same rows; then the predecessor goes
/// on with what it holds.
///
/// It is stopped before its first write: from there on its row locks would make the
/// successor wait for it, and nothing newer could come in between.
async fn zombie(omit: Option<&str>) -> World {
    let world = stage::world().await;
    let write = Point::new(&world, "apply.before_write");
    let mut predecessor = daemon(&world, &[&write], omit);
    world.settled().await;
    world
        .sql(
            "begin; update s.orders set status = 'old' where id = 1;
             insert into s.orders (id, items) values (1000, '[{\"sku\": \"old\"}]'); commit",
        )
        .await;
    write.reached().await;
    let apply = world
        .get("select pid from pg_stat_activity where application_name = 'crossfade apply'")
        .await;
    // It does not learn that its lock is gone before it goes on: it would give its applier
    // half a minute then, and its successor may take longer.
    signal(&predecessor, "-STOP");
    terminate(&world, "crossfade daemon").await;
    world
        .sql("select pg_terminate_backend(active_pid) from pg_replication_slots")
        .await;
    let _successor = daemon(&world, &[], omit);
    world
        .sql(
            "update s.orders set status = 'new' where id = 1; delete from s.orders where id = 1000",
        )
        .await;
    world.caught_up().await;
    assert_eq!(differing(&world).await, 0, "the successor has applied all");
    write.release();
    signal(&predecessor, "-CONT");
    world
        .until(
            "the predecessor's applier to end",
            &format!("select not exists(select from pg_stat_activity where pid = {apply})"),
        )
        .await;
    assert!(predecessor.is_running(), "it stands by");
    world.caught_up().await;
    world
}

#[tokio::test]
async fn a_predecessor_that_is_not_quite_dead_cannot_commit() {
    guarded("checkpoint_swap", zombie).await;
}

#[tokio::test]
async fn a_copier_killed_between_write_and_commit_loses_nothing() {
    let world = stage::world().await;
    let commit = Point::new(&world, "copy.before_commit");
    let mut killed = daemon(&world, &[&commit], None);
    commit.reached().await;
    killed.kill();
    assert_eq!(world.get("select count(*) from t.orders").await, "0");
    world
        .sql("update s.orders set status = 'between' where id % 50 = 0; delete from s.orders where id % 70 = 0")
        .await;
    let _daemon = daemon(&world, &[], None);
    world.settled().await;
    split::assert_equal(&world).await;
}

#[tokio::test]
async fn a_copier_whose_connection_dies_loses_one_batch_and_the_run_goes_on() {
    let world = stage::world().await;
    let commit = Point::new(&world, "copy.before_commit");
    let mut daemon = daemon(&world, &[&commit], None);
    let tick = "select pid from pg_stat_activity where application_name = 'crossfade daemon'";
    commit.reached().await;
    let owner = world.get(tick).await;
    let pending = "select count(*) from crossfade.chunk_1 where state = 'pending'";
    let before = world.get(pending).await;
    terminate(&world, "crossfade copy 1").await;
    world
        .sql("update s.orders set status = 'between' where id % 50 = 0")
        .await;
    // The chunk is free and still to be done.
    world.caught_up().await;
    assert_eq!(world.get(pending).await, before);
    commit.release();
    copied(&world).await;
    world.settled().await;
    split::assert_equal(&world).await;
    assert!(daemon.is_running());
    assert_eq!(world.get(tick).await, owner, "the same daemon goes on");
}
