//! A real Prometheus scrapes a real daemon through a whole run, and every expression of
//! every dashboard and alert returns data when what it is about happens.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{encode, free_port, get};
use super::support::{self, World, split};
use super::watch::{self, fill, told};

const DASHBOARDS: [&str; 4] = [
    "overview",
    "copy_and_stream",
    "verification_and_switch",
    "database_safety",
];

/// A started Prometheus; ended when dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

fn program(name: &str) -> Command {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "{name} is not installed: scripts/install-prometheus installs it"
    );
    Command::new(name)
}

impl Prometheus {
    async fn start(world: &World, target: u16) -> Self {
        let rules = support::root().join("dashboards/alerts.yml");
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}\"]\nscrape_configs:\n  - job_name: crossfade\n    static_configs:\n      - targets: [\"127.0.0.1:{target}\"]\n",
            rules.display()
        );
        let file = world.dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let child = program("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                world.dir.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, port };
        support::until("Prometheus to be ready", async || {
            get(port, "/-/ready").is_ok_and(|a| a.status == 200)
        })
        .await;
        started
    }

    /// The samples of an instant query that are numbers.
    fn query(&self, expression: &str) -> Vec<f64> {
        let path = format!("/api/v1/query?query={}", encode(expression));
        let answer = get(self.port, &path).unwrap();
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["status"], "success", "{expression}: {}", answer.body);
        let result = json["data"]["result"].as_array().unwrap();
        let values = result.iter().filter_map(|r| r["value"][1].as_str());
        values
            .map(|v| v.parse().unwrap())
            .filter(|v: &f64| !v.is_nan())
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every expression, and what it returned when it first returned something.
struct Expressions {
    prometheus: Prometheus,
    all: Vec<(String, String)>,
    seen: BTreeMap<usize, Vec<f64>>,
}

impl Expressions {
    fn new(prometheus: Prometheus) -> Self {
        let mut all = Vec::new();
        for name in DASHBOARDS {
            let file = support::root().join(format!("dashboards/{name}.json"));
            let json: Value =
                serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            for panel in json["panels"].as_array().unwrap() {
                for target in panel["targets"].as_array().unwrap() {
                    let expression = target["expr"].as_str().unwrap();
                    all.push((
                        format!("{name}: {}", panel["title"].as_str().unwrap()),
                        expression
                            .replace("$__rate_interval", "10s")
                            .replace("$migration", "test")
                            .replace("$instance", ".*"),
                    ));
                }
            }
        }
        let rules = std::fs::read_to_string(support::root().join("dashboards/alerts.yml")).unwrap();
        for rule in rules.split("- alert: ").skip(1) {
            let expression = rule.lines().find_map(|l| l.trim().strip_prefix("expr: "));
            let name = rule.lines().next().unwrap();
            all.push((format!("alert {name}"), expression.unwrap().to_owned()));
        }
        Self {
            prometheus,
            all,
            seen: BTreeMap::new(),
        }
    }

    /// Asks for everything that has not returned data yet.
    fn ask(&mut self) {
        for (at, (_, expression)) in self.all.iter().enumerate() {
            if !self.seen.contains_key(&at) {
                let values = self.prometheus.query(expression);
                if !values.is_empty() {
                    self.seen.insert(at, values);
                }
            }
        }
    }

