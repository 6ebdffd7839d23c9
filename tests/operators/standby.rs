//! Two daemons on one migration.

use std::time::{Duration, Instant};

use super::support::pauses::Control;
use super::support::{World, split};
use super::watch::fill;

#[tokio::test]
async fn the_second_daemon_waits_and_takes_over_within_seconds_of_a_kill() {
    let world = World::new().await;
    fill(&world, 3000).await;
    world.config(
        &["split"],
        "[copy]\nbatch_rows = 10\nsleep_ms = 5\nworkers = 1",
    );
    let mut first = world.daemon(&[]);
    world
        .until(
            "the first daemon to copy",
            "select exists(select from crossfade.migration where phase = 'copying')",
        )
        .await;
    let mut second = world.daemon(&[]);
    super::support::until("the second daemon to wait", async || {
        second.log().contains("waiting as a standby")
    })
    .await;
    let control = Control::start(&world).await;
    first.kill();
    let since = Instant::now();
    let pid = second.pid();
    world
        .until(
            "the second daemon to take over",
            &format!("select pid = {pid} from crossfade.daemon"),
        )
        .await;
    // The seconds are crossfade's; what the machine takes beside them is not.
    let (took, machine) = (since.elapsed(), control.take());
    println!("taken over after {took:?}, {machine:?} of it the machine's at most");
    assert!(took < Duration::from_secs(5) + machine);
    world
        .sql("update s.orders set status = 'paid' where id % 3 = 0; delete from s.orders where id % 7 = 0")
        .await;
    world.settled().await;
    split::assert_equal(&world).await;
    assert!(second.is_running());
}

// Goal: who stands by for a migration that is given up has nothing to take over, and says so.
#[tokio::test]
async fn a_standby_ends_with_the_migration() {
    let world = World::new().await;
    fill(&world, 100).await;
    let mut first = world.daemon(&[]);
    world.settled().await;
    let mut second = world.daemon(&[]);
    super::support::until("the second daemon to wait", async || {
        second.log().contains("waiting as a standby")
    })
    .await;
    let output = world.run(&["abort"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(first.exit().await, 0);
    assert_eq!(second.exit().await, 0, "{}", second.log());
}
