//! The strategies `columns` and `view` under an application that never stops: switched
//! back and forth by hand, with one transaction that stands for the streams, so that
//! only names, guards and views are on trial.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossfade::config::Config;
use crossfade::cutover::gates::Check;
use crossfade::cutover::strategy::contract::Contract;
use crossfade::cutover::strategy::{self, Lock};
use crossfade::cutover::{Direction, sequences};
use crossfade::demo::application::{Application, Counts, Form, Layout, Report, Settings};
use crossfade::demo::shop::{self, ModuleText, Size};
use crossfade::pg::ConnInfo;
use crossfade::server::{self, Server};
use crossfade::state::{ChunkTable, back, install, migration, place};
use crossfade::transform::{Module, Plan, bind};
use tokio_postgres::Client;

/// A shop whose module has been bound and filled, in phase `streaming`.
struct Shop {
    server: Server,
    config: Config,
    migration: i32,
    plan: Arc<Plan>,
    chunks: ChunkTable,
    /// A session of crossfade's.
    client: Client,
    module: Module,
}

const ORDERS: u64 = 600;

/// A switch that waits gives up long before the server looks for deadlocks, but only where
/// its own server process is not stopped meanwhile: then a client would be the victim.
fn patient() -> server::Options {
    server::Options::default().setting("deadlock_timeout", "20s")
}

