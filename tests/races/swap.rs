//! Unique values that move between rows.

use crate::stage::{ONE_COPIER, daemon, lock_wait};
use crate::support::{Point, World, until};

/// 300 users whose e-mail address is unique in the target, in three chunks.
async fn world() -> World {
    with("unique").await
}

/// The same by another constraint of the address.
async fn with(constraint: &str) -> World {
    let world = World::new().await;
    world
        .sql(&format!(
            "create schema s; create schema t;
             create table s.users (id bigint primary key, email text not null);
             create table t.users (id bigint primary key, email text not null, {constraint} (email{}));
             insert into s.users select g, 'u' || g from generate_series(1, 300) g; analyze s.users",
            if constraint == "exclude" { " with =" } else { "" }
        ))
        .await;
    world.module(
        "users",
        &[
            (
                "transform.toml",
                "source = 's.users'\n[[target]]\ntable = 't.users'\nsource_key = ['id']\nselect = 'users.sql'\n",
            ),
            ("users.sql", "select u.id, u.email from source u"),
        ],
    );
    world.config(&["users"], ONE_COPIER);
    world
}

async fn assert_equal(world: &World) {
    let (missing, extra) = world
        .difference("select id, email from s.users", "t.users")
        .await;
    assert_eq!((missing, extra), (0, 0));
    let rows = "select count(*) from crossfade.quarantine";
    assert_eq!(world.get(rows).await, "0");
}

fn swap(a: u32, b: u32) -> String {
    format!(
        "begin; update s.users set email = 'free' where id = {a};
         update s.users set email = 'u{a}' where id = {b};
         update s.users set email = 'u{b}' where id = {a}; commit;"
    )
}

#[tokio::test]
async fn unique_values_swapped_in_one_transaction_or_passed_on_in_a_ring_are_kept() {
    swapped_and_passed_on("unique").await;
}

#[tokio::test]
async fn exclusive_values_swapped_in_one_transaction_or_passed_on_in_a_ring_are_kept() {
    swapped_and_passed_on("exclude").await;
}

async fn swapped_and_passed_on(constraint: &str) {
    let world = with(constraint).await;
    let _daemon = daemon(&world, &[], None);
    world.settled().await;
    world.sql(&swap(1, 2)).await;
    world
        .sql("update s.users set email = 'u' || (id % 100 + 201) where id > 200")
        .await;
    world.sql("begin; delete from s.users where id = 5; insert into s.users values (4005, 'u5'); commit").await;
    world.sql("begin; update s.users set id = 4006 where id = 6; insert into s.users values (6, 'u7'); delete from s.users where id = 7; commit").await;
    world.caught_up().await;
    assert_equal(&world).await;
}

/// One row is in the copied range when the swap comes and the other is not; the
/// other's chunk is then copied by a snapshot that the applier has not caught up with.
#[tokio::test]
async fn unique_values_swapped_across_the_fence_make_the_copier_wait_and_are_kept() {
    swapped_across_the_fence("unique", "duplicate key value").await;
}

#[tokio::test]
async fn exclusive_values_swapped_across_the_fence_make_the_copier_wait_and_are_kept() {
    swapped_across_the_fence("exclude", "conflicting key value").await;
}

async fn swapped_across_the_fence(constraint: &str, says: &str) {
    let world = with(constraint).await;
    let write = Point::new(&world, "apply.before_write");
    let claim = Point::new(&world, "copy.before_claim");
    let waits = Point::new(&world, "copy.waits_for_applier");
    let _daemon = daemon(&world, &[&claim, &write, &waits], None);
    claim.reached().await;
    // Above the highest key, so it counts as copied and is applied at once.
    world
        .sql("insert into s.users values (1000, 'u1000')")
        .await;
    write.reached().await;
    write.release();
    world.caught_up().await;
    write.arm();
    world.sql(&swap(150, 1000)).await;
    // The applier has decided: 1000 is written, 150 is left to its chunk.
    write.reached().await;
    claim.release();
    until("the copier's violation", async || {
        let log = std::fs::read_to_string(world.server.log_path()).unwrap_or_default();
        log.contains(&format!("crossfade copy 1 ERROR:  {says}"))
    })
    .await;
    // Not before the copier has seen that it is the applier's turn.
    waits.reached().await;
    write.release();
    waits.release();
    world.settled().await;
    assert_equal(&world).await;
}

/// The same the other way round: the applier holds a batch whose rows' addresses are
/// in the way of each other, each from another side of the fence.
#[tokio::test]
async fn unique_values_swapped_while_a_chunk_is_copied_are_kept() {
    let world = world().await;
    let commit = Point::new(&world, "copy.before_commit");
    let _daemon = daemon(&world, &[&commit], None);
    commit.reached().await;
    world
        .sql("insert into s.users values (1000, 'u1000'), (1001, 'u1001')")
        .await;
    // The claimed chunk holds 201 to 300, 150 is not copied yet, 1000 is.
    for (a, b) in [(150, 1000), (250, 1001), (250, 50), (10, 150)] {
        world
            .sql(&format!(
                "begin; create temp table e on commit drop as select id, email from s.users where id in ({a}, {b});
                 update s.users u set email = e.email from e where u.id in ({a}, {b}) and e.id = {a} + {b} - u.id; commit"
            ))
            .await;
    }
    lock_wait(
        &world,
        "the applier to wait for a claim",
        "locktype = 'advisory'",
    )
    .await;
    commit.release();
    world.settled().await;
    assert_equal(&world).await;
}
