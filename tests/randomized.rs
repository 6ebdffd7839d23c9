//! Copy and stream at once under random writers, compared by plain SQL.
//!
//! `CROSSFADE_SEED=n` runs one seed again, `CROSSFADE_SEEDS=n` so many new ones. A
//! seed fixes what each writer does, not how the writers interleave.

mod support;
mod workload;

use std::time::{Duration, Instant};

use support::pauses::Control;
use support::{World, until};
use workload::{Told, Workload, schema, seeds};

async fn one_run(seed: u64) {
    let _told = Told(seed);
    let world = World::new().await;
    let mut rng = fastrand::Rng::with_seed(seed);
    let copy = format!(
        "batch_rows = {}\nworkers = {}\nsleep_ms = {}",
        rng.u8(25..51),
        rng.u8(2..4),
        rng.u8(5..25)
    );
    schema::install(&world, &copy).await;
    let writers = Workload::start(&world, seed, 4);
    until("the first writes", async || writers.committed() > 20).await;
    let before = writers.committed();
    let mut daemon = world.daemon(&[]);
    let since = Instant::now();
    world
        .until(
            "the copy to be complete",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    let (copied, during) = (since.elapsed(), writers.committed() - before);
    until("writes after the copy", async || {
        writers.committed() - before > during + 200
    })
    .await;
    let committed = writers.stop().await;
    // Every other run leaves its bad rows: then exactly they are in quarantine.
    if seed.is_multiple_of(2) {
        schema::correct(&world).await;
    }
    world.settled().await;
    schema::assert_equal(&world).await;
    assert_eq!(daemon.stop().await, 0);
    println!(
        "seed {seed}: {committed} transactions, {during} of them during the copy of {:.1} s",
        copied.as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_equal_the_source_after_any_mix_of_writes_during_the_copy() {
    for seed in seeds(6) {
        one_run(seed).await;
    }
}

/// A backfill at its very beginning does not keep new rows from the new schema.
#[tokio::test(flavor = "multi_thread")]
async fn new_rows_are_in_the_new_schema_within_a_second_while_the_copy_has_hardly_begun() {
    let world = World::new().await;
    schema::install(&world, "batch_rows = 20\nworkers = 2\nsleep_ms = 60000").await;
    let _daemon = world.daemon(&[]);
    world
        .until(
            "the stream to run",
            "select exists(select from pg_replication_slots where active)
                and (select phase = 'copying' from crossfade.migration)",
        )
        .await;
    let control = Control::start(&world).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        control.take();
        let id: i64 = world
            .client
            .query_one(
                "insert into s.orders (items) values ('[{\"sku\": \"new\", \"qty\": 1}]') returning id",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        let since = Instant::now();
        world
            .until(
                "the new row",
                &format!(
                    "select exists(select from t.orders where id = {id})
                        and exists(select from t.items where order_id = {id})"
                ),
            )
            .await;
        let took = since.elapsed();
        // The second is crossfade's; what the machine takes beside it is not.
        let machine = control.take();
        assert!(
            took < Duration::from_secs(1) + machine,
            "a new row took {took:?}, {machine:?} of it the machine's"
        );
        slowest = slowest.max(took);
    }
    let pending = world
        .get("select count(*) from crossfade.chunk_1 where state <> 'copied'")
        .await;
    assert!(pending.parse::<i64>().unwrap() > 0, "the copy was over");
    println!("slowest new row: {slowest:?}");
}
