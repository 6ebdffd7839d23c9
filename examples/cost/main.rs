//! `make cost`: what a running migration costs the application, beside what triggers
//! that did the same work would, and how far behind the new tables are.
//!
//! Arguments: `--orders N` (default 700000), `--seconds N` of each run (default 10),
//! `--rounds N` (default 3), `--rate N` transactions a second of the application
//! (default 400), `--sleep-ms N` of the copiers (default 0), `--only-lag 1`. The binary
//! under test is the one of the same build: `target/release/crossfade`.

mod application;
mod lag;
mod plain;
mod triggers;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::demo::shop;
use crossfade::error::{Error, Kind, Result};
use crossfade::server::{Options, Server};
use tokio_postgres::Client;

use application::Run;

#[tokio::main]
async fn main() -> Result<()> {
    let bench = Bench::start().await?;
    if argument("--only-lag", 0)? + argument("--only-paces", 0)? == 0 {
        bench.cost().await?;
        bench.stream().await?;
    }
    if argument("--only-paces", 0)? == 0 {
        for rate in [500, 2000] {
            bench.lag(rate).await?;
        }
    }
    bench.paces().await
}

/// Settings, from the defaults to the gentlest.
const PACES: [(&str, &str, &str); 7] = [
    ("defaults", "", ""),
    ("max_delay_ms = off", "", "max_delay_ms = \"off\""),
    ("max_delay_ms = 0.4", "", "max_delay_ms = 0.4"),
    (
        "workers = 1, max_delay_ms = off",
        "workers = 1",
        "max_delay_ms = \"off\"",
    ),
    (
        "workers = 1, batch_rows = 100, max_delay_ms = off",
        "workers = 1\nbatch_rows = 100",
        "max_delay_ms = \"off\"",
    ),
    (
        "workers = 1, batch_rows = 100, sleep_ms = 10, max_delay_ms = off",
        "workers = 1\nbatch_rows = 100\nsleep_ms = 10",
        "max_delay_ms = \"off\"",
    ),
    (
        "workers = 1, batch_rows = 50, sleep_ms = 5, max_delay_ms = off",
        "workers = 1\nbatch_rows = 50\nsleep_ms = 5",
        "max_delay_ms = \"off\"",
    ),
];

pub struct Bench {
    server: Server,
    client: Client,
    dir: PathBuf,
    /// The program of the same build as this one.
    binary: PathBuf,
    orders: u64,
    seconds: u64,
    rounds: u64,
    rate: u64,
    sleep_ms: u64,
}

/// A running daemon; told to stop when dropped.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

impl Bench {
    async fn start() -> Result<Self> {
        let options = Options {
            durable: true,
            ..Options::default()
        }
        .setting("shared_buffers", "1GB")
        .setting("max_wal_size", "8GB");
        let server = Server::start(options)?;
        let mut client = shop::connect(&server.url("postgres")).await?;
        shop::migrate(&mut client, &[shop::LEGACY, shop::NEW_ORDERS]).await?;
        let orders = argument("--orders", 700_000)?;
        let size = shop::Size {
            orders,
            sessions: 2,
        };
        shop::load(&server.url("postgres"), size, &|_| {}).await?;
        // What the server would do by itself for minutes after such a load.
        for rest in ["vacuum analyze", "checkpoint"] {
            client.batch_execute(rest).await?;
        }
        let dir = server.dir().join("cost");
        std::fs::create_dir_all(&dir)?;
        shop::write_module(&dir, shop::SPLIT)?;
        let example = std::env::current_exe()?;
        let binary = example
            .ancestors()
            .nth(2)
            .map(|build| build.join("crossfade"))
            .ok_or_else(|| Error::new(Kind::Io, "this program is in no build folder"))?;
        let bench = Self {
            client,
            dir,
            binary,
            orders,
            seconds: argument("--seconds", 10)?,
            rounds: argument("--rounds", 3)?,
            rate: argument("--rate", 400)?,
            sleep_ms: argument("--sleep-ms", 0)?,
            server,
        };
        println!("{}, {orders} orders", bench.server.version());
        bench.configure(&format!("sleep_ms = {}", bench.sleep_ms), "")?;
        Ok(bench)
    }

