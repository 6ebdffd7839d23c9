//! Looking at a daemon as an operator does.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::support::{self, BOUND, World, json};

pub fn status(world: &World) -> Value {
    json(&world.run(&["--output", "json", "status"]))
}

pub fn throttle(world: &World, pairs: &[&str]) {
    let output = world.run(&[&["throttle"], pairs].concat());
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
}

pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// As [`status`], or `null` as long as the daemon has not begun the migration.
fn status_if_begun(world: &World) -> Value {
    let output = world.run(&["--output", "json", "status"]);
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && error.contains("has not been started") {
        return Value::Null;
    }
    json(&output)
}

/// Waits until `status` is as wanted.
pub async fn until(world: &World, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let status = status_if_begun(world);
        if wanted(&status) {
            return status;
        }
        assert!(
            since.elapsed() < BOUND,
            "waited in vain for {what}: {status:#}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Rows of the small table that the daemon's commands are about.
pub async fn fill(world: &World, rows: u32) {
    support::split::install(world).await;
    world
        .sql(&format!(
            "insert into s.orders (status, items)
             select 'new', jsonb_build_array(jsonb_build_object('sku', 'S' || g, 'qty', g % 9))
             from generate_series(1, {rows}) g; analyze s.orders"
        ))
        .await;
}

pub async fn chunks(world: &World) -> i64 {
    let count = world
        .get("select count(*) from crossfade.chunk_1 where state = 'copied'")
        .await;
    count.parse().unwrap()
}

/// Waits until the daemon has told how it goes this many times more.
pub async fn told(world: &World, times: u32) {
    for _ in 0..times {
        let seen = world.get("select seen_at from crossfade.daemon").await;
        let sql = format!("select seen_at > '{seen}' from crossfade.daemon");
        world.until("the daemon to tell how it goes", &sql).await;
    }
}

/// Waits until the stream was begun anew and everything is copied again.
pub async fn recovered(world: &World) {
    world
        .until(
            "a recovery",
            "select recoveries > 0 and slot_lost is null and phase = 'streaming' from crossfade.migration",
        )
        .await;
    world.caught_up().await;
}
