//! Goal: an application that never stops can be switched to the new schema and back
//! again any number of times, and every write that it was told is committed is there
//! once, in whichever schema is in charge.
//!
//! `CROSSFADE_CYCLES` sets the number of cycles (a soak takes 100), `CROSSFADE_RATE` the
//! application's transactions a second.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossfade::demo::application::{Application, Layout, Settings, Tally};
use crossfade::demo::shop::{self, ModuleText, Size};
use crossfade::server::{Options, Server};
use serde_json::Value;
use tokio_postgres::Client;

const ORDERS: u64 = 4000;
const CLIENTS: u32 = 8;
const BOUND: Duration = Duration::from_secs(120);

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// A shop, a daemon and an application on it.
struct Stage {
    daemon: Child,
    /// Taken to be stopped.
    application: Option<Application>,
    client: Client,
    url: String,
    dir: PathBuf,
    /// Last: everything else uses it.
    _server: Server,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Stage {
    async fn open(module: ModuleText, layout: Layout, strategy: &str) -> Self {
        let server = Server::start(Options::default()).unwrap();
        let url = server.url("postgres");
        let mut client = shop::connect(&url).await.unwrap();
        shop::migrate(&mut client, &[shop::LEGACY]).await.unwrap();
        let size = Size {
            orders: ORDERS,
            sessions: 2,
        };
        shop::load(&url, size, &|_| ()).await.unwrap();
        let tables = match layout {
            Layout::Split => shop::NEW_ORDERS,
            Layout::InPlace => shop::LINES,
        };
        shop::migrate(&mut client, &[tables]).await.unwrap();
        let dir = server.dir().to_owned();
        shop::write_module(&dir, module).unwrap();
        std::fs::write(
            dir.join("crossfade.toml"),
            format!(
                "name = 'cycles'\ntransforms = ['transforms/{}']\n[source]\nurl = '{url}'\n[switch]\nstrategy = '{strategy}'\n",
                module.name
            ),
        )
        .unwrap();
        let application = Application::start(Settings {
            url: url.clone(),
            clients: CLIENTS,
            rate: f64::from(setting("CROSSFADE_RATE", 300)),
            orders: ORDERS,
            seed: 7,
            layout,
        })
        .unwrap();
        Self {
            daemon: spawn(&dir),
            application: Some(application),
            client,
            url,
            dir,
            _server: server,
        }
    }

    /// Runs a command to its end, off the runtime's threads.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = command(&self.dir, arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = serde_json::from_str(&text).unwrap_or_else(|_| {
            panic!(
                "{text}{}\n{}",
                String::from_utf8_lossy(&output.stderr),
                self.log()
            )
        });
        (output.status.code(), answer)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default()
    }

    fn tally(&self) -> &Tally {
        self.application.as_ref().unwrap().tally()
    }

    async fn until(&self, what: &str, sql: &str) {
        let deadline = Instant::now() + BOUND;
        loop {
            let met = match self.client.query_one(sql, &[]).await {
                Ok(row) => row.get::<_, Option<bool>>(0).unwrap_or(false),
                Err(_) => false,
            };
            if met {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "never came: {what}\n{}",
                self.log()
            );
            // Between two looks at the condition, which has its bound.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Until the slot of the other direction is there and everything written up to now
    /// is applied.
    async fn ready(&self) {
        self.until(
            "both slots",
            // Listed from when it is begun, and of use only from when it is consistent.
            "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null",
        )
        .await;
        self.caught_up().await;
    }

    async fn caught_up(&self) {
        let end: String = self
            .client
            .query_one("select pg_current_wal_insert_lsn()::text", &[])
            .await
            .unwrap()
            .get(0);
        self.until(
            "everything applied",
            &format!("select applied_lsn >= '{end}' from crossfade.checkpoint"),
        )
        .await;
    }
}

/// Starts the daemon; its log grows from one to the next.
fn spawn(dir: &std::path::Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("daemon.log"))
        .unwrap();
    command(dir, &["run"]).stderr(log).spawn().unwrap()
}

