//! Locks: what is predicted is what the server takes, and nobody is kept waiting.

use std::collections::BTreeMap;

use crossfade::migrate::facts::Facts;
use crossfade::migrate::lock::{self, Mode, Work};
use crossfade::server::Options;
use crossfade::sql;

use crate::database::{Database, until};

const SCHEMA: &str = "
create table parent (id int primary key, n int);
create table t (id int primary key, a int, b varchar(10), c int check (c is not null), d int);
insert into t select i, i, i, i, i from generate_series(1, 10) i;
create index t_a on t (a);
create unique index t_d on t (d);
create table p (id int, k int) partition by range (k);
create table p1 (id int, k int);
create table p0 partition of p for values from (100) to (200);
create view v as select id from t;
create materialized view mv as select id from t;
create unique index on mv (id);
create function f() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger tr before insert on t for each row execute function f();
alter table t add constraint valid_later check (a > 0) not valid;
create table child (id int primary key, parent int references parent (id), alike int references parent (id));
create table grandchild (id int primary key references child (id));
create table pd partition of p default;
create table i (id int);
create table i0 () inherits (i)";

/// Each is run on its own and rolled back.
const STATEMENTS: &[&str] = &[
    "alter table t add column x int",
    "alter table t add column x int default 3",
    "alter table t add column x timestamptz default clock_timestamp()",
    "alter table t add column x int generated always as (a + 1) stored",
    "alter table t add column x bigserial",
    "alter table t add column x int references parent (id)",
    "alter table t drop column a",
    "alter table t rename column a to z",
    "alter table t alter column a type bigint",
    "alter table t alter column b type varchar(20)",
    "alter table t alter column b type text",
    "alter table t alter column b type varchar(5)",
    "alter table t alter column a set not null",
    "alter table t alter column c set not null",
    "alter table t alter column a drop not null",
    "alter table t alter column a set default 3",
    "alter table t alter column a set statistics 50",
    "alter table t set (fillfactor = 70)",
    "alter table t add constraint x check (a > 0)",
    "alter table t add constraint x check (a > 0) not valid",
    "alter table t add constraint x foreign key (a) references parent (id) not valid",
    "alter table t add constraint x unique (a)",
    "alter table t add constraint x unique using index t_d",
    "alter table t validate constraint valid_later",
    "alter table t drop constraint valid_later",
    "alter table t enable row level security",
    "alter table t disable trigger tr",
    "alter table t set unlogged",
    "alter table t rename to t2",
    "alter table p attach partition p1 for values from (0) to (100)",
    "alter table p detach partition p0",
    "create table p2 partition of p for values from (200) to (300)",
    "create table q (id int references parent (id))",
    "create index x on t (b)",
    "drop index t_a",
    "reindex table t",
    "reindex index t_a",
    "create trigger x before update on t for each row execute function f()",
    "drop trigger tr on t",
    "create policy x on t using (true)",
    "create or replace view v as select id from t",
    "refresh materialized view mv",
    "refresh materialized view concurrently mv",
    "truncate t",
    "drop table t cascade",
    "lock table t in share mode",
    "cluster t using t_pkey",
    "update t set a = 1",
    "delete from t",
    "insert into t select 99, 1, 'x', 1, 99",
    // Tables that hang together with the one that is named.
    "drop table child cascade",
    "drop table parent cascade",
    "drop table grandchild",
    "drop table grandchild, child",
    "drop table p0",
    "alter table child drop constraint child_parent_fkey",
    "alter table parent drop constraint parent_pkey cascade",
    "alter table child drop column parent",
    "alter table parent drop column id cascade",
    "alter table child alter column parent type bigint",
    "alter table parent alter column id type bigint",
    "alter table child add constraint x foreign key (id) references parent (id)",
    "alter table p add constraint x foreign key (id) references parent (id)",
    "truncate child cascade",
    "truncate grandchild, child",
    "create index on p (k)",
    "alter table p add column x int",
    "alter table i add column x int",
    "drop table i0",
];

/// Partitions and children of a table that is named are meant with it.
const PARTS: &[(&str, &str)] = &[("p0", "p"), ("pd", "p"), ("i0", "i")];

