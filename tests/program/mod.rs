//! A database with an old and a new schema, a folder with a module, and the real
//! program run over them.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::server::{Auth, Options, Server};
use tokio_postgres::NoTls;

/// The superuser's and every test role's password: never to be printed.
pub const SECRET: &str = "hunter2-s3cret";

/// No run of the program here takes longer: the longest, a whole plan's migrations, takes
/// half a minute on a busy machine.
const BOUND: Duration = Duration::from_secs(300);

pub const TABLES: &str = "
create schema legacy;
create schema shop;
create table legacy.orders (
    id int primary key, customer text not null, items jsonb not null default '[]', note text);
create table shop.orders (id bigint primary key, customer text not null);
create table shop.order_items (
    order_id bigint not null, line_no int not null, sku text not null, qty int not null,
    primary key (order_id, line_no));
insert into legacy.orders (id, customer, items)
values (1, 'Ada', '[{\"sku\": \"pen\", \"qty\": \"2\"}, {\"sku\": \"ink\", \"qty\": \"1\"}]'),
       (2, 'Bob', '[]');
";

pub const TRANSFORM: &str = "
source = 'legacy.orders'
[[target]]
table = 'shop.orders'
source_key = ['id']
select = 'orders.sql'
[[target]]
table = 'shop.order_items'
source_key = ['order_id']
select = 'order_items.sql'
";

pub const ORDERS: &str = "select o.id, o.customer from source o";

pub const ITEMS: &str = "
select o.id as order_id, i.line_no, i.item ->> 'sku' as sku, (i.item ->> 'qty')::int as qty
from source o, jsonb_array_elements(o.items) with ordinality as i(item, line_no)";

pub struct Shop {
    /// Ended before the server is.
    admin: Held,
    pub server: Server,
    pub dir: PathBuf,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl Shop {
    /// A server with the database `shop`, the tables and the module, all in order.
    pub fn open() -> Self {
        Self::open_with(Options::default())
    }

    pub fn open_with(options: Options) -> Self {
        let shop = Self::bare(options);
        shop.sql(TABLES);
        shop.module("transforms/split", TRANSFORM, &[]);
        shop.write("transforms/split/orders.sql", ORDERS);
        shop.write("transforms/split/order_items.sql", ITEMS);
        shop.config(&shop.url("postgres", SECRET), &["transforms/split"]);
        shop
    }

    /// A server with an empty database `shop`, and an empty folder.
    pub fn bare(options: Options) -> Self {
        let auth = Auth::Scram {
            password: SECRET.to_owned(),
        };
        let server = Server::start(Options { auth, ..options }).unwrap();
        execute(&server.url("postgres"), "create database shop");
        let dir = server.dir().join("program");
        std::fs::create_dir_all(&dir).unwrap();
        let admin = Held::open(&server.url("shop"));
        Self { admin, server, dir }
    }

    pub fn url(&self, user: &str, password: &str) -> String {
        let port = self.server.port();
        format!("postgres://{user}:{password}@127.0.0.1:{port}/shop")
    }

    pub fn config(&self, url: &str, transforms: &[&str]) {
        let text =
            format!("name = 'split'\ntransforms = {transforms:?}\n[source]\nurl = '{url}'\n");
        self.write("crossfade.toml", &text);
    }

    pub fn module(&self, dir: &str, toml: &str, selects: &[(&str, &str)]) {
        self.write(&format!("{dir}/transform.toml"), toml);
        for (name, text) in selects {
            self.write(&format!("{dir}/{name}"), text);
        }
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn sql(&self, sql: &str) {
        self.admin.sql(sql);
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.value("select (current_setting('server_version_num')::int / 10000)::text")
            .parse()
            .unwrap()
    }

    pub fn value(&self, sql: &str) -> String {
        self.texts(&format!("select array[({sql})]")).remove(0)
    }

    /// The texts of an array; NULL as nothing.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let row = self
            .admin
            .runtime
            .block_on(self.admin.client.query_one(sql, &[]));
        let row = row.unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
        let texts: Vec<Option<String>> = row.get(0);
        texts.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Waits for a condition, an SQL expression, to hold.
    pub fn wait(&self, condition: &str) {
        let deadline = Instant::now() + BOUND;
        while self.value(&format!("select ({condition})::text")) != "true" {
            assert!(Instant::now() < deadline, "never true: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every object, setting and slot, as one text.
    pub fn snapshot(&self) -> String {
        let parts: Vec<_> = [
            "select oid, nspname, nspacl from pg_namespace",
            "select oid, relname, relnamespace, relkind, relacl, reloptions from pg_class",
            "select oid, pubname from pg_publication",
            "select slot_name, plugin from pg_replication_slots",
            "select oid, typname from pg_type",
            "select oid, proname from pg_proc",
            "select oid, conname from pg_constraint",
            "select oid, tgname, tgenabled from pg_trigger",
            "select attrelid, attname, atttypid, attnotnull from pg_attribute",
            "select setdatabase, setrole, setconfig from pg_db_role_setting",
            "select oid, datname from pg_database",
            "select id from legacy.orders",
            "select id from shop.orders",
        ]
        .iter()
        .map(|sql| format!("(select string_agg(x::text, E'\\n' order by x::text) from ({sql}) x)"))
        .collect();
        self.value(&format!(
            "select concat_ws(E'\\n\\n', {})",
            parts.join(", ")
        ))
    }

    pub fn crossfade(&self, args: &[&str]) -> Ran {
        finish(self.spawn(args))
    }

    /// Starts the program; its output is read by [`finish`].
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("CROSSFADE_") {
                command.env_remove(&*name);
            }
        }
        command.env("HOME", &self.dir).spawn().unwrap()
    }
}

/// Waits for the program, and kills it after the bound.
pub fn finish(mut child: Child) -> Ran {
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let readers = (
        std::thread::spawn(move || read(&mut pipes.0)),
        std::thread::spawn(move || read(&mut pipes.1)),
    );
    let deadline = Instant::now() + BOUND;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let ran = Ran {
        code: status.and_then(|s| s.code()),
        out: readers.0.join().unwrap(),
        err: readers.1.join().unwrap(),
    };
    assert!(status.is_some(), "did not end in {BOUND:?}: {ran:?}");
    assert!(
        !ran.all().contains(SECRET),
        "a password was printed: {ran:?}"
    );
    ran
}

fn read(pipe: &mut impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

pub fn execute(url: &str, sql: &str) {
    let done = block_on(async { connect(url).await.batch_execute(sql).await });
    done.unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
}

/// A session that stays open on a runtime of its own.
pub struct Held {
    pub runtime: tokio::runtime::Runtime,
    pub client: tokio_postgres::Client,
}

impl Held {
    pub fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(connect(url));
        Self { runtime, client }
    }

    pub fn sql(&self, sql: &str) {
        let done = self.runtime.block_on(self.client.batch_execute(sql));
        done.unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
