//! Chunks: claim, snapshot, lock, and the first tiles.

use crate::stage::{self, daemon, guarded, lock_wait, spawn};
use crate::support::{Point, World, split};

/// A change after the chunk's claim could be seen and before its snapshot.
async fn change_before_claim(omit: Option<&str>) -> World {
    let world = stage::world().await;
    let claim = Point::new(&world, "copy.before_claim");
    let _daemon = daemon(&world, &[&claim], omit);
    claim.reached().await;
    // Nothing is claimed, so the applier leaves it to the chunks.
    world
        .sql("update s.orders set status = 'early' where id % 50 = 0; delete from s.orders where id % 70 = 0")
        .await;
    world.caught_up().await;
    claim.release();
    world.settled().await;
    world
}

#[tokio::test]
async fn a_chunk_is_claimed_before_its_snapshot_exists() {
    guarded("claim_before_snapshot", change_before_claim).await;
}

/// A change to a chunk that has read its rows and not committed.
async fn change_of_a_claimed_chunk(omit: Option<&str>) -> World {
    let world = stage::world().await;
    let commit = Point::new(&world, "copy.before_commit");
    let _daemon = daemon(&world, &[&commit], omit);
    commit.reached().await;
    world
        .sql("update s.orders set status = 'late' where id % 50 = 0; delete from s.orders where id % 70 = 0")
        .await;
    if omit.is_some() {
        world.caught_up().await;
    } else {
        lock_wait(
            &world,
            "the applier to wait for a claim",
            "locktype = 'advisory'",
        )
        .await;
    }
    commit.release();
    world.settled().await;
    world
}

#[tokio::test]
async fn the_applier_waits_for_a_claimed_chunk() {
    guarded("claim_wait", change_of_a_claimed_chunk).await;
}

/// `sql` wants the strongest lock between a chunk's snapshot and its read.
async fn rewrite(omit: Option<&str>, sql: &str) -> World {
    let world = stage::world().await;
    let snapshot = Point::new(&world, "copy.after_snapshot");
    let _daemon = daemon(&world, &[&snapshot], omit);
    snapshot.reached().await;
    let rewriting = spawn(&world, sql).await;
    if omit.is_none() {
        lock_wait(
            &world,
            "the rewrite to wait",
            "mode = 'AccessExclusiveLock'",
        )
        .await;
        snapshot.release();
        rewriting.await.unwrap().unwrap();
    } else {
        rewriting.await.unwrap().unwrap();
        snapshot.release();
    }
    world.settled().await;
    world
}

const LOCK: &str = "lock_before_snapshot";

/// The rewritten rows carry the id of the ALTER TABLE: an older snapshot sees none.
#[tokio::test]
async fn no_rewriting_alter_table_comes_between_snapshot_and_read() {
    guarded(LOCK, async |omit: Option<&str>| {
        rewrite(
            omit,
            "alter table s.orders add extra float not null default random()",
        )
        .await
    })
    .await;
}

/// TRUNCATE empties an older snapshot's view too, but the stream carries it, and it
/// empties the chunk all the same: harmless with the lock and without it.
#[tokio::test]
async fn a_truncate_between_snapshot_and_read_is_harmless() {
    let sql = "truncate s.orders; insert into s.orders (id, items) values (5, '[{\"sku\": \"n\"}]'), (250, '[]')";
    let (whole, mutant) = tokio::join!(rewrite(None, sql), rewrite(Some(LOCK), sql));
    split::assert_equal(&whole).await;
    split::assert_equal(&mutant).await;
}

/// VACUUM FULL and CLUSTER rewrite the table with every row's visibility kept.
#[tokio::test]
async fn a_vacuum_full_between_snapshot_and_read_is_harmless() {
    let cluster = "cluster s.orders using orders_pkey";
    let (whole, mutant, clustered) = tokio::join!(
        rewrite(None, "vacuum full s.orders"),
        rewrite(Some(LOCK), "vacuum full s.orders"),
        rewrite(Some(LOCK), cluster)
    );
    split::assert_equal(&whole).await;
    split::assert_equal(&mutant).await;
    split::assert_equal(&clustered).await;
}

/// New rows above the highest key, before the slot exists.
async fn insert_before_the_slot(omit: Option<&str>) -> World {
    let world = stage::world().await;
    let slot = Point::new(&world, "prepare.before_slot");
    let _daemon = daemon(&world, &[&slot], omit);
    slot.reached().await;
    world
        .sql("insert into s.orders (items) select '[{\"sku\": \"new\", \"qty\": 1}]' from generate_series(1, 5)")
        .await;
    slot.release();
    world.settled().await;
    world
}

#[tokio::test]
async fn the_highest_key_is_read_after_the_slot_exists() {
    guarded("seed_after_slot", insert_before_the_slot).await;
}
