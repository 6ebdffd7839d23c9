//! The daemon killed and the server crashed again and again under random writers;
//! afterwards the targets are what plain SQL makes of the source.

mod support;
mod workload;

use std::time::Duration;

use crossfade::server::Mode;
use fastrand::Rng;
use support::{Daemon, World, until};
use workload::{Told, Workload, schema, seeds};

/// SIGKILLs of the daemon in one run.
const KILLS: u32 = 24;

struct Chaos {
    world: World,
    rng: Rng,
    daemon: Daemon,
    crashes: u32,
    stops: u32,
    /// Kills and crashes that came before the copy was complete.
    during_copy: u32,
}

impl Chaos {
    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        // The moment of the kill is the random input of this test.
        tokio::time::sleep(Duration::from_millis(self.rng.u64(milliseconds))).await;
    }

    /// Counts this kill or crash if the copy is not complete.
    async fn count_phase(&mut self) {
        // Before the first daemon's first second there is no state at all.
        let sql = "select phase = 'streaming' from crossfade.migration";
        let row = self.world.client.query_opt(sql, &[]).await;
        let complete = row.ok().flatten().is_some_and(|r| r.get(0));
        self.during_copy += u32::from(!complete);
    }

    async fn kill(&mut self) {
        self.pause(20..700).await;
        self.count_phase().await;
        assert!(self.daemon.is_running(), "{}", self.daemon.log());
        self.daemon.kill();
        self.daemon = self.world.daemon(&[]);
    }

    async fn terminate(&mut self) {
        self.ready().await;
        self.pause(0..200).await;
        assert_eq!(self.daemon.stop().await, 0, "{}", self.daemon.log());
        self.stops += 1;
        self.daemon = self.world.daemon(&[]);
    }

    /// The daemon owns the migration: from now on it waits for a lost server.
    async fn ready(&mut self) {
        let sql = format!(
            "select exists(select from crossfade.daemon where pid = {})",
            self.daemon.pid()
        );
        self.world
            .until("the daemon to own the migration", &sql)
            .await;
    }

    async fn crash_server(&mut self) {
        self.ready().await;
        self.pause(0..400).await;
        self.count_phase().await;
        let pid = self.daemon.pid();
        self.world.server.stop(Mode::Immediate).unwrap();
        self.pause(0..300).await;
        self.world.server.start_again().unwrap();
        self.world.client = self.world.open().await;
        self.crashes += 1;
        // The same process has to come back by itself.
        let sql = format!(
            "select exists(select from pg_stat_replication) and {pid} = {}",
            self.daemon.pid()
        );
        self.world.until("the stream to be back", &sql).await;
        assert!(self.daemon.is_running(), "{}", self.daemon.log());
    }
}

async fn one_run(seed: u64) {
    let _told = Told(seed);
    let world = World::new().await;
    // Slow enough for most of the kills to hit the copy.
    schema::install(&world, "batch_rows = 25\nworkers = 3\nsleep_ms = 120").await;
    let writers = Workload::start(&world, seed, 3);
    until("the first writes", async || writers.committed() > 20).await;
    let daemon = world.daemon(&[]);
    let mut chaos = Chaos {
        world,
        rng: Rng::with_seed(seed),
        daemon,
        crashes: 0,
        stops: 0,
        during_copy: 0,
    };
    for number in 0..KILLS {
        match number % 8 {
            3 | 6 => chaos.crash_server().await,
            5 => chaos.terminate().await,
            _ => {}
        }
        chaos.kill().await;
    }
    chaos
        .world
        .until(
            "the copy to be complete",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    chaos.kill().await;
    chaos.crash_server().await;
    let committed = writers.stop().await;
    if seed.is_multiple_of(2) {
        schema::correct(&chaos.world).await;
    }
    chaos.world.settled().await;
    schema::assert_equal(&chaos.world).await;
    assert_eq!(chaos.daemon.stop().await, 0);
    assert!(chaos.during_copy >= 5, "the copy was over too soon");
    println!(
        "seed {seed}: {} kills, {} server crashes, {} SIGTERMs, {} of the kills and crashes during the copy, {committed} transactions",
        KILLS + 1,
        chaos.crashes,
        chaos.stops,
        chaos.during_copy
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_kills_of_the_daemon_and_crashes_of_the_server() {
    for seed in seeds(1) {
        one_run(seed).await;
    }
}
