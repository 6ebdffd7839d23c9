//! `make bench`: crossfade beside what PostgreSQL itself can do, on one server, in
//! one run, alternating, medians. Ratios are what counts: machines differ.
//!
//! Arguments: `--orders N` (default 300000), `--changes N` (default 50000),
//! `--rounds N` (default 3), `--only-verify 1` (one copy, then verification alone),
//! `--one-way 1` (the module has no way back, so that verification compares one way). The
//! binary under test is the one of the same build: `target/release/crossfade`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::demo::{baseline, shop};
use crossfade::error::{Context, Error, Kind, Result};
use crossfade::server::{Options, Server};
use tokio_postgres::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let bench = Bench::start().await?;
    if argument("--only-verify", 0)? > 0 {
        bench.copy(2).await?;
        return bench.verify().await;
    }
    println!("copy of {} orders into two tables, seconds", bench.orders);
    let mut insert = Vec::new();
    let mut copies = [Vec::new(), Vec::new()];
    for _ in 0..bench.rounds {
        insert.push(baseline::measure(&bench.client).await?.as_secs_f64());
        for (times, workers) in copies.iter_mut().zip([1, 2]) {
            times.push(bench.copy(workers).await?);
        }
    }
    let limit = row("one INSERT … SELECT per table", &insert, None);
    row(
        "crossfade, 1 worker, 1,000-row batches",
        &copies[0],
        Some(limit),
    );
    row(
        "crossfade, 2 workers, 1,000-row batches",
        &copies[1],
        Some(limit),
    );
    bench.verify().await?;
    for kind in [Changes::Status, Changes::Items] {
        bench.apply(kind).await?;
    }
    Ok(())
}

/// Which part of an order the changes touch.
#[derive(Clone, Copy)]
enum Changes {
    Status,
    Items,
}

impl Changes {
    fn describe(self) -> &'static str {
        match self {
            Self::Status => "updates of the status",
            Self::Items => "updates of the items (three rows each)",
        }
    }

    fn set(self) -> &'static str {
        match self {
            Self::Status => "status = case status when 'a' then 'b' else 'a' end",
            Self::Items => {
                "items = (select coalesce(jsonb_agg(e || jsonb_build_object('qty', (e ->> 'qty')::int % 9 + 1)), '[]')
                          from jsonb_array_elements(items) e)"
            }
        }
    }
}

/// The targets' own rows.
const SIDES: [&str; 2] = [
    "select * from shop.orders",
    "select * from shop.order_items",
];
/// The source's own rows, and those that the reverse rebuilds.
const BACK: [&str; 2] = [
    "select * from legacy.orders",
    "select * from crossfade.back_1",
];

/// Times by number of workers.
fn verify_times(times: &mut Vec<Vec<f64>>) -> impl Iterator<Item = (&mut Vec<f64>, &'static str)> {
    times.resize(2, Vec::new());
    times.iter_mut().zip(["1", "2"])
}

struct Bench {
    one_way: bool,
    server: Server,
    client: Client,
    dir: PathBuf,
    /// The program of the same build as this one.
    binary: PathBuf,
    orders: u64,
    changes: u64,
    rounds: u64,
}

