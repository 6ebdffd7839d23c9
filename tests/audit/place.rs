//! A server with a database to be looked at.

use std::time::Duration;

use crossfade::audit::facts::Thresholds;
use crossfade::audit::{Audit, Options, inspect};
use crossfade::pg::ConnInfo;
use crossfade::server::{self, Server};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

pub struct Place {
    client: Client,
    pub runtime: Runtime,
    pub server: Server,
    pub database: String,
}

impl Place {
    pub fn open(database: &str) -> Self {
        let options = server::Options::default()
            .setting("shared_preload_libraries", "pg_stat_statements")
            .setting("autovacuum", "off");
        let server = Server::start(options).unwrap();
        let runtime = Runtime::new().unwrap();
        let admin = connect(&runtime, &server.url("postgres"));
        runtime
            .block_on(admin.batch_execute(&format!("create database {database}")))
            .unwrap();
        let client = connect(&runtime, &server.url(database));
        let place = Self {
            client,
            runtime,
            server,
            database: database.to_owned(),
        };
        place.sql("create extension pg_stat_statements");
        place
    }

    /// Runs a script with several statements.
    pub fn load(&self, script: &str) {
        self.sql(script);
    }

    #[track_caller]
    pub fn sql(&self, sql: &str) {
        if let Err(e) = self.runtime.block_on(self.client.batch_execute(sql)) {
            panic!("{e:?}\n{}", &sql[..sql.len().min(2000)]);
        }
    }

    /// Another session on the same database.
    pub fn another(&self) -> Session<'_> {
        Session {
            client: connect(&self.runtime, &self.server.url(&self.database)),
            runtime: &self.runtime,
        }
    }

    pub fn fails(&self, sql: &str) -> bool {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .is_err()
    }

    /// The only value, as text.
    pub fn get(&self, sql: &str) -> String {
        let sql = format!("select (select q from ({sql}) s(q))::text");
        let row = self
            .runtime
            .block_on(self.client.query_one(&sql, &[]))
            .unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// What this session did is counted.
    pub fn settle(&self) {
        self.sql("select pg_stat_force_next_flush()");
        self.sql("select 1");
    }

    pub fn url(&self, user: &str) -> String {
        let url = self.server.url(&self.database);
        url.replacen("//postgres@", &format!("//{user}@"), 1)
    }

    pub fn audit(&self) -> Audit {
        self.audit_as("postgres", &Options::default())
    }

    pub fn audit_as(&self, user: &str, options: &Options) -> Audit {
        let info = ConnInfo::parse(&self.url(user)).unwrap();
        self.runtime
            .block_on(inspect(&info, options, &mut |_| ()))
            .unwrap()
    }
}

pub struct Session<'a> {
    client: Client,
    runtime: &'a Runtime,
}

impl Session<'_> {
    pub fn sql(&self, sql: &str) {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .unwrap();
    }
}

fn connect(runtime: &Runtime, url: &str) -> Client {
    let (client, connection) = runtime
        .block_on(tokio_postgres::connect(url, NoTls))
        .unwrap();
    runtime.spawn(connection);
    client
}

/// Options under which an index counts as unused at once.
pub fn impatient() -> Options {
    Options {
        statement_timeout: Duration::from_secs(20),
        thresholds: Thresholds {
            unused_after_days: 0,
        },
        ..Options::default()
    }
}
