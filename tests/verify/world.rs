//! Tables that are hard to compare, the real daemon beside them, and the verifier as a
//! library and as a command.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::daemon::prepare;
use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Options as ServerOptions, Server};
use crossfade::state::{certificate, migration};
use crossfade::transform::Module;
use crossfade::verify::{self, Options, Progress, Report, Subject};
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

pub const BOUND: Duration = Duration::from_secs(120);

/// Names that need their quotes, types without equality, a child table, a lookup.
const DDL: &str = r#"
create schema "Old ""Shop""";
create table "Old ""Shop"""."Or ders" (
    "Id" int primary key, "gr""p" text, amount numeric(10,3), doc json, pos point,
    items jsonb not null);
alter table "Old ""Shop"""."Or ders" alter items set storage external;
create schema "New";
create table "New"."gro ups" ("na me" text primary key);
create table "New"."Ord""ers" (
    "Id" bigint primary key, "gr""p" text, amount numeric(12,2), doc json, pos point);
create table "New"."li nes" (
    "order Id" bigint not null, no int not null, sku text, primary key ("order Id", no));

create table public.prices (
    k numeric not null, region text collate "C" not null, cents text not null,
    primary key (k, region));
create table public.new_prices (
    k numeric not null, region text collate "C" not null, cents bigint not null,
    primary key (region, k));
"#;

const ORDERS: &[(&str, &str)] = &[
    (
        "transform.toml",
        r#"
source = '"Old ""Shop"""."Or ders"'
[[target]]
table = '"New"."gro ups"'
mode = "lookup"
key = ["na me"]
select = "groups.sql"
[[target]]
table = '"New"."Ord""ers"'
source_key = ["Id"]
select = "orders.sql"
[[target]]
table = '"New"."li nes"'
source_key = ["order Id"]
select = "lines.sql"
"#,
    ),
    (
        "groups.sql",
        r#"select o."gr""p" as "na me" from source o where o."gr""p" is not null"#,
    ),
    (
        "orders.sql",
        r#"select o."Id", o."gr""p", o.amount, o.doc, o.pos from source o"#,
    ),
    (
        "lines.sql",
        r#"select o."Id" as "order Id", i.no::int as no, i.item ->> 'sku' as sku
           from source o, jsonb_array_elements(o.items) with ordinality as i (item, no)"#,
    ),
];

const PRICES: &[(&str, &str)] = &[
    (
        "transform.toml",
        r#"
source = "prices"
[[target]]
table = "new_prices"
source_key = ["k", "region"]
select = "prices.sql"
"#,
    ),
    (
        "prices.sql",
        "select p.k, p.region, p.cents::bigint as cents from source p;",
    ),
];

/// Large enough that an UPDATE of another column does not send it.
pub const ITEMS: &str = "(select jsonb_agg(jsonb_build_object('sku', md5(random()::text) || repeat('x', 1500), 'n', j)) from generate_series(1, 2) j)";

pub struct World {
    pub server: Server,
    pub dir: PathBuf,
    pub daemon: Option<Child>,
}

impl World {
    /// Tables with `rows` rows each, and the daemon streaming.
    pub async fn new(rows: u32) -> Self {
        Self::configured(rows, "[verify]\ncontinuous = false\n").await
    }

