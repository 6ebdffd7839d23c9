//! A shop between two schemas, switched by hand, and what is asked of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossfade::config::Config;
use crossfade::cutover::gates::Check;
use crossfade::cutover::strategy::{self, Lock};
use crossfade::cutover::{Direction, sequences};
use crossfade::demo::application::{Application, Counts, Layout, Report, Settings};
use crossfade::demo::shop::{self, ModuleText, Size};
use crossfade::pg::ConnInfo;
use crossfade::server::{self, Server};
use crossfade::state::{ChunkTable, back, install, migration, place};
use crossfade::transform::{Module, Plan, bind};
use tokio_postgres::Client;
/// A shop whose module has been bound and filled, in phase `streaming`.
pub struct Shop {
    pub server: Server,
    pub config: Config,
    pub migration: i32,
    pub plan: Arc<Plan>,
    chunks: ChunkTable,
    /// A session of crossfade's.
    pub client: Client,
    module: Module,
}

const ORDERS: u64 = 600;

/// A switch that waits gives up long before the server looks for deadlocks, but only where
/// its own server process is not stopped meanwhile: then a client would be the victim.
fn patient() -> server::Options {
    server::Options::default().setting("deadlock_timeout", "20s")
}

impl Shop {
    pub async fn new(text: ModuleText, strategy: &str, chain: &[shop::Migration]) -> Self {
        let server = Server::start(patient()).unwrap();
        let url = server.url("postgres");
        let mut client = shop::connect(&url).await.unwrap();
        shop::migrate(&mut client, &[shop::LEGACY]).await.unwrap();
        let size = Size {
            orders: ORDERS,
            sessions: 1,
        };
        shop::load(&url, size, &|_| ()).await.unwrap();
        shop::migrate(&mut client, chain).await.unwrap();
        let folder = shop::write_module(server.dir(), text).unwrap();
        Self::bound(server, client, &folder, strategy).await
    }

    /// A table of awkward names and types, `head` instead of the shop.
    pub async fn awkward(strategy: &str, toml: &str, select: &str, reverse: &str) -> Self {
        let files = [
            ("transform.toml", toml),
            ("head.sql", select),
            ("reverse.sql", reverse),
        ];
        Self::of(strategy, AWKWARD, &files).await
    }

    /// Any tables and a module of these files.
    pub async fn of(strategy: &str, tables: &str, files: &[(&str, &str)]) -> Self {
        let server = Server::start(patient()).unwrap();
        let client = shop::connect(&server.url("postgres")).await.unwrap();
        client.batch_execute(tables).await.unwrap();
        let folder = server.dir().join("transforms/awkward");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        Self::bound(server, client, &folder, strategy).await
    }

    async fn bound(server: Server, mut client: Client, folder: &Path, strategy: &str) -> Self {
        let config = Config::parse(
            &format!(
                "name = 'm'\ntransforms = ['{}']\n[source]\nurl = {}\n[switch]\nstrategy = '{strategy}'",
                folder.display(),
                toml::Value::String(server.url("postgres"))
            ),
            server.dir(),
        )
        .unwrap();
        let module = Module::load(folder).unwrap();
        install::install(&mut client).await.unwrap();
        let row = migration::create(&client, "m", "1", &module.text_hash)
            .await
            .unwrap();
        client
            .batch_execute(
                "update crossfade.migration set phase = 'streaming'; set crossfade.session = 'on'",
            )
            .await
            .unwrap();
        let plan = bind::bind(&mut client, &module).await.unwrap();
        let source = migration::source_id(&client, row.id, &plan).await.unwrap();
        let chunks = ChunkTable::new(source, &plan);
        back::create(&client, &plan, source).await.unwrap();
        place::remember(&client, source, &plan).await.unwrap();
        for target in &plan.targets {
            crossfade::state::guard::target(&client, &target.table.name, "m")
                .await
                .unwrap();
        }
        Self {
            server,
            config,
            migration: row.id,
            plan: Arc::new(plan),
            chunks,
            client,
            module,
        }
    }

    /// A session of an application.
    pub async fn session(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.server.url("postgres"), tokio_postgres::NoTls)
                .await
                .unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn checks(&self) -> Vec<(&'static str, bool, String)> {
        strategy::checks::run(&self.client, &self.config, &self.plan, Direction::Forward)
            .await
            .unwrap()
            .into_iter()
            .map(|c| (c.name, c.passed(), c.found))
            .collect()
    }

    /// What is advised by the checks of one name.
    pub async fn remedies(&self, name: &str) -> Vec<String> {
        let checks =
            strategy::checks::run(&self.client, &self.config, &self.plan, Direction::Forward);
        let checks = checks.await.unwrap().into_iter();
        checks
            .filter(|c| c.name == name)
            .map(|c| c.remedy)
            .collect()
    }

    pub fn application(&self, layout: Layout) -> Application {
        Application::start(Settings {
            url: self.server.url("postgres"),
            clients: 6,
            rate: 600.0,
            orders: ORDERS,
            seed: 11,
            layout,
        })
        .unwrap()
    }