impl Bench {
    async fn start() -> Result<Self> {
        let options = Options {
            durable: true,
            ..Options::default()
        }
        .setting("shared_buffers", "512MB")
        .setting("max_wal_size", "8GB")
        .setting("autovacuum", "off");
        let server = Server::start(options)?;
        let mut client = shop::connect(&server.url("postgres")).await?;
        shop::migrate(&mut client, &[shop::LEGACY, shop::NEW_ORDERS]).await?;
        let orders = argument("--orders", 300_000)?;
        let size = shop::Size {
            orders,
            sessions: 2,
        };
        shop::load(&server.url("postgres"), size, &|_| {}).await?;
        let dir = server.dir().join("bench");
        std::fs::create_dir_all(&dir)?;
        let folder = shop::write_module(&dir, shop::SPLIT)?;
        let one_way = argument("--one-way", 0)? > 0;
        if one_way {
            let path = folder.join("transform.toml");
            let text = std::fs::read_to_string(&path)?;
            let (forward, _) = text.split_once("[reverse]").unwrap_or((&text, ""));
            std::fs::write(&path, forward)?;
        }
        println!("{}, {orders} orders", server.version());
        let (changes, rounds) = (argument("--changes", 50_000)?, argument("--rounds", 3)?);
        let example = std::env::current_exe()?;
        let binary = example
            .ancestors()
            .nth(2)
            .map(|build| build.join("crossfade"))
            .ok_or_else(|| Error::new(Kind::Io, "this program is in no build folder"))?;
        Ok(Self {
            one_way,
            server,
            client,
            dir,
            binary,
            orders,
            changes,
            rounds,
        })
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

    fn expect(&self, arguments: &[&str]) -> Result<()> {
        let status = self.crossfade(arguments).status()?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Io,
            format!("crossfade {} ended with {status}", arguments.join(" ")),
        ))
    }

    fn configure(&self, workers: u32) -> Result<()> {
        let text = format!(
            "name = \"bench\"\ntransforms = [\"transforms/split_orders\"]\n[source]\nurl = \"{}\"\n[copy]\nworkers = {workers}\n[throttle]\nmax_lag_seconds = 3600.0\n[verify]\ncontinuous = false\n",
            self.server.url("postgres")
        );
        Ok(std::fs::write(self.dir.join("crossfade.toml"), text)?)
    }

    /// One whole run: slot, gate, chunks, statistics of the new tables, catching up.
    async fn copy(&self, workers: u32) -> Result<f64> {
        self.reset().await?;
        self.configure(workers)?;
        let begun = Instant::now();
        self.expect(&["run", "--until", "copied"])?;
        Ok(begun.elapsed().as_secs_f64())
    }

    async fn reset(&self) -> Result<()> {
        let begun: bool = self
            .client
            .query_one("select to_regclass('crossfade.migration') is not null", &[])
            .await?
            .get(0);
        if begun {
            self.expect(&["abort"])?;
        }
        self.client
            .batch_execute("truncate shop.orders, shop.order_items; checkpoint")
            .await?;
        Ok(())
    }

    /// Against plain scans that hash the same columns in the server, each side once,
    /// which no comparison can avoid; for the way back the source's rows and the
    /// rebuilt ones too.
    async fn verify(&self) -> Result<()> {
        println!("verify {} orders and their lines, seconds", self.orders);
        let (mut scans, mut all, mut verify) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let begun = Instant::now();
            self.scan(&SIDES.map(|s| s.to_owned())).await?;
            for module in ["orders.sql", "order_items.sql"] {
                let path = self.dir.join("transforms/split_orders").join(module);
                let select = std::fs::read_to_string(path)?;
                let select = select.replace("from source o", "from legacy.orders o");
                self.scan(&[select]).await?;
            }
            scans.push(begun.elapsed().as_secs_f64());
            if !self.one_way {
                self.scan(&BACK.map(|s| s.to_owned())).await?;
                all.push(begun.elapsed().as_secs_f64());
            }
            for (times, workers) in verify_times(&mut verify) {
                let begun = Instant::now();
                self.expect(&["verify", "--fresh", "--workers", workers])?;
                times.push(begun.elapsed().as_secs_f64());
            }
        }
        let plain = row("plain scans that hash, both sides", &scans, None);
        let (limit, what) = if self.one_way {
            (plain, "crossfade verify")
        } else {
            let limit = row("the same and the way back", &all, Some(plain));
            (limit, "crossfade verify, way back included")
        };
        for (times, workers) in verify_times(&mut verify) {
            row(&format!("{what}, {workers} workers"), times, Some(limit));
        }
        Ok(())
    }

    async fn scan(&self, selects: &[String]) -> Result<()> {
        for select in selects {
            let sql = format!(
                "select count(*), sum(hashtextextended(r, 0)), sum(hashtextextended(r, 1))
                 from (select q::text as r from ({select}) q offset 0) x"
            );
            self.client.query_one(&sql, &[]).await.context(select)?;
        }
        Ok(())
    }

    /// Drains the same single-row transactions with crossfade and with PostgreSQL's
    /// own subscription, which only copies rows.
    async fn apply(&self, kind: Changes) -> Result<()> {
        println!(
            "drain {} single-row transactions, {}, seconds",
            self.changes,
            kind.describe()
        );
        let (mut native, mut ours) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            // Both slots begin where the changes begin: what the copy wrote has been
            // decoded and the slot's restart position has moved past it.
            for _ in 0..2 {
                self.client.batch_execute("checkpoint").await?;
                self.expect(&["run", "--until", "copied"])?;
            }
            self.subscribe().await?;
            let sql = format!(
                "do $$ begin for i in 1..{} loop
                     update legacy.orders set {} where id = 1 + (i::bigint * 7919) % {}; commit;
                 end loop; end $$",
                self.changes,
                kind.set(),
                self.orders
            );
            self.client
                .batch_execute("set synchronous_commit = off")
                .await?;
            self.client.batch_execute(&sql).await?;
            self.client
                .batch_execute("set synchronous_commit = on")
                .await?;
            // The last of the changes; who shows it has drained.
            let last = format!("{round}{}", kind.describe());
            self.client
                .execute("update legacy.orders set note = $1 where id = 1", &[&last])
                .await?;
            native.push(self.native(&last).await?);
            ours.push(self.drain(&last).await?);
        }
        let limit = row(
            "PostgreSQL's subscription, one copy of the row",
            &native,
            None,
        );
        row("crossfade, transformed into two tables", &ours, Some(limit));
        Ok(())
    }

    /// A replica in another database of the same server, its slot made before the
    /// changes.
    async fn subscribe(&self) -> Result<()> {
        let exists: bool = self
            .client
            .query_one(
                "select exists(select from pg_database where datname = 'replica')",
                &[],
            )
            .await?
            .get(0);
        if !exists {
            self.client.batch_execute("create database replica").await?;
            let replica = shop::connect(&self.server.url("replica")).await?;
            replica.batch_execute(shop::LEGACY.up).await?;
            self.client
                .batch_execute("create publication native for table legacy.orders")
                .await?;
            // The same rows, so that every update finds its own.
            replica.batch_execute("insert into legacy.orders (id, customer_id, status, created_at, total_cents, items) select g, 1, 'a', 1, 1, '[]' from generate_series(1, 1) g").await?;
            let copied = format!(
                "insert into legacy.orders (id, customer_id, status, created_at, total_cents, items)
                 select g, 1, 'a', 1, 1, '[]' from generate_series(2, {}) g; analyze",
                self.orders
            );
            replica.batch_execute(&copied).await?;
        }
        self.client
            .batch_execute("select pg_create_logical_replication_slot('native', 'pgoutput')")
            .await?;
        Ok(())
    }

    async fn native(&self, last: &str) -> Result<f64> {
        let replica = shop::connect(&self.server.url("replica")).await?;
        let begun = Instant::now();
        replica
            .batch_execute(&format!(
                "create subscription native connection '{}' publication native
                 with (create_slot = false, slot_name = 'native', copy_data = false)",
                self.server.url("postgres")
            ))
            .await?;
        until(&replica, "legacy.orders", last).await?;
        let took = begun.elapsed().as_secs_f64();
        replica.batch_execute("drop subscription native").await?;
        Ok(took)
    }

    async fn drain(&self, last: &str) -> Result<f64> {
        let begun = Instant::now();
        let mut daemon = self.crossfade(&["run"]).spawn()?;
        let done = until(&self.client, "shop.orders", last).await;
        let took = begun.elapsed().as_secs_f64();
        stop(&mut daemon)?;
        done?;
        Ok(took)
    }
}