fn command(dir: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
    command
        .args(["--output", "json"])
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// A client that only reads, and how long each read took.
struct Reader {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
    /// The longest read since this was last asked, in microseconds.
    longest: Arc<AtomicU64>,
}

impl Reader {
    async fn start(url: &str) -> Self {
        let client = shop::connect(url).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let longest = Arc::new(AtomicU64::new(0));
        let worst = longest.clone();
        let task = tokio::spawn(async move {
            let mut took = Vec::new();
            let mut names = ["legacy.orders", "shop.orders"];
            let mut id = 0_i64;
            while !stopped.load(Ordering::Relaxed) {
                id = id % i64::try_from(ORDERS).unwrap() + 1;
                let started = Instant::now();
                // Moved: the same read from the other schema, once more.
                for _ in 0..2 {
                    let sql = format!("select status from {} where id = {id}", names[0]);
                    match client.simple_query(&sql).await {
                        Ok(_) => break,
                        Err(e) => {
                            assert_eq!(e.code().unwrap().code(), "42P01", "{e:?}");
                            names.swap(0, 1);
                        }
                    }
                }
                took.push(started.elapsed());
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap();
                worst.fetch_max(micros, Ordering::Relaxed);
                // A client's time to think, nothing that is waited for: without it the reads
                // themselves would be the load.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took
        });
        Self {
            stop,
            task,
            longest,
        }
    }

    fn take_longest(&self) -> Duration {
        Duration::from_micros(self.longest.swap(0, Ordering::Relaxed))
    }

    async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// p50, p99 and the largest, in milliseconds.
fn row(name: &str, values: &mut [Duration]) -> String {
    values.sort();
    let at = |p: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let i = ((values.len() as f64 * p).ceil() as usize).clamp(1, values.len()) - 1;
        millis(values[i])
    };
    format!(
        "{name:34} {:6} {:8.1} {:8.1} {:8.1}\n",
        values.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

/// Switches and switches back, then compares every ledger with the tables, and both
/// schemas with one another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notices {
    /// Clients are told that what they use has moved, and change their statements.
    Each,
    /// The old schema stays usable; nobody has to know.
    None,
}

async fn cycles(stage: Stage, count: u32, compare: &str, expect: Notices) {
    stage
        .until(
            "the copy to be complete",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    let (mut held, mut waits, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    let mut blocked = Vec::new();
    let mut steps: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    let reader = Reader::start(&stage.url).await;
    let begun = Instant::now();
    let before = stage.tally().counts().committed;
    for cycle in 1..=count {
        for direction in ["forward", "back"] {
            stage.ready().await;
            if cycle == 1 && direction == "forward" {
                let (code, answer) = stage.run(&["verify"]).await;
                assert_eq!(code, Some(0), "{answer}");
            }
            stage.tally().take_longest_of_each();
            reader.take_longest();
            let arguments: &[&str] = if direction == "back" {
                &["switch", "--back"]
            } else {
                &["switch"]
            };
            let (code, answer) = stage.run(arguments).await;
            assert_eq!(
                code,
                Some(0),
                "cycle {cycle} {direction}: {answer}\n{}",
                stage.log()
            );
            assert_eq!(answer["outcome"], "switched");
            held.push(Duration::from_secs_f64(
                answer["write_stall_ms"].as_f64().unwrap() / 1e3,
            ));
            // Everybody writes again, in the other schema.
            let committed = stage.tally().counts().committed;
            let deadline = Instant::now() + BOUND;
            while stage.tally().counts().committed < committed + 100 {
                assert!(Instant::now() < deadline, "the application stands still");
                // Between two looks at the condition, which has its bound.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            waits.extend(stage.tally().take_longest_of_each());
            blocked.push(reader.take_longest());
            for step in answer["steps"].as_array().unwrap() {
                let name = format!("{direction}: {}", step["step"].as_str().unwrap());
                let took = Duration::from_secs_f64(step["ms"].as_f64().unwrap() / 1e3);
                steps.entry(name).or_default().push(took);
            }
        }
    }
    let took = begun.elapsed();
    let committed = stage.tally().counts().committed - before;
    reads.extend(reader.stop().await);
    let retried = end(stage, compare, expect).await;
    let mut table = format!(
        "{count} cycles in {:.0} s, {committed} transactions ({:.0} a second), {} noticed a move\n{:34} {:>6} {:>8} {:>8} {:>8}\n",
        took.as_secs_f64(),
        committed as f64 / took.as_secs_f64(),
        retried,
        "milliseconds",
        "n",
        "p50",
        "p99",
        "max"
    );
    let _ = write!(table, "{}", row("locks held, a switch", &mut held));
    let _ = write!(
        table,
        "{}",
        row("longest transaction of each client", &mut waits)
    );
    let _ = write!(
        table,
        "{}",
        row("longest read of each switch", &mut blocked)
    );
    let _ = write!(table, "{}", row("reads, all of them", &mut reads));
    for (name, values) in &mut steps {
        let _ = write!(table, "{}", row(name, values));
    }
    println!("{table}");
}

/// Stops the application, compares every ledger with the tables of the schema in charge,
/// and both schemas with one another. Returns how often a client was told of a move.
async fn end(mut stage: Stage, compare: &str, expect: Notices) -> u64 {
    let application = stage.application.take().unwrap();
    let report = application.stop().await.unwrap();
    let findings = report.check().await.unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.counts.failed, 0);
    assert_eq!(
        (findings.lost, findings.doubled, findings.stale),
        (0, 0, 0),
        "{findings:?}\n{}",
        stage.log()
    );
    if expect == Notices::None {
        assert_eq!(report.counts.retried, 0, "somebody noticed");
    } else {
        assert!(report.counts.retried >= 1, "nobody was moved");
    }
    stage.caught_up().await;
    let differ: i64 = stage.client.query_one(compare, &[]).await.unwrap().get(0);
    assert_eq!(differ, 0, "rows differ between the schemas");
    // And by crossfade's own account.
    let (code, answer) = stage.run(&["verify"]).await;
    assert_eq!(code, Some(0), "{answer}");
    report.counts.retried
}

#[tokio::test(flavor = "multi_thread")]
async fn cycles_of_switch_and_switch_back_lose_and_double_nothing() {
    let stage = Stage::open(shop::SPLIT, Layout::Split, "rename").await;
    let compare = compare_split();
    cycles(
        stage,
        setting("CROSSFADE_CYCLES", 5),
        &compare,
        Notices::Each,
    )
    .await;
}

/// The same for a split in place: the application goes on updating other columns of the
/// table that stays, whoever is in charge of its items.
#[tokio::test(flavor = "multi_thread")]
async fn cycles_of_a_split_in_place_lose_and_double_nothing() {
    let stage = Stage::open(shop::SPLIT_IN_PLACE, Layout::InPlace, "columns").await;
    let items = include_str!("../transforms/split_orders_in_place/order_items.sql");
    let made = format!("with source as (table legacy.orders) select * from ({items}) q");
    let have = "select order_id, line_no, sku, qty, unit_cents, note from legacy.order_items";
    let compare = format!(
        "select (select count(*) from (({made}) except all ({have})) a)
              + (select count(*) from (({have}) except all ({made})) b)"
    );
    cycles(
        stage,
        setting("CROSSFADE_CYCLES", 5),
        &compare,
        Notices::Each,
    )
    .await;
}

/// Strategy `view`: an application written for the old schema goes on with it and never
/// sees an error, whichever schema is in charge.
#[tokio::test(flavor = "multi_thread")]
async fn cycles_behind_a_view_are_not_noticed_at_all() {
    let stage = Stage::open(shop::SPLIT, Layout::Split, "view").await;
    let compare = compare_split();
    cycles(
        stage,
        setting("CROSSFADE_CYCLES", 5),
        &compare,
        Notices::None,
    )
    .await;
}

/// Rows that differ between the old table and what is in the new ones.
fn compare_split() -> String {
    // Both ways round: what the module makes of the old table is in the new ones, and
    // what the reverse makes of these is in the old one.
    let made =
        |select: &str| format!("with source as (table legacy.orders) select * from ({select}) q");
    let mut parts = Vec::new();
    for (table, select) in shop::TARGETS {
        let made = made(select);
        let have = match table {
            "shop.orders" => "select id, customer_id, status, placed_at, shipped_at, currency, total_cents, note from shop.orders".to_owned(),
            _ => "select order_id, line_no, sku, qty, unit_cents, note from shop.order_items".to_owned(),
        };
        parts.push(format!(
            "(select count(*) from (({made}) except all ({have})) a)"
        ));
        parts.push(format!(
            "(select count(*) from (({have}) except all ({made})) b)"
        ));
    }
    format!("select {}", parts.join(" + "))
}

/// The daemon is killed at random moments, in either direction and around the switches.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_daemon_in_either_direction_lose_and_double_nothing() {
    let mut stage = Stage::open(shop::SPLIT, Layout::Split, "rename").await;
    let seed = std::env::var("CROSSFADE_SEED")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    stage
        .until(
            "the copy to be complete",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
    for (number, arguments) in [
        &["switch", "--unverified"][..],
        &["switch", "--back", "--unverified"],
        &["switch", "--unverified"],
        &["switch", "--back", "--unverified"],
    ]
    .into_iter()
    .enumerate()
    {
        for _ in 0..setting("CROSSFADE_KILLS", 3) {
            // A random moment is what this is about.
            tokio::time::sleep(Duration::from_millis(random.u64(20..900))).await;
            stage.daemon.kill().unwrap();
            stage.daemon.wait().unwrap();
            stage.daemon = spawn(&stage.dir);
        }
        stage.ready().await;
        let (code, answer) = stage.run(arguments).await;
        assert_eq!(code, Some(0), "switch {number}: {answer}\n{}", stage.log());
    }
    stage.ready().await;
    end(stage, &compare_split(), Notices::Each).await;
}