    /// A switch in the given direction: locks, what the streams would have done by now,
    /// names, phase.
    pub async fn switch(&mut self, direction: Direction) {
        let left = self.switch_leaving(direction).await;
        assert!(left.is_none_or(|check| check.passed()));
    }

    /// The same; returns what is said of what is done afterwards.
    pub async fn switch_leaving(&mut self, direction: Direction) -> Option<Check> {
        self.plan = Arc::new(
            place::bind(&mut self.client, self.migration, &self.module)
                .await
                .unwrap(),
        );
        let locks: Vec<_> = strategy::locks(&self.config, &self.plan, direction)
            .iter()
            .map(Lock::sql)
            .collect();
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let begun = format!(
                "begin; set local lock_timeout = '300ms'; {}",
                locks.join("; ")
            );
            match self.client.batch_execute(&begun).await {
                Ok(()) => break,
                Err(e) => {
                    assert!(Instant::now() < until, "{e:?}");
                    self.client.batch_execute("rollback").await.unwrap();
                }
            }
        }
        let sql = match direction {
            Direction::Forward => self.forward(),
            Direction::Back => self.back(),
        };
        self.run(&sql).await;
        if self.plan.module.moved.is_empty() {
            for sequence in sequences::of(&self.client, &self.plan, direction)
                .await
                .unwrap()
            {
                sequence.set(&self.client, false).await.unwrap();
            }
        }
        strategy::apply(
            &self.client,
            &self.config,
            &self.plan,
            &self.chunks,
            direction,
        )
        .await
        .unwrap();
        let moved = migration::advance(
            &self.client,
            self.migration,
            direction.from(),
            direction.to(),
        );
        assert!(moved.await.unwrap());
        self.run("commit").await;
        let info = ConnInfo::parse(&self.config.source_url).unwrap();
        strategy::afterwards(&self.config, &info, self.migration, direction).await
    }

    /// The targets anew, out of the source.
    fn forward(&self) -> String {
        let mut sql: String = self
            .plan
            .targets
            .iter()
            .rev()
            .map(|t| format!("delete from {};", t.table.name.sql()))
            .collect();
        let source = format!("source as (table {})", self.plan.source.name.sql());
        let all: Vec<usize> = (0..self.plan.targets.len()).collect();
        let lookups = self.plan.insert_lookups(&source, &all);
        let rows = self.plan.insert(&source, &all, "select 1");
        for statement in lookups.iter().chain(&rows) {
            sql.push_str(&format!("{statement};"));
        }
        sql
    }

    /// The source, out of the targets.
    fn back(&self) -> String {
        let source = self.plan.source.name.sql();
        let view = ChunkTable::back_view(self.chunks.source_id);
        if !self.plan.module.moved.is_empty() {
            let set: Vec<_> = self
                .plan
                .module
                .moved
                .iter()
                .map(|m| format!("{0} = b.{0}", crossfade::pg::quote(m)))
                .collect();
            return format!(
                "update {source} s set {} from {view} b where b.id = s.id",
                set.join(", ")
            );
        }
        let reverse = self.plan.reverse.as_ref().unwrap();
        format!(
            "delete from {source}; insert into {source} ({0}) overriding system value select {0} from {view} b",
            reverse.column_list(&self.plan, "")
        )
    }

    pub async fn run(&self, sql: &str) {
        if let Err(e) = self.client.batch_execute(sql).await {
            panic!("{e:?}\n{sql}");
        }
    }

    pub async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

pub async fn go_on(app: &Application, more: u64) {
    let goal = app.tally().counts().committed + more;
    let deadline = Instant::now() + Duration::from_secs(120);
    while app.tally().counts().committed < goal {
        assert!(Instant::now() < deadline, "{:?}", app.tally().errors());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn assert_clean(report: &Report) {
    let Counts {
        failed, unknown, ..
    } = report.counts;
    assert_eq!((failed, unknown), (0, 0), "{:?}", report.errors);
    let findings = report.check().await.unwrap();
    assert!(findings.clean() && findings.checked > 100, "{findings:?}");
}

const AWKWARD: &str = r#"
    create schema "S ""x"""; create schema t;
    create table "S ""x"""."Order ""Items"" ÄÖ" (
        id bigint generated by default as identity primary key,
        "Zahl" int not null constraint positive check ("Zahl" >= 0),
        txt varchar(5) default 'abc',
        j json not null default '{"a":  1}',
        twice int generated always as ("Zahl" * 2) stored,
        at timestamptz not null default '2024-01-01 00:00:00+00');
    insert into "S ""x"""."Order ""Items"" ÄÖ" ("Zahl") select n from generate_series(1, 20) n;
    create table t.head (id bigint generated by default as identity primary key, n int,
        txt text, j json, at text);
"#;
pub const TABLE: &str = r#""S ""x"""."Order ""Items"" ÄÖ""#;

pub async fn code(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(e) => {
            let e = e.as_db_error().unwrap();
            let _ = client.batch_execute("rollback").await;
            format!("{} {}", e.code().code(), e.message())
        }
    }
}
