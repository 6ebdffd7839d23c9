//! What the integration tests share: a server with a database, the real daemon as a
//! child process, and a comparison by plain SQL that uses none of crossfade's code.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod pauses;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Options, Server};
use tokio_postgres::Client;

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(120);

/// A throwaway server, a client on it, and a folder for configuration and modules.
pub struct World {
    pub server: Server,
    pub dir: PathBuf,
    pub client: Client,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let server = Server::start(options).unwrap();
        let dir = std::env::temp_dir().join(format!(
            "crossfade_test_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir_all(&dir).unwrap();
        let client = open(&server).await;
        Self {
            server,
            dir,
            client,
        }
    }

    /// A new session as superuser.
    pub async fn open(&self) -> Client {
        open(&self.server).await
    }

    pub async fn sql(&self, sql: &str) {
        self.client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
    }

    /// The first column of the only row, as text.
    pub async fn get(&self, sql: &str) -> String {
        let sql = format!("select (q.*)::text from ({sql}) q(v)");
        let sql = sql.replacen("(q.*)::text", "q.v::text", 1);
        self.client
            .query_one(&sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"))
            .get::<_, Option<String>>(0)
            .unwrap_or_default()
    }

    /// Writes a module folder: `files` are name and text.
    pub fn module(&self, name: &str, files: &[(&str, &str)]) {
        let dir = self.dir.join("transforms").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            std::fs::write(dir.join(file), text).unwrap();
        }
    }

    /// Writes `crossfade.toml` for these modules; `extra` is appended. The daemon does
    /// not verify by itself unless `extra` has a section for that.
    pub fn config(&self, modules: &[&str], extra: &str) {
        let list: Vec<_> = modules
            .iter()
            .map(|m| format!("\"transforms/{m}\""))
            .collect();
        let verify = if extra.contains("[verify]") {
            ""
        } else {
            "[verify]\ncontinuous = false"
        };
        let text = format!(
            "name = \"test\"\ntransforms = [{}]\n[source]\nurl = \"{}\"\n{extra}\n{verify}\n",
            list.join(", "),
            self.server.url("postgres")
        );
        std::fs::write(self.dir.join("crossfade.toml"), text).unwrap();
    }

    /// A crossfade command in this world.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command
            .arg("--config")
            .arg(self.dir.join("crossfade.toml"))
            .args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `crossfade run`; `environment` arms failpoints.
    pub fn daemon(&self, environment: &[(&str, &str)]) -> Daemon {
        let log = self.dir.join("daemon.log");
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        let mut command = self.command(&["run"]);
        command
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(file);
        Daemon {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// Waits until `sql` gives `true`.
    pub async fn until(&self, what: &str, sql: &str) {
        until(what, async || {
            self.client
                .query_one(sql, &[])
                .await
                .is_ok_and(|r| r.get::<_, Option<bool>>(0) == Some(true))
        })
        .await;
    }

    /// Waits until every chunk is copied and everything written so far is applied.
    pub async fn settled(&self) {
        self.until(
            "phase streaming",
            "select phase = 'streaming' from crossfade.migration",
        )
        .await;
        self.caught_up().await;
    }

    /// Waits until everything written so far is applied and nothing waits for a
    /// retry.
    pub async fn caught_up(&self) {
        let end = self.get("select pg_current_wal_insert_lsn()").await;
        self.sql("select pg_logical_emit_message(true, 'crossfade', 'test')")
            .await;
        self.until(
            "the applier to catch up",
            &format!(
                "select applied_lsn >= '{end}'::pg_lsn
                   and not exists(select from crossfade.quarantine where reason <> 'bad' or retry)
                 from crossfade.checkpoint"
            ),
        )
        .await;
    }

    /// Rows of `select` that `table` lacks, and rows of `table` that it has beyond.
    pub async fn difference(&self, select: &str, table: &str) -> (i64, i64) {
        let sql = format!(
            "with wanted as materialized ({select}), is as materialized (select * from {table})
             select (select count(*) from (select to_jsonb(w)::text from wanted w
                                           except all select to_jsonb(i)::text from is i) a),
                    (select count(*) from (select to_jsonb(i)::text from is i
                                           except all select to_jsonb(w)::text from wanted w) b)"
        )
        .replace(" is as ", " present as ")
        .replace("from is i", "from present i");
        let row = self
            .client
            .query_one(&sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
        (row.get(0), row.get(1))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!(
                "--- daemon.log\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn open(server: &Server) -> Client {
    let info = ConnInfo::parse(&server.url("postgres")).unwrap();
    connect(&info, "test").await.unwrap()
}

/// Waits for a condition, no longer than [`BOUND`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !condition().await {
        assert!(since.elapsed() < BOUND, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    pub log: PathBuf,
}

impl Daemon {
    /// SIGKILL, and waits for the process to be gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; waits for the exit code.
    pub async fn stop(&mut self) -> i32 {
        self.terminate();
        self.exit().await
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    }

    /// Waits for the process to end by itself.
    pub async fn exit(&mut self) -> i32 {
        let mut code = None;
        until("the daemon to end", async || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.unwrap().code().unwrap_or(-1)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A failpoint's folder: the process stops at the point until `release`.
pub struct Point {
    dir: PathBuf,
    pub name: &'static str,
}

impl Point {
    pub fn new(world: &World, name: &'static str) -> Self {
        let dir = world.dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir, name }
    }

    /// For `CROSSFADE_FAILPOINTS`.
    pub fn spec(&self) -> String {
        format!("{}={}", self.name, self.dir.display())
    }

    pub async fn reached(&self) {
        until(self.name, async || self.dir.join("reached").exists()).await;
    }

    pub fn was_reached(&self) -> bool {
        self.dir.join("reached").exists()
    }

    pub fn release(&self) {
        std::fs::write(self.dir.join("go"), b"").unwrap();
    }

    /// Stops the process again, the next time it comes to the point. Only for a
    /// process that is known to have left it.
    pub fn arm(&self) {
        std::fs::remove_file(self.dir.join("go")).unwrap();
        std::fs::remove_file(self.dir.join("reached")).unwrap();
    }
}

/// The example module of a JSON split: `s.orders` → `t.orders`, `t.items`.
pub mod split {
    use super::World;

    pub const ORDERS: &str = "select o.id, o.status, o.at::timestamptz as at from source o";
    pub const ITEMS: &str = "select o.id as order_id, i.n::int as n, i.item ->> 'sku' as sku, (i.item ->> 'qty')::int as qty, i.item ->> 'note' as note\nfrom source o, jsonb_array_elements(o.items) with ordinality as i(item, n)";

    pub async fn install(world: &World) {
        world
            .sql(
                "create schema s; create schema t;
                 create table s.orders (id bigint generated by default as identity primary key,
                     status text not null default 'new', at text not null default '2024-01-01 00:00:00',
                     filler text, items jsonb not null default '[]');
                 create table t.orders (id bigint primary key, status text not null, at timestamptz not null);
                 create table t.items (order_id bigint not null, n int not null, sku text, qty int, note text,
                     primary key (order_id, n));",
            )
            .await;
        let toml = "source = 's.orders'\n[[target]]\ntable = 't.orders'\nsource_key = ['id']\nselect = 'orders.sql'\n[[target]]\ntable = 't.items'\nsource_key = ['order_id']\nselect = 'items.sql'\n";
        world.module(
            "split",
            &[
                ("transform.toml", toml),
                ("orders.sql", ORDERS),
                ("items.sql", ITEMS),
            ],
        );
        world.config(&["split"], "[copy]\nbatch_rows = 100");
    }

    /// Asserts that the targets are what plain SQL makes of `s.orders` (or of
    /// another table of its shape).
    pub async fn assert_equal(world: &World) {
        for (select, table) in [(ORDERS, "t.orders"), (ITEMS, "t.items")] {
            let select = select.replace("source o", "s.orders o");
            let (missing, extra) = world.difference(&select, table).await;
            assert_eq!(
                (missing, extra),
                (0, 0),
                "rows missing from and too many in {table}"
            );
        }
    }
}

/// Parses a command's JSON output.
pub fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim())
        .unwrap_or_else(|e| panic!("{e}: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
