//! Transactions that show the commit time of another server.

use crate::stage::{self, copied, daemon};
use crate::support::{Point, split};

/// A subscription that catches up with its publisher writes such ones, and so does
/// crossfade itself.
#[tokio::test]
async fn a_transaction_with_an_origin_makes_no_lag_by_the_time_it_shows() {
    let world = stage::world().await;
    let write = Point::new(&world, "apply.before_write");
    let mut daemon = daemon(&world, &[&write], None);
    world
        .until(
            "the chunks to be there",
            "select to_regclass('crossfade.chunk_1') is not null",
        )
        .await;
    copied(&world).await;
    world
        .sql("select pg_replication_origin_create('elsewhere')")
        .await;
    world
        .sql(
            "select pg_replication_origin_session_setup('elsewhere');
             begin; update s.orders set status = 'late' where id = 7;
             select pg_replication_origin_xact_setup('0/1', now() - interval '1 hour'); commit;
             select pg_replication_origin_session_reset()",
        )
        .await;
    write.reached().await;
    let now = world.get("select clock_timestamp()").await;
    world
        .until(
            "the lag to be told",
            &format!(
                "select seen_at > '{now}'::timestamptz + interval '1 s' from crossfade.daemon"
            ),
        )
        .await;
    let lag: f64 = world
        .get("select lag_seconds from crossfade.daemon")
        .await
        .parse()
        .unwrap();
    assert!(lag < 600.0, "{lag}");
    write.release();
    world.settled().await;
    split::assert_equal(&world).await;
    let old =
        "select coalesce(commit_time < now() - interval '30 min', false) from crossfade.checkpoint";
    assert_eq!(world.get(old).await, "false");
    daemon.stop().await;
}