    /// The defaults, but for these lines of the sections on copy and throttle.
    fn configure(&self, copy: &str, throttle: &str) -> Result<()> {
        let text = format!(
            "name = \"cost\"\ntransforms = [\"transforms/split_orders\"]\n[source]\nurl = \"{}\"\n[copy]\n{copy}\n[throttle]\n{throttle}\n[verify]\ncontinuous = false\n",
            self.server.url("postgres"),
        );
        Ok(std::fs::write(self.dir.join("crossfade.toml"), text)?)
    }

    fn crossfade(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(self.dir.join("crossfade.toml"))
            .args(arguments)
            .env("CROSSFADE_LOG", "warn")
            .stdout(Stdio::null());
        command
    }

    /// Empty targets, no migration.
    async fn reset(&self) -> Result<()> {
        let begun: bool = self
            .client
            .query_one("select to_regclass('crossfade.migration') is not null", &[])
            .await?
            .get(0);
        if begun && self.has_migration().await? {
            let ended = self.crossfade(&["abort"]).status()?;
            if !ended.success() {
                return Err(Error::new(Kind::Io, format!("abort ended with {ended}")));
            }
        }
        self.client
            .batch_execute("truncate shop.orders, shop.order_items; checkpoint")
            .await?;
        Ok(())
    }

    /// A daemon that has begun to copy.
    async fn daemon(&self) -> Result<Daemon> {
        let daemon = Daemon(self.crossfade(&["run"]).spawn()?);
        self.until(
            "select exists(select from crossfade.migration where copy_started_at is not null)",
        )
        .await?;
        Ok(daemon)
    }

    /// What each pace costs, and what it gives: the application, the copy's speed and
    /// the lag, measured at the same time, in turns.
    async fn paces(&self) -> Result<()> {
        println!("paces, application at {} transactions a second", self.rate);
        let mut alone = Vec::new();
        let mut runs: [Vec<Run>; PACES.len()] = Default::default();
        let mut speeds: [Vec<f64>; PACES.len()] = Default::default();
        let mut lags: [Vec<f64>; PACES.len()] = Default::default();
        for _ in 0..self.rounds {
            self.reset().await?;
            alone.push(self.application(self.rate)?);
            for (at, (_, copy, throttle)) in PACES.iter().enumerate() {
                self.reset().await?;
                self.configure(copy, throttle)?;
                let daemon = self.daemon().await?;
                let (run, found) = tokio::join!(
                    async { tokio::task::block_in_place(|| self.application(self.rate)) },
                    self.probe(),
                );
                let (phase, speed) = (self.phase().await?, self.speed().await?);
                drop(daemon);
                runs[at].push(run?);
                speeds[at].push(speed);
                lags[at].extend(found?);
                if phase != "copying" {
                    println!("  (the copy of {} ended within the run)", PACES[at].0);
                }
            }
        }
        let alone = application::row("alone", &alone, None);
        for (at, (name, ..)) in PACES.iter().enumerate() {
            application::row(name, &runs[at], Some(alone));
            speeds[at].sort_by(f64::total_cmp);
            lags[at].sort_by(f64::total_cmp);
            println!(
                "    {:.0} rows copied a second, lag median {:.0} ms, 99 % {:.0} ms",
                percentile(&speeds[at], 50),
                percentile(&lags[at], 50),
                percentile(&lags[at], 99)
            );
        }
        Ok(())
    }