#[tokio::test]
async fn predicted_locks_and_rewrites_are_those_that_the_server_makes() {
    let database = Database::new().await;
    database.sql(SCHEMA).await;
    let known = "select c.oid::regclass::text, c.relfilenode from pg_class c
                 where c.relkind in ('r', 'p', 'v', 'm') and c.relnamespace = 'public'::regnamespace";
    for text in STATEMENTS {
        let statement = &sql::split(text)[0];
        assert!(statement.error.is_none(), "{text}: {:?}", statement.error);
        let facts = Facts::gather(&database.client, std::iter::once(statement))
            .await
            .unwrap();
        let mut predicted: BTreeMap<String, (Mode, Work)> = BTreeMap::new();
        for lock in lock::locks(statement, &facts) {
            let table = lock.table.to_string().replace("public.", "");
            predicted.insert(table, (lock.mode, lock.work));
        }
        let files: BTreeMap<String, u32> = database
            .client
            .query(known, &[])
            .await
            .unwrap()
            .iter()
            .map(|r| (r.get(0), r.get(1)))
            .collect();
        database.sql("begin").await;
        // An index that is locked keeps the queries of its table waiting.
        let names: BTreeMap<u32, String> = database
            .client
            .query(
                "select c.oid, coalesce(i.indrelid, c.oid)::regclass::text from pg_class c
                 left join pg_index i on i.indexrelid = c.oid
                 where c.relkind in ('r', 'p', 'v', 'm', 'i') and c.relnamespace = 'public'::regnamespace",
                &[],
            )
            .await
            .unwrap()
            .iter()
            .map(|r| (r.get(0), r.get(1)))
            .collect();
        database.sql(text).await;
        let held = database
            .client
            .query(
                "select l.relation, l.mode, c.relfilenode from pg_locks l
                 left join pg_class c on c.oid = l.relation and c.relkind <> 'i'
                 where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted",
                &[],
            )
            .await
            .unwrap();
        let mut taken: BTreeMap<String, Mode> = BTreeMap::new();
        let mut rewritten = Vec::new();
        for row in &held {
            let Some(name) = names.get(&row.get::<_, u32>(0)) else {
                continue;
            };
            let mode = Mode::of(row.get(1)).unwrap();
            let strongest = taken.entry(name.clone()).or_insert(mode);
            *strongest = (*strongest).max(mode);
            let file = row.get::<_, Option<u32>>(2);
            if file.is_some_and(|f| f != files[name]) && !rewritten.contains(name) {
                rewritten.push(name.clone());
            }
        }
        database.sql("rollback").await;
        // What reads and queries take is no news.
        taken.retain(|_, mode| *mode > Mode::RowShare);
        for (table, (mode, work)) in &predicted {
            assert_eq!(
                taken.get(table),
                Some(mode),
                "{text}: {table}, taken {taken:?}"
            );
            let truncates = text.starts_with("truncate");
            assert_eq!(
                rewritten.contains(table) && !truncates,
                *work == Work::Rewrite,
                "{text}: {table} rewritten {rewritten:?}, predicted {work:?}"
            );
        }
        // Nothing strong was overlooked, on a table that the statement names or another one.
        for (table, mode) in &taken {
            let named = text
                .split(|c: char| !c.is_alphanumeric())
                .any(|w| w == table);
            let harmless = if named {
                Mode::RowExclusive
            } else {
                Mode::ShareUpdateExclusive
            };
            let whole = PARTS.iter().find(|(part, _)| part == table);
            let meant = whole.and_then(|(_, whole)| predicted.get(*whole));
            // Views that a CASCADE takes away are the drop guard's to name.
            let goes = text.ends_with("cascade") && matches!(table.as_str(), "v" | "mv");
            assert!(
                goes || *mode <= harmless
                    || predicted.contains_key(table)
                    || meant.is_some_and(|(predicted, _)| predicted >= mode),
                "{text}: {mode} on {table} was not predicted"
            );
        }
    }
}

