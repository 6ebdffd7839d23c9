//! Commits that are in the log and not yet visible.

use crate::stage::{
    self, Gap, copied, daemon, daemon_waits, guarded, lock_wait, logged, terminate,
};
use crate::support::{Point, World, split, until};
use tokio_postgres::Client;

const NOT_VISIBLE: &str = "has committed but is not visible";

/// The stream delivers a commit, and the chunks are copied while no snapshot sees it.
async fn while_copying(omit: Option<&str>) -> World {
    let mut world = stage::world().await;
    let claim = Point::new(&world, "copy.before_claim");
    let _daemon = daemon(&world, &[&claim], omit);
    claim.reached().await;
    Gap::prepare(&mut world).await;
    let gap = Gap::commit(
        &world,
        "update s.orders set status = 'gap' where id % 50 = 0",
    )
    .await;
    // The applier decides before any chunk is copied: it holds the change back, or
    // drops it for the chunks to bring along.
    if omit == Some("release_gate") {
        world.caught_up().await;
    } else {
        daemon_waits(&world, NOT_VISIBLE).await;
    }
    claim.release();
    copied(&world).await;
    gap.close(&mut world).await;
    world.settled().await;
    world
}

#[tokio::test]
async fn a_commit_in_the_gap_waits_at_the_release_gate() {
    guarded("release_gate", while_copying).await;
}

/// The chunk's `high_lsn` is beyond a commit that its snapshot did not see.
#[tokio::test]
async fn visibility_decides_and_not_the_order_of_positions() {
    guarded("fence_by_visibility", while_copying).await;
}

/// A batch of two transactions, the first visible, the second in the gap.
async fn second_of_a_batch(omit: Option<&str>) -> World {
    let mut world = stage::world().await;
    let claim = Point::new(&world, "copy.before_claim");
    let commit = Point::new(&world, "apply.before_commit");
    let _daemon = daemon(&world, &[&claim, &commit], omit);
    claim.reached().await;
    world.sql("insert into s.orders default values").await;
    commit.reached().await;
    world
        .sql("update s.orders set status = 'first' where id = 7")
        .await;
    Gap::prepare(&mut world).await;
    let gap = Gap::commit(
        &world,
        "update s.orders set status = 'second' where id % 50 = 0",
    )
    .await;
    // Both are in the daemon's memory when the applier looks for its next batch.
    world
        .until(
            "the daemon to have received both transactions",
            &format!("select write_lsn >= '{}' from pg_stat_replication", gap.end),
        )
        .await;
    commit.release();
    if omit.is_some() {
        world.caught_up().await;
    } else {
        daemon_waits(&world, NOT_VISIBLE).await;
    }
    claim.release();
    copied(&world).await;
    gap.close(&mut world).await;
    world.settled().await;
    world
}

#[tokio::test]
async fn the_release_gate_looks_at_every_transaction_of_a_batch() {
    guarded("release_gate_rest", second_of_a_batch).await;
}

/// A commit record before the slot's consistent point, invisible to the first
/// snapshots: it is in neither. A slot becomes consistent in two steps, each of
/// which waits for the transactions that were open before; the commit falls into
/// the second.
async fn at_the_consistent_point(omit: Option<&str>) -> World {
    let mut world = stage::world().await;
    let gate = Point::new(&world, "prepare.start_gate");
    let waits_for = async |xid: &str| {
        let condition = format!("locktype = 'transactionid' and transactionid = '{xid}'");
        lock_wait(&world, "the slot to wait for a transaction", &condition).await;
    };
    let (first, second) = (world.open().await, world.open().await);
    let xid = begin(&first).await;
    let daemon = daemon(&world, &[&gate], omit);
    waits_for(&xid).await;
    let xid = begin(&second).await;
    first.batch_execute("rollback").await.unwrap();
    waits_for(&xid).await;
    Gap::prepare(&mut world).await;
    let gap = Gap::commit(
        &world,
        "update s.orders set status = 'gap' where id % 50 = 0",
    )
    .await;
    second.batch_execute("rollback").await.unwrap();
    gate.reached().await;
    let streamed = world
        .get(&format!(
            "select confirmed_flush_lsn < '{}' from pg_replication_slots",
            gap.end
        ))
        .await;
    assert_eq!(streamed, "false", "the slot streams the commit");
    gate.release();
    if omit.is_some() {
        copied(&world).await;
    } else {
        logged(&daemon, "waiting for open transactions to end").await;
    }
    gap.close(&mut world).await;
    until("the daemon's start", async || {
        daemon.log().contains("ready")
    })
    .await;
    world.settled().await;
    world
}

/// Opens a transaction that has an id; returns it as `pg_locks` shows it.
async fn begin(client: &Client) -> String {
    client.batch_execute("begin").await.unwrap();
    let row = client
        .query_one("select pg_current_xact_id()::xid::text", &[])
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test]
async fn nothing_is_copied_before_the_start_gate_is_passed() {
    guarded("start_gate", at_the_consistent_point).await;
}

/// What an applier waited for when its session broke is nothing that anybody waits for now.
#[tokio::test]
async fn a_wait_that_broke_off_is_told_no_more() {
    let mut world = stage::world().await;
    let _daemon = daemon(&world, &[], None);
    world.settled().await;
    Gap::prepare(&mut world).await;
    let gap = Gap::commit(&world, "update s.orders set status = 'gap' where id = 7").await;
    daemon_waits(&world, NOT_VISIBLE).await;
    // The next stream does not begin before the gap has closed, and finds nothing to wait for.
    let lock = world.open().await;
    lock.batch_execute("begin; lock table crossfade.checkpoint in access exclusive mode")
        .await
        .unwrap();
    terminate(&world, "crossfade apply source").await;
    let begins = "relation = 'crossfade.checkpoint'::regclass";
    lock_wait(&world, "the next stream to begin", begins).await;
    gap.close(&mut world).await;
    lock.batch_execute("rollback").await.unwrap();
    world.caught_up().await;
    let nothing = "select waiting is null from crossfade.daemon";
    world.until("nothing to be waited for", nothing).await;
    split::assert_equal(&world).await;
}