    /// With more in the configuration.
    pub async fn configured(rows: u32, extra: &str) -> Self {
        let server = Server::start(ServerOptions::default()).unwrap();
        let dir = std::env::temp_dir().join(format!(
            "crossfade_verify_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        for (name, files) in [("orders", ORDERS), ("prices", PRICES)] {
            let folder = dir.join("transforms").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in files {
                std::fs::write(folder.join(file), text).unwrap();
            }
        }
        let config = format!(
            "name = \"v\"\ntransforms = [\"transforms/orders\", \"transforms/prices\"]\n[source]\nurl = \"{}\"\n[copy]\nbatch_rows = 10\n{extra}",
            server.url("postgres")
        );
        std::fs::write(dir.join("crossfade.toml"), config).unwrap();
        let world = Self {
            server,
            dir,
            daemon: None,
        };
        let client = world.client().await;
        client.batch_execute(DDL).await.unwrap();
        client
            .batch_execute(&format!(
                r#"insert into "Old ""Shop"""."Or ders"
                   select i, 'g' || i % 7, i * 1.5, '{{"a": 1,  "b":2}}', point(i, 1), {ITEMS}
                   from generate_series(1, {rows}) i;
                   insert into prices select i, 'r' || i % 3, i::text from generate_series(1, {rows}) i"#
            ))
            .await
            .unwrap();
        world
    }

    pub async fn streaming(rows: u32) -> Self {
        Self::new(rows).await.streams().await
    }

    /// Starts the daemon and waits for the copy to be complete.
    pub async fn streams(mut self) -> Self {
        self.start();
        let client = self.client().await;
        let since = Instant::now();
        loop {
            let phase = client
                .query_opt("select phase from crossfade.migration", &[])
                .await;
            if phase.is_ok_and(|p| p.is_some_and(|r| r.get::<_, &str>(0) == "streaming")) {
                return self;
            }
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && since.elapsed() < BOUND, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command
            .arg("--config")
            .arg(self.dir.join("crossfade.toml"))
            .env_remove("CROSSFADE_SOURCE_URL")
            .env_remove("CROSSFADE_TARGET_URL");
        command
    }

    pub fn start(&mut self) {
        let log = std::fs::File::create(self.dir.join("daemon.log")).unwrap();
        let child = self
            .command()
            .arg("run")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(child);
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub async fn client(&self) -> Client {
        client(&self.server.url("postgres")).await
    }

    /// Waits until `sql` gives true.
    pub async fn until(&self, what: &str, sql: &str) {
        let client = self.client().await;
        let since = Instant::now();
        while !client
            .query_one(sql, &[])
            .await
            .is_ok_and(|r| r.get::<_, Option<bool>>(0) == Some(true))
        {
            assert!(
                since.elapsed() < BOUND,
                "waited in vain for {what}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts `crossfade --output json` with these arguments and this environment.
    pub fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        self.command()
            .args(["--output", "json"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `crossfade status --output json`.
    pub fn status(&self) -> Value {
        let done = self.spawn(&["status"], &[]).wait_with_output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// `crossfade verify --output json`: exit code and result.
    pub fn verify(&self, arguments: &[&str]) -> (i32, Value) {
        let done = self
            .command()
            .args(["--output", "json", "verify"])
            .args(arguments)
            .output()
            .unwrap();
        let text = if done.stdout.is_empty() {
            String::from_utf8(done.stderr).unwrap()
        } else {
            String::from_utf8(done.stdout).unwrap()
        };
        let line = text.lines().last().unwrap_or_default();
        (
            done.status.code().unwrap(),
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {text}")),
        )
    }

    pub fn info(&self) -> ConnInfo {
        ConnInfo::parse(&self.server.url("postgres")).unwrap()
    }

    pub async fn subject(&self) -> Subject {
        let mut client = connect(&self.info(), "test").await.unwrap();
        let modules: Vec<Module> = ["orders", "prices"]
            .iter()
            .map(|name| Module::load(&self.dir.join("transforms").join(name)).unwrap())
            .collect();
        let row = migration::require(&client, "v").await.unwrap();
        let plans = prepare::bind_all(&mut client, row.id, &modules)
            .await
            .unwrap();
        Subject {
            migration: row.id,
            module_hash: crossfade::transform::module::hash_all(&modules),
            switches: row.switches,
            sources: verify::sources(&client, row.id, plans).await.unwrap(),
        }
    }

    pub async fn pass(&self, subject: &Subject) -> Report {
        self.try_pass(subject).await.unwrap()
    }

    pub async fn try_pass(&self, subject: &Subject) -> crossfade::error::Result<Report> {
        let (progress, _) = tokio::sync::watch::channel(Progress::default());
        verify::verify_all(&self.info(), subject, &options(), &progress).await
    }

    /// Waits until everything committed before is in the targets.
    pub async fn applied(&self) {
        let client = self.client().await;
        let id = migration::require(&client, "v").await.unwrap().id;
        let at = verify::applied::now(&client).await.unwrap();
        verify::applied::wait(&client, id, at.end).await.unwrap();
    }

    pub async fn has_certificate(&self) -> bool {
        let client = self.client().await;
        let id = migration::require(&client, "v").await.unwrap().id;
        certificate::read(&client, id).await.unwrap().is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn options() -> Options {
    Options {
        range_rows: 40,
        ..Options::default()
    }
}

/// A session whose writes pass the guards of the targets, to do harm there.
pub async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    execute(
        &client,
        "set crossfade.session = on; set session_replication_role = replica",
    )
    .await;
    client
}

pub async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap();
}