#[tokio::test]
async fn a_run_gives_up_rather_than_queue_and_says_who_was_in_the_way() {
    let database = Database::new().await;
    database.sql("create table t (a int)").await;
    database.migration(
        1,
        "alter table t add column b int",
        "alter table t drop column b",
    );
    let reader = database.open().await;
    reader
        .batch_execute("set application_name = 'report'; begin; select * from t")
        .await
        .unwrap();
    let preview = database.done(&["up", "--dry-run"]);
    assert!(
        preview.contains("ACCESS EXCLUSIVE on t: reads and writes wait"),
        "{preview}"
    );
    // Who is in the way is looked for while a lock is waited for: long enough for a look.
    let said = database.migrate(&["up", "--lock-timeout", "2000", "--attempts", "3"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.error
            .contains("given up after 3 attempts; last in the way: pid"),
        "{}",
        said.error
    );
    assert!(
        said.error.contains("report, idle in transaction"),
        "{}",
        said.error
    );
    assert!(said.text.contains("waits for pid"), "{}", said.text);
    assert!(
        said.text.contains("undone, attempt 2 of 3"),
        "{}",
        said.text
    );
    // Nobody queues behind it any more, and nothing is left of it.
    reader.batch_execute("commit").await.unwrap();
    database.sql("select * from t").await;
    assert_eq!(database.applied().await, "");
    database.done(&["up"]);
    let log = database.done(&["status", "--log"]);
    assert!(
        log.contains("up failed") && log.contains("up done"),
        "{log}"
    );
}

/// The tables of the history are made by whoever comes first, of whatever chain; that wait is
/// not one for a migration's own locks.
#[tokio::test]
async fn a_chain_that_begins_waits_while_another_one_makes_the_history() {
    let database = Database::new().await;
    database.migration(1, "create table t (a int)", "drop table t");
    let other = database.open().await;
    other
        .batch_execute(&format!(
            "begin; select pg_advisory_xact_lock({}, 0)",
            crossfade::migrate::session::LOCK_CLASS
        ))
        .await
        .unwrap();
    let mut child = database
        .command(&database.folder(), &["up", "--lock-timeout", "50"])
        .spawn()
        .unwrap();
    crate::database::until("it to wait for long, or to give up", async || {
        let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                     and clock_timestamp() > waitstart + interval '1 s'";
        database.get(waits).await == "1" || child.try_wait().unwrap().is_some()
    })
    .await;
    other.batch_execute("rollback").await.unwrap();
    let said = crate::database::said(child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(database.applied().await, "{1}");
}

#[tokio::test]
async fn a_statement_that_keeps_others_waiting_for_too_long_is_cancelled() {
    let database = Database::new().await;
    database.sql("create table t (a int)").await;
    database.migration(
        1,
        "alter table t add column b int; select pg_sleep(300)",
        "alter table t drop column b",
    );
    let child = database
        .command(&database.folder(), &["up", "--max-stall", "300"])
        .spawn()
        .unwrap();
    crate::database::until("the lock to be held", async || {
        database
            .get("select count(*) from pg_locks where relation = 't'::regclass and mode = 'AccessExclusiveLock' and granted")
            .await
            == "1"
    })
    .await;
    let since = std::time::Instant::now();
    // It waits, and then it does not.
    database.sql("select * from t").await;
    assert!(since.elapsed().as_secs() < 120);
    let said = crate::database::said(child.wait_with_output().unwrap());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.error.contains("1 sessions waited for its locks"),
        "{}",
        said.error
    );
    assert_eq!(database.applied().await, "");
}

// Goal: a change is not kept waiting by the vacuum of a large table, which gives way only to
// somebody who has waited for deadlock_timeout: here, as by default, as long as a statement
// may wait for its lock.
#[tokio::test]
async fn autovacuum_gives_way_to_a_statement_that_waits_no_longer_than_it_may() {
    let options = Options::default().setting("autovacuum_naptime", "1s");
    let database = Database::with(options).await;
    // Its vacuum takes minutes, with a pause of 0.1 s after each page that it reads.
    database
        .sql(
            "create table t (id int, text text) with (autovacuum_vacuum_cost_delay = 100,
                 autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1);
             insert into t select i, repeat('x', 500) from generate_series(1, 50000) i;
             delete from t where id % 2 = 0",
        )
        .await;
    database.migration(
        1,
        "alter table t add column x int",
        "alter table t drop column x",
    );
    let vacuums = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                   where l.relation = 't'::regclass and l.mode = 'ShareUpdateExclusiveLock' and l.granted
                     and a.backend_type = 'autovacuum worker'";
    until("autovacuum to come", async || {
        database.get(vacuums).await == "1"
    })
    .await;
    let text = database.done(&["up", "--lock-timeout", "1000", "--attempts", "3"]);
    assert!(text.contains("autovacuum worker"), "{text}");
    assert_eq!(database.applied().await, "{1}");
}