    fn missing(&self, of: &[&str]) -> Vec<&(String, String)> {
        let unseen = self
            .all
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.seen.contains_key(at));
        unseen
            .map(|(_, e)| e)
            .filter(|(name, expression)| {
                of.iter()
                    .any(|o| name.contains(o) || expression.contains(o))
            })
            .collect()
    }

    /// Waits until all that name one of these have returned data.
    async fn until(&mut self, of: &[&str]) {
        let since = Instant::now();
        loop {
            self.ask();
            let missing = self.missing(of);
            if missing.is_empty() {
                return;
            }
            assert!(since.elapsed() < support::BOUND, "no data for {missing:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn table(&self) {
        println!(
            "{:<58} {:>7}  {:>14}  expression",
            "panel or alert", "series", "first value"
        );
        for (at, (name, expression)) in self.all.iter().enumerate() {
            let seen = self.seen.get(&at);
            let count = seen.map_or(0, Vec::len);
            let first = seen.map_or_else(String::new, |v| format!("{:.4}", v[0]));
            println!("{name:<58} {count:>7}  {first:>14}  {expression}");
        }
    }
}

/// A migration that lost its slot, so that its next daemon has something of everything
/// to compare: chunks that are equal, that differ, and that are gone.
async fn prepare(world: &World) {
    fill(world, 6000).await;
    assert!(world.run(&["run", "--until", "copied"]).status.success());
    world
        .sql("select pg_drop_replication_slot('crossfade_test')")
        .await;
    world
        .sql(
            "alter table s.orders alter status set storage external;
             insert into s.orders (status) values (repeat('large', 2000));
             update s.orders set status = 'lost' where id between 500 and 600;
             set crossfade.session = 'on'; delete from t.items where order_id <= 100;
             delete from t.orders where id <= 100; reset crossfade.session",
        )
        .await;
}

async fn write_log(world: &World, mebibytes: u32) {
    for _ in 0..mebibytes {
        world
            .sql("select pg_logical_emit_message(false, 'test', repeat('x', 1048576))")
            .await;
    }
}

#[tokio::test]
async fn every_panel_and_every_alert_has_data_when_what_it_is_about_happens() {
    let mut world = World::new().await;
    prepare(&world).await;
    let port = free_port();
    world.config(
        &["split"],
        &format!(
            "[copy]\nbatch_rows = 100\nworkers = 1\nsleep_ms = 2000\n[slot]\ngive_up_wal = \"96MiB\"\nheartbeat_seconds = 1\n[throttle]\nmax_commit_latency_ms = 5000\nmax_active_sessions = 100\n[verify]\ncontinuous = true\n[metrics]\nlisten = \"127.0.0.1:{port}\""
        ),
    );
    let prometheus = Prometheus::start(&world, port).await;
    let mut wanted = Expressions::new(prometheus);
    let mut daemon = world.daemon(&[]);

    // Copying, then held by two signals at once.
    wanted
        .until(&["Copied", "Copy complete in", "Time for a chunk", "Chunks"])
        .await;
    watch::throttle(&world, &["max_retained_wal=1"]);
    assert!(world.run(&["pause"]).status.success());
    wanted
        .until(&["CrossfadeCopyHeld", "CrossfadeRetainedWal", "What holds"])
        .await;
    // All has been seen that is to be seen while it copies.
    watch::throttle(&world, &["--reset"]);
    watch::throttle(&world, &["sleep_ms=0"]);
    assert!(world.run(&["resume"]).status.success());
    watch::recovered(&world).await;

    // Streaming and verifying; a row that the targets refuse, one that must be read again.
    world
        .sql(
            "update s.orders set at = '2025-01-01 00:00:00' where status like 'large%';
             update s.orders set at = 'no date' where id = 7;
             update s.orders set items = '[]' where id % 50 = 0",
        )
        .await;
    world.caught_up().await;
    wanted
        .until(&[
            "crossfade_apply_",
            "CrossfadeQuarantine",
            "Certificate's age",
            "Verified a second",
        ])
        .await;

    // A stream that stands still while log is written.
    let lock = world.open().await;
    lock.batch_execute("begin; select from t.orders where id = 1 for update")
        .await
        .unwrap();
    world
        .sql("update s.orders set status = 'late' where id = 1")
        .await;
    write_log(&world, 52).await;
    wanted
        .until(&["CrossfadeSlotGrows", "CrossfadeSlotForecast"])
        .await;
    write_log(&world, 24).await;
    wanted
        .until(&[
            "CrossfadeSlotNearLimit",
            "Limit reached in",
            "CrossfadeLagGrows",
        ])
        .await;
    lock.batch_execute("rollback").await.unwrap();
    world.caught_up().await;

    // The database goes away for a while.
    world
        .server
        .stop(crossfade::server::Mode::Immediate)
        .unwrap();
    wanted.until(&["CrossfadeNobodyOwns"]).await;
    world.server.start_again().unwrap();
    support::until("the database to be back", async || {
        world.client = match crossfade::pg::connect(
            &crossfade::pg::ConnInfo::parse(&world.server.url("postgres")).unwrap(),
            "test",
        )
        .await
        {
            Ok(client) => client,
            Err(_) => return false,
        };
        true
    })
    .await;
    // An unsteady network, as far as the stream can tell: another session each time, since
    // one that was ended is listed until it has.
    let mut ended = "0".to_owned();
    for _ in 0..5 {
        let streams =
            format!("from pg_stat_replication where state = 'streaming' and pid <> {ended}");
        world
            .until("the stream", &format!("select exists(select {streams})"))
            .await;
        ended = world.get(&format!("select max(pid) {streams}")).await;
        world
            .sql(&format!("select pg_terminate_backend({ended})"))
            .await;
    }
    wanted
        .until(&["CrossfadeErrors", "crossfade_retries_total"])
        .await;

    // Somebody has tampered with a target, and long ago it was last found right.
    world
        .sql(
            "set crossfade.session = 'on'; update t.orders set status = 'forged' where id = 9;
             reset crossfade.session;
             update crossfade.verified set clean_at = clock_timestamp() - interval '3 days'",
        )
        .await;
    let found = world.run(&["verify"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    wanted
        .until(&["CrossfadeDifferences", "CrossfadeVerificationOld"])
        .await;
    told(&world, 1).await;
    world
        .sql("set crossfade.session = 'on'; update t.orders set status = 'new' where id = 9; reset crossfade.session;
              update s.orders set at = '2025-01-01 00:00:00' where id = 7")
        .await;
    world.caught_up().await;
    split::assert_equal(&world).await;

    assert_eq!(daemon.stop().await, 0);
    wanted.until(&["CrossfadeDaemonGone"]).await;
    wanted.until(&[""]).await;
    wanted.table();
}

#[test]
fn the_alerts_fire_when_they_should_and_not_before() {
    let output = program("promtool")
        .args(["test", "rules", "dashboards/alerts_test.yml"])
        .current_dir(support::root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