    async fn until(&self, sql: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let row = self.client.query_one(sql, &[]).await;
            if row.is_ok_and(|r| r.get::<_, Option<bool>>(0) == Some(true)) {
                return Ok(());
            }
            if since.elapsed() > Duration::from_secs(600) {
                return Err(Error::new(Kind::Io, format!("waited in vain for {sql}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn has_migration(&self) -> Result<bool> {
        let sql = "select exists(select from crossfade.migration)";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Rows a second since the copy began.
    async fn speed(&self) -> Result<f64> {
        let id: i32 = self
            .client
            .query_one("select max(id) from crossfade.source", &[])
            .await?
            .get(0);
        let sql = format!(
            "select (sum(rows) / extract(epoch from max(copied_at) -
                     (select copy_started_at from crossfade.migration)))::float8
             from crossfade.chunk_{id}"
        );
        Ok(self.client.query_one(&sql, &[]).await?.get(0))
    }

    async fn phase(&self) -> Result<String> {
        let sql = "select phase from crossfade.migration";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// The application alone, beside a copy, and with triggers, in turns.
    async fn cost(&self) -> Result<()> {
        println!(
            "application at {} transactions a second, runs of {} s",
            self.rate, self.seconds
        );
        let mut runs: [Vec<Run>; 4] = Default::default();
        for _ in 0..self.rounds {
            self.reset().await?;
            runs[0].push(self.application(self.rate)?);
            let daemon = self.daemon().await?;
            runs[1].push(self.application(self.rate)?);
            let copied = self.speed().await?;
            println!(
                "  (the migration was {} at the end, {copied:.0} rows copied a second)",
                self.phase().await?
            );
            drop(daemon);
            self.reset().await?;
            let plain = plain::Plain::start(&self.server.url("postgres"), copied).await?;
            runs[3].push(self.application(self.rate)?);
            let by_hand = plain.stop().await?;
            println!(
                "  (by hand {:.0} rows a second, of {copied:.0} wanted)",
                f64::from(u32::try_from(by_hand).unwrap_or(u32::MAX)) / seconds(self.seconds)
            );
            self.reset().await?;
            triggers::create(&self.client).await?;
            runs[2].push(self.application(self.rate)?);
            triggers::remove(&self.client).await?;
        }
        let alone = application::row("alone", &runs[0], None);
        application::row("beside a copy by crossfade", &runs[1], Some(alone));
        application::row("the same rows, as fast, by hand", &runs[3], Some(alone));
        application::row("with triggers, without any copy", &runs[2], Some(alone));
        Ok(())
    }

    /// The application alone and beside the stream once everything is copied, in turns:
    /// what is left when the copy costs nothing.
    async fn stream(&self) -> Result<()> {
        self.reset().await?;
        let copied = self.crossfade(&["run", "--until", "copied"]).status()?;
        if !copied.success() {
            return Err(Error::new(
                Kind::Io,
                format!("the copy ended with {copied}"),
            ));
        }
        self.client.batch_execute("checkpoint").await?;
        let mut runs: [Vec<Run>; 2] = Default::default();
        for _ in 0..self.rounds {
            runs[0].push(self.application(self.rate)?);
            // What came meanwhile is applied before the application goes on.
            let daemon = Daemon(self.crossfade(&["run"]).spawn()?);
            self.until(
                "select active and confirmed_flush_lsn >= pg_current_wal_lsn() - 65536
                 from pg_replication_slots where slot_name = 'crossfade_cost'",
            )
            .await?;
            runs[1].push(self.application(self.rate)?);
            drop(daemon);
        }
        let alone = application::row("alone, the copy complete", &runs[0], None);
        application::row("beside the stream", &runs[1], Some(alone));
        Ok(())
    }
}

fn seconds(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}

fn argument(name: &str, default: u64) -> Result<u64> {
    let mut arguments = std::env::args().skip_while(|a| a != name).skip(1);
    let Some(text) = arguments.next() else {
        return Ok(default);
    };
    text.parse()
        .map_err(|_| Error::new(Kind::Config, format!("{name} wants a number, not {text}")))
}

/// The value below which `percent` of a hundred are.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