/// Waits until `table` shows the last change.
async fn until(client: &Client, table: &str, last: &str) -> Result<()> {
    let since = Instant::now();
    let sql = format!("select note is not distinct from $1 from {table} where id = 1");
    while !client
        .query_one(&sql, &[&last])
        .await
        .context(&sql)?
        .get::<_, bool>(0)
    {
        if since.elapsed() > Duration::from_secs(600) {
            return Err(Error::new(Kind::Io, format!("waited in vain for {table}")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn stop(daemon: &mut Child) -> Result<()> {
    Command::new("kill")
        .args(["-TERM", &daemon.id().to_string()])
        .status()?;
    daemon.wait()?;
    Ok(())
}

fn argument(name: &str, default: u64) -> Result<u64> {
    let mut arguments = std::env::args().skip_while(|a| a != name).skip(1);
    let Some(text) = arguments.next() else {
        return Ok(default);
    };
    text.parse()
        .map_err(|_| Error::new(Kind::Config, format!("{name} wants a number, not {text}")))
}

/// Prints a row with its median, extremes and ratio to `limit`; returns the median.
fn row(what: &str, times: &[f64], limit: Option<f64>) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let ratio = limit.map_or(String::new(), |l| format!("  {:.2} ×", median / l));
    println!(
        "  {what:46} median {median:7.2}  ({:.2} to {:.2}){ratio}",
        sorted[0],
        sorted[sorted.len() - 1]
    );
    median
}
