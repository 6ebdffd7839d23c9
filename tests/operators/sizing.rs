//! Chunks whose size adapts to what they cost.

use super::support::{World, split};
use super::watch::fill;

/// Rows of the last chunk of a full size among those with keys in a range.
async fn settled(world: &World, keys: &str) -> i64 {
    let sql = format!(
        "select coalesce(max(c.rows), 0) from (
             select rows from crossfade.chunk_1 c
             where state = 'copied' and rows > 0
               and exists(select from s.orders o where o.id {keys} and o.id > c.lo_0 and o.id <= c.hi_0)
             order by id desc offset 1 limit 3) c"
    );
    world.get(&sql).await.parse().unwrap()
}

// Goal: where the size may adapt, wide rows make small chunks and narrow ones large chunks,
// between the bounds, and all of it arrives.
#[tokio::test]
async fn wide_rows_make_small_chunks_and_narrow_rows_large_ones() {
    let world = World::new().await;
    fill(&world, 30_000).await;
    // A fifth is wide: several times as many bytes in a chunk of the first size as it
    // may read. What the module reads counts, not what the table holds.
    world
        .sql(
            "update s.orders set items = jsonb_build_array(jsonb_build_object('sku',
                 (select string_agg(md5(random()::text), '') from generate_series(1, 60) x where o is not null)))
             from (select 1) o where id <= 6000; analyze s.orders",
        )
        .await;
    world.config(
        &["split"],
        "[copy]\nworkers = 1\nbatch_rows = 500\nbatch_rows_min = 20\nbatch_rows_max = 4000\nbatch_bytes = \"200KiB\"\nbatch_ms = 60000\n[throttle]\nmax_delay_ms = \"off\"",
    );
    let mut daemon = world.daemon(&[]);
    world.settled().await;
    let (wide, narrow) = (
        settled(&world, "between 4000 and 5000").await,
        settled(&world, "between 20000 and 29000").await,
    );
    println!("{wide} wide rows in a chunk, {narrow} narrow ones");
    assert!((50..200).contains(&wide), "{wide}");
    assert!(narrow > 800, "{narrow}");
    split::assert_equal(&world).await;
    assert_eq!(daemon.stop().await, 0);
}