impl Shop {
    async fn new(text: ModuleText, strategy: &str, chain: &[shop::Migration]) -> Self {
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
    async fn awkward(strategy: &str, toml: &str, select: &str, reverse: &str) -> Self {
        let server = Server::start(patient()).unwrap();
        let client = shop::connect(&server.url("postgres")).await.unwrap();
        client.batch_execute(AWKWARD).await.unwrap();
        let folder = server.dir().join("transforms/awkward");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("transform.toml", toml),
            ("head.sql", select),
            ("reverse.sql", reverse),
        ] {
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
        let source = migration::source_id(&client, row.id, &module.name, plan.source.oid)
            .await
            .unwrap();
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
    async fn session(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.server.url("postgres"), tokio_postgres::NoTls)
                .await
                .unwrap();
        tokio::spawn(connection);
        client
    }

    async fn checks(&self) -> Vec<(&'static str, bool, String)> {
        strategy::checks::run(&self.client, &self.config, &self.plan, Direction::Forward)
            .await
            .unwrap()
            .into_iter()
            .map(|c| (c.name, c.passed(), c.found))
            .collect()
    }

    fn application(&self, layout: Layout) -> Application {
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
    async fn switch(&mut self, direction: Direction) {
        let left = self.switch_leaving(direction).await;
        assert!(left.is_none_or(|check| check.passed()));
    }

    /// The same; returns what is said of what is done afterwards.
    async fn switch_leaving(&mut self, direction: Direction) -> Option<Check> {
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
        for t in &self.plan.targets {
            sql.push_str(&format!(
                "with source as (table {}) {} select {} from ({}\n) q;",
                self.plan.source.name.sql(),
                t.insert_into(),
                t.column_list("q."),
                t.select
            ));
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

    async fn run(&self, sql: &str) {
        if let Err(e) = self.client.batch_execute(sql).await {
            panic!("{e:?}\n{sql}");
        }
    }

    async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

async fn go_on(app: &Application, more: u64) {
    let goal = app.tally().counts().committed + more;
    let deadline = Instant::now() + Duration::from_secs(120);
    while app.tally().counts().committed < goal {
        assert!(Instant::now() < deadline, "{:?}", app.tally().errors());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn assert_clean(report: &Report) {
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
const TABLE: &str = r#""S ""x"""."Order ""Items"" ÄÖ""#;

async fn code(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(e) => {
            let e = e.as_db_error().unwrap();
            let _ = client.batch_execute("rollback").await;
            format!("{} {}", e.code().code(), e.message())
        }
    }
}

/// What a moved column is, in one text: default, NOT NULL, checks and triggers.
const SHAPE: &str = "
    select concat_ws(' | ', a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           (select string_agg(conname, ',') from pg_constraint where conrelid = a.attrelid and contype = 'c'),
           (select string_agg(tgname, ',') from pg_trigger where tgrelid = a.attrelid and not tgisinternal))
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = 'legacy.orders'::regclass and a.attname = 'items'";

#[tokio::test(flavor = "multi_thread")]
async fn columns_move_and_come_back_under_an_application_that_goes_on() {
    let mut shop = Shop::new(shop::SPLIT_IN_PLACE, "columns", &[shop::LINES]).await;
    shop.run("alter table legacy.orders alter column items set default '[]'")
        .await;
    let before = shop.text(SHAPE).await;
    let app = shop.application(Layout::InPlace);
    go_on(&app, 200).await;
    for _ in 0..4 {
        shop.switch(Direction::Forward).await;
        go_on(&app, 150).await;
        shop.switch(Direction::Back).await;
        go_on(&app, 150).await;
    }
    assert_eq!(shop.text(SHAPE).await, before);
    shop.switch(Direction::Forward).await;
    go_on(&app, 200).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert!(report.counts.retried >= 30, "{:?}", report.counts);
    assert!(report.forms.contains(&Form::InPlace));
}

/// The application knows the old schema only and never notices anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_for_the_old_schema_sees_no_error_with_a_view_in_its_place() {
    let mut shop = Shop::new(shop::SPLIT, "view", &[shop::NEW_ORDERS]).await;
    let app = shop.application(Layout::Split);
    go_on(&app, 200).await;
    for _ in 0..4 {
        shop.switch(Direction::Forward).await;
        go_on(&app, 150).await;
        shop.switch(Direction::Back).await;
        go_on(&app, 150).await;
    }
    shop.switch(Direction::Forward).await;
    go_on(&app, 200).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert_eq!(report.counts.retried, 0);
    assert_eq!(report.forms, [Form::Old; 6]);
}

async fn awkward_columns() -> Shop {
    Shop::awkward(
        "columns",
        "source = '\"S \"\"x\"\"\".\"Order \"\"Items\"\" ÄÖ\"'\nmoved = ['txt', 'j']\n[[target]]\ntable = 't.head'\nsource_key = ['id']\nselect = 'head.sql'\n[reverse]\nselect = 'reverse.sql'\n",
        "select o.id, o.txt::text as txt, o.j from source o",
        "select h.id, h.txt, h.j from t.head h",
    )
    .await
}

/// Whatever an application may go on doing with the table passes, in any session; what
/// would be lost does not.
#[tokio::test]
async fn the_guard_of_moved_columns_refuses_a_change_of_them_and_nothing_else() {
    let mut shop = awkward_columns().await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    for passes in [
        format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id = 1"),
        format!("update {TABLE} set \"Zahl\" = 7, txt = txt, j = j where id = 1"),
        format!("update {TABLE} set j = '{{\"a\":  1}}' where id = 2"),
        format!("insert into {TABLE} (\"Zahl\") values (5)"),
        format!("insert into {TABLE} (\"Zahl\", txt, j) values (5, null, null)"),
        format!("begin; delete from {TABLE} where id = 3; delete from t.head where id = 3; commit"),
        format!(
            "begin; delete from {TABLE} where id = 4; insert into {TABLE} (id, \"Zahl\") values (4, 0); commit"
        ),
        format!("delete from {TABLE} where id = 21"),
    ] {
        assert_eq!(code(&app, &passes).await, "ok", "{passes}");
    }
    let moved =
        r#"55000 crossfade: "txt", "j" of table "S ""x"""."Order ""Items"" ÄÖ" moved to t.head"#;
    for refused in [
        format!("update {TABLE} set txt = 'x' where id = 1"),
        format!("update {TABLE} set j = null where id = 1"),
        // Equal as values would be, other bytes: it would vanish.
        format!("update {TABLE} set j = '{{\"a\": 1}}' where id = 1"),
        format!("insert into {TABLE} (\"Zahl\", txt) values (5, 'x')"),
        format!(
            "set session_replication_role = replica; update {TABLE} set txt = 'x' where id = 1"
        ),
    ] {
        assert_eq!(code(&app, &refused).await, moved, "{refused}");
    }
    app.batch_execute("reset session_replication_role")
        .await
        .unwrap();
    // A trigger of the application sets what the UPDATE does not name, after every other
    // trigger that runs before the row is made.
    shop.run(&format!(
        "create function zealous() returns trigger language plpgsql as
         $$ begin new.txt := 'zeal'; return new; end $$;
         create trigger zzz before insert or update on {TABLE} for each row
         execute function zealous()"
    ))
    .await;
    for refused in [
        format!("update {TABLE} set \"Zahl\" = 8 where id = 1"),
        format!("insert into {TABLE} (\"Zahl\") values (6)"),
    ] {
        assert_eq!(code(&app, &refused).await, moved, "{refused}");
    }
    shop.run(&format!("drop trigger zzz on {TABLE}")).await;
    let left = code(&app, &format!("delete from {TABLE} where id = 5")).await;
    assert!(
        left.starts_with("55000 crossfade: a deleted row of table"),
        "{left}"
    );
    shop.run(&format!("update {TABLE} set txt = 'by us' where id = 6"))
        .await;
}

/// A new row whose lines never came has no value to be given back: that is said, it
/// keeps nobody from working, and a second run ends it.
#[tokio::test]
async fn columns_that_cannot_be_mandatory_again_yet_are_named_and_done_later() {
    let mut shop = awkward_columns().await;
    let shape = "select string_agg(concat_ws(' ', attname, attnotnull, pg_get_expr(adbin, adrelid)), ', ' order by attnum)
                 from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
                 where attrelid = $$\"S \"\"x\"\"\".\"Order \"\"Items\"\" ÄÖ\"$$::regclass and attnum > 0";
    let before = shop.text(shape).await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    app.batch_execute(&format!(
        "insert into {TABLE} (id, \"Zahl\") values (99, 1)"
    ))
    .await
    .unwrap();
    let left = shop.switch_leaving(Direction::Back).await.unwrap();
    assert!(!left.passed() && left.found.contains("\"j\""), "{left:?}");
    assert!(left.found.contains("rows without a value"), "{left:?}");
    assert!(
        code(
            &app,
            &format!("insert into {TABLE} (\"Zahl\", j) values (1, null)")
        )
        .await
        .starts_with("23514")
    );
    assert_eq!(
        code(&app, &format!("insert into {TABLE} (\"Zahl\") values (1)")).await,
        "ok"
    );
    app.batch_execute(&format!("update {TABLE} set j = '[]' where id = 99"))
        .await
        .unwrap();
    let info = ConnInfo::parse(&shop.config.source_url).unwrap();
    for _ in 0..2 {
        let again =
            strategy::afterwards(&shop.config, &info, shop.migration, Direction::Back).await;
        assert!(again.is_none_or(|check| check.passed()));
    }
    assert_eq!(shop.text(shape).await, before);
    assert_eq!(
        shop.text("select count(*)::text from crossfade.moved_column")
            .await,
        "0"
    );
}

#[tokio::test]
async fn what_would_refuse_a_row_without_the_moved_columns_is_found_before_the_switch() {
    let shop = awkward_columns().await;
    let found = shop.checks().await;
    assert!(found.iter().all(|c| c.1), "{found:?}");
    shop.run(&format!(
        "alter table {TABLE} add constraint wanted check (txt is not null and j is not null);
         alter table {TABLE} add constraint harmless check (length(txt) > 0 or \"Zahl\" > 0);
         create index on {TABLE} (txt); create view t.seen as select txt from {TABLE}"
    ))
    .await;
    let found = shop.checks().await;
    let (_, passed, text) = found.iter().find(|c| c.0 == "optional_columns").unwrap();
    assert!(
        !passed && text.contains("wanted") && !text.contains("harmless"),
        "{text}"
    );
    let (_, passed, text) = found
        .iter()
        .find(|c| c.0 == "uses_of_moved_columns")
        .unwrap();
    assert!(
        *passed && text.contains("index") && text.contains("view t.seen"),
        "{text}"
    );
}

/// The contract migration takes the columns away, and its way down brings every value
/// back.
#[tokio::test]
async fn the_contract_migration_goes_down_and_up_again() {
    let mut shop = awkward_columns().await;
    let values =
        format!("select string_agg(concat_ws('|', id, txt, j), ',' order by id) from {TABLE}");
    let before = shop.text(&values).await;
    shop.switch(Direction::Forward).await;
    let contract = Contract::of(&shop.plan).unwrap();
    let dir = shop.server.dir().join("migrations");
    let up = contract.write(&dir).unwrap();
    assert_eq!(up, dir.join("0001_contract_order__items.up.sql"));
    let down = dir.join("0001_contract_order__items.down.sql");
    let [up, down] = [up, down].map(|path| std::fs::read_to_string(path).unwrap());
    for _ in 0..2 {
        shop.run(&up).await;
        assert!(shop.client.query_one(&values, &[]).await.is_err());
        shop.run(&down).await;
        assert_eq!(shop.text(&values).await, before);
    }
}

async fn awkward_view(rename_to: &str) -> Shop {
    let toml = format!(
        "source = '{TABLE}'\n[[target]]\ntable = 't.head'\n{rename_to}\nsource_key = ['id']\nselect = 'head.sql'\n[reverse]\nselect = 'reverse.sql'\n"
    );
    Shop::awkward(
        "view",
        &toml,
        "select o.id, o.\"Zahl\" as n, o.txt::text as txt, o.j, o.at::text as at from source o",
        "select h.id, h.n as \"Zahl\", h.txt, h.j, h.at::timestamptz as at from t.head h",
    )
    .await
}

/// What the old table gave and refused, the view gives and refuses.
#[tokio::test]
async fn the_view_behaves_like_the_table_that_it_stands_for() {
    let mut shop = awkward_view("").await;
    shop.run(&format!(
        "create role reader; create role writer login; grant usage on schema \"S \"\"x\"\"\" to public;
         grant select (id, txt) on {TABLE} to reader; grant select, insert, update, delete on {TABLE} to writer with grant option;
         comment on table {TABLE} is 'it''s'; comment on column {TABLE}.\"Zahl\" is 'n'"
    ))
    .await;
    let rows = format!("select string_agg(v::text, ';' order by id) from {TABLE} v");
    let shape = format!(
        "select string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attcollation, attacl,
                col_description(attrelid, attnum)), ', ' order by attnum)
           || obj_description($${TABLE}$$::regclass)
           || (select relacl::text || relowner from pg_class where oid = $${TABLE}$$::regclass)
         from pg_attribute where attrelid = $${TABLE}$$::regclass and attnum > 0"
    );
    let (rows_before, shape_before) = (shop.text(&rows).await, shop.text(&shape).await);
    let app = shop.session().await;
    app.batch_execute(
        "set timezone = 'America/New_York'; set datestyle = 'german'; set role writer",
    )
    .await
    .unwrap();
    let prepared = app
        .prepare(&format!("select * from {TABLE} where id = $1"))
        .await
        .unwrap();
    let old_row = app.query_one(&prepared, &[&7_i64]).await.unwrap();
    shop.switch(Direction::Forward).await;
    assert_eq!(shop.text(&rows).await, rows_before);
    assert_eq!(shop.text(&shape).await, shape_before);
    let new_row = app.query_one(&prepared, &[&7_i64]).await.unwrap();
    assert_eq!(
        old_row.get::<_, i32>("twice"),
        new_row.get::<_, i32>("twice")
    );

    let insert =
        format!("insert into {TABLE} (\"Zahl\", txt) values (40, 'neu') returning id, j::text, at");
    let row = app.query_one(&insert, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, &str>(1)),
        (21, "{\"a\":  1}")
    );
    for (sql, answer) in [
        (
            format!("insert into {TABLE} (id, \"Zahl\") values (21, 1)"),
            "23505",
        ),
        (
            format!("insert into {TABLE} (\"Zahl\") values (null)"),
            "23502",
        ),
        (
            format!("update {TABLE} set \"Zahl\" = -1 where id = 1"),
            "23514",
        ),
        (
            format!("update {TABLE} set txt = 'too long' where id = 1"),
            "22001",
        ),
        (
            format!("insert into {TABLE} (id, \"Zahl\") overriding system value values (50, 1)"),
            "ok",
        ),
        (
            format!("update {TABLE} set id = 51, txt = null where id = 50"),
            "ok",
        ),
        (
            format!(
                "begin; select * from {TABLE} where id = 51 for update; update {TABLE} set \"Zahl\" = 3 where id = 51; commit"
            ),
            "ok",
        ),
        (
            format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id < 5"),
            "ok",
        ),
        (format!("delete from {TABLE} where id = 2"), "ok"),
        ("insert into t.head (n) values (1)".to_owned(), "42501"),
    ] {
        let got = code(&app, &sql).await;
        assert!(got.starts_with(answer), "{sql}: {got}");
    }
    assert_eq!(
        shop.text("select string_agg(concat_ws(' ', id, n, txt, at), ', ' order by id) from t.head where id in (1, 2, 21, 50, 51)").await,
        "1 2 abc 2024-01-01 00:00:00+00, 21 40 neu 2024-01-01 00:00:00+00, 51 3 2024-01-01 00:00:00+00"
    );
    let after = shop.text(&rows).await;
    shop.switch(Direction::Back).await;
    assert_eq!(shop.text(&rows).await, after);
    assert_eq!(shop.text(&shape).await, shape_before);
    assert_eq!(shop.text("select count(*)::text from pg_proc where pronamespace = 'crossfade'::regnamespace and (proname like 'write%' or proname like 'merge%')").await, "0");
    app.query_one(&prepared, &[&7_i64]).await.unwrap();
}

/// Has a second session run the statement while the first, which has run it, has not
/// committed yet; what the second is told then.
async fn beside_another(shop: &Shop, sql: &str) -> String {
    let (first, second) = (shop.session().await, shop.session().await);
    first.batch_execute(&format!("begin; {sql}")).await.unwrap();
    let pid: i32 = second
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let sql = sql.to_owned();
    let told = tokio::spawn(async move { code(&second, &sql).await });
    let waits = format!(
        "select count(*)::text from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'"
    );
    let deadline = Instant::now() + Duration::from_secs(120);
    while shop.text(&waits).await != "1" {
        assert!(Instant::now() < deadline, "it does not wait for the row");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.batch_execute("commit").await.unwrap();
    let told = told.await.unwrap();
    told.split(' ').next().unwrap_or_default().to_owned()
}

/// Two statements that add to one value: each counts, or is told to run again.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_through_the_view_is_lost() {
    let mut shop = awkward_view("rename_to = 't.\"Head ÄÖ\"'").await;
    shop.switch(Direction::Forward).await;
    let add = format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id = 1");
    assert_eq!(beside_another(&shop, &add).await, "40001");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (app, add) = (shop.session().await, add.clone());
        tasks.spawn(async move {
            for _ in 0..100 {
                while let Err(e) = app.batch_execute(&add).await {
                    assert_eq!(e.code().unwrap().code(), "40001", "{e:?}");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let select = |table: &str| format!("select \"Zahl\"::text from {table} where id = 1");
    assert_eq!(shop.text(&select(TABLE)).await, "402");
    assert_eq!(
        shop.text("select n::text from t.\"Head ÄÖ\" where id = 1")
            .await,
        "402"
    );
    // The reverse names a target that has another name by now.
    shop.switch(Direction::Back).await;
    assert_eq!(shop.text(&select(TABLE)).await, "402");
    assert_eq!(
        shop.text("select n::text from t.head where id = 1").await,
        "402"
    );
}

/// The new tables hold what the old row cannot show; who updates the old row must not
/// destroy it.
#[tokio::test]
async fn an_update_through_the_view_keeps_what_the_view_cannot_show() {
    let mut shop = Shop::new(shop::SPLIT, "view", &[shop::NEW_ORDERS]).await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    let id: i64 = app
        .query_one(
            "select min(order_id) from shop.order_items where line_no = 3",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    app.batch_execute(&format!(
        "update shop.orders set placed_at = '2024-02-03 04:05:06.789+00', status = 'waiting for the supplier''s answer' where id = {id};
         delete from shop.order_items where order_id = {id} and line_no > 3;
         update shop.order_items set line_no = 7 where order_id = {id} and line_no = 3"
    ))
    .await
    .unwrap();
    let lines = format!(
        "select string_agg(line_no || ' ' || qty, ',' order by line_no) from shop.order_items where order_id = {id}"
    );
    let order = format!(
        "select concat_ws('|', placed_at at time zone 'UTC', status, note) from shop.orders where id = {id}"
    );
    let lines_before = shop.text(&lines).await;
    app.batch_execute(&format!(
        "update legacy.orders set note = 'seen' where id = {id}"
    ))
    .await
    .unwrap();
    assert_eq!(
        shop.text(&order).await,
        "2024-02-03 04:05:06.789|waiting for the supplier's answer|seen"
    );
    assert_eq!(shop.text(&lines).await, lines_before);
    // Lines that do change are written out: three of them, and no fourth.
    app.batch_execute(&format!(
        "update legacy.orders set items = jsonb_set(items, '{{2,qty}}', '77'), status = 'paid' where id = {id}"
    ))
    .await
    .unwrap();
    let now = shop.text(&lines).await;
    assert!(
        now.ends_with(",3 77") && now.split(',').count() == 3,
        "{now}"
    );
    assert_eq!(shop.text(&order).await, "2024-02-03 04:05:06.789|paid|seen");
}
