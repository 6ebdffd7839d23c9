//! Runs that end in the middle: killed, failed, or two at once.

use crate::database::{Database, Point, kill, said, until};

/// Six steps of every kind; each leaves a line, so that one that runs twice is seen.
const STEPS: &str = "
-- no-transaction
create table log (step int);
insert into log values (2);
-- batch: rows by id, 10 rows
insert into copied select id from rows where id between $1 and $2;
begin;
insert into log values (4);
alter table rows add column extra int;
commit;
create index concurrently rows_extra on rows (extra);
insert into log values (6);";

async fn prepared() -> Database {
    let database = Database::new().await;
    database.migration(
        1,
        "create table rows (id int primary key);
         create table copied (id int);
         insert into rows select generate_series(1, 35)",
        "drop table copied; drop table rows",
    );
    database.migration(
        2,
        STEPS,
        "-- no-transaction
         drop index concurrently if exists rows_extra;
         alter table rows drop column extra;
         truncate copied;
         drop table log",
    );
    database.done(&["up", "--to", "1"]);
    database
}

async fn is_whole(database: &Database, context: &str) {
    assert_eq!(database.applied().await, "{1,2}", "{context}");
    let log = database
        .get("select array_agg(step order by step) from log")
        .await;
    assert_eq!(log, "{2,4,6}", "{context}");
    let copied = database
        .get("select format('%s %s', count(*), count(distinct id)) from copied")
        .await;
    assert_eq!(copied, "35 35", "{context}");
    let index = database
        .get("select indisvalid from pg_index where indexrelid = 'rows_extra'::regclass")
        .await;
    assert_eq!(index, "true", "{context}");
    assert_eq!(
        database
            .get("select count(*) from crossfade.schema_step")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_run_that_is_killed_at_any_statement_goes_on_there() {
    let database = prepared().await;
    let mut points: Vec<String> = Vec::new();
    for step in 1..=6 {
        points.push(format!("migrate.step.{step}"));
        points.push(format!("migrate.step_done.{step}"));
    }
    points.extend(
        [
            "migrate.batch.3",
            "migrate.begun.5",
            "migrate.ran.5",
            "migrate.before_commit",
            "migrate.after_commit",
            "migrate.statement.2",
        ]
        .map(str::to_owned),
    );
    for name in points {
        let point = Point::new(&database, &name);
        let child = database.start(&["up"], &point);
        point.reached().await;
        kill(child);
        let text = database.done(&["up"]);
        assert!(text.contains("1 migration applied"), "{name}: {text}");
        is_whole(&database, &name).await;
        database.done(&["down"]);
        assert_eq!(database.applied().await, "{1}", "{name}");
    }
}

#[tokio::test]
async fn the_way_back_goes_on_where_it_was_killed() {
    let database = prepared().await;
    database.done(&["up"]);
    let point = Point::new(&database, "migrate.step_done.2");
    let child = database.start(&["down"], &point);
    point.reached().await;
    kill(child);
    let status = database.done(&["status"]);
    assert!(status.contains("going down, 2 of 4 steps"), "{status}");
    let error = database.refused(&["up"]);
    assert!(error.contains("0002_m is halfway down"), "{error}");
    let text = database.done(&["down"]);
    assert!(text.contains("2 steps are done already"), "{text}");
    assert_eq!(database.applied().await, "{1}");
    database.done(&["up"]);
    is_whole(&database, "after the way back").await;
}

#[tokio::test]
async fn of_two_runs_at_once_one_waits_and_nothing_is_done_twice() {
    let database = prepared().await;
    let point = Point::new(&database, "migrate.step.5");
    let first = database.start(&["up"], &point);
    point.reached().await;
    let (tells, told) = (database.dir.join("second.log"), || {
        std::fs::read_to_string(database.dir.join("second.log")).unwrap()
    });
    let second = database
        .command(&database.folder(), &["up"])
        .stdout(std::fs::File::create(tells).unwrap())
        .spawn()
        .unwrap();
    // It asks again and again, in statements that end at once: an index that is built
    // CONCURRENTLY by the first would wait for the snapshot of one that waits. The first must
    // not end before the second has found out who it is.
    until("the second to wait", async || {
        told().contains("waiting for another run: pid ")
    })
    .await;
    point.release();
    let (first, mut second) = (
        said(first.wait_with_output().unwrap()),
        said(second.wait_with_output().unwrap()),
    );
    second.text = told();
    assert_eq!((first.code, second.code), (0, 0), "{first:?}\n{second:?}");
    assert!(second.text.contains("nothing to do"), "{second:?}");
    is_whole(&database, "two at once").await;
    assert_eq!(
        database
            .get(
                "select count(*) from crossfade.schema_event where number = 2 and outcome = 'done'"
            )
            .await,
        "1"
    );
}

#[tokio::test]
async fn a_transaction_that_is_killed_leaves_nothing_and_runs_again() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table a (); create table b (); insert into b default values;",
        "drop table b; drop table a",
    );
    for name in [
        "migrate.statement.1",
        "migrate.statement.3",
        "migrate.before_commit",
    ] {
        let point = Point::new(&database, name);
        let child = database.start(&["up"], &point);
        point.reached().await;
        kill(child);
        let table = database.get("select to_regclass('b')").await;
        assert_eq!(table, "", "{name}");
    }
    // Killed after the commit it is applied, and not run again.
    let point = Point::new(&database, "migrate.after_commit");
    let child = database.start(&["up"], &point);
    point.reached().await;
    kill(child);
    assert!(database.done(&["up"]).contains("nothing to do"));
    assert_eq!(database.get("select count(*) from b").await, "1");
}

#[tokio::test]
async fn a_step_that_fails_is_corrected_in_the_file_and_the_rest_goes_on() {
    let database = Database::new().await;
    let file = |unique: &str| {
        format!(
            "-- no-transaction\ncreate table t (a int);\ninsert into t values (1), (1);\n\
             {unique}create unique index concurrently t_a on t (a);"
        )
    };
    database.migration(1, &file(""), "drop table t");
    let said = database.migrate(&["up"]);
    assert_eq!(said.code, 2);
    assert!(said.error.contains("0001_m.up.sql:4:1"), "{}", said.error);
    // PostgreSQL leaves an INVALID index behind; it is gone.
    assert!(
        said.text.contains("INVALID index public.t_a dropped"),
        "{}",
        said.text
    );
    assert_eq!(database.get("select to_regclass('t_a')").await, "");
    let status = database.done(&["status"]);
    assert!(status.contains("going up, 2 of 3 steps"), "{status}");
    // What is done may not be edited, what comes after may.
    database.migration(1, &file("").replace("(1), (1)", "(1), (2)"), "drop table t");
    let error = database.refused(&["up"]);
    assert!(error.contains("step 2 has been run already"), "{error}");
    database.migration(
        1,
        &file("delete from t where ctid > (select min(ctid) from t);\n"),
        "drop table t",
    );
    database.done(&["up"]);
    assert_eq!(database.get("select count(*) from t").await, "1");
    assert_eq!(database.applied().await, "{1}");
}

#[tokio::test]
async fn an_index_that_could_not_be_found_again_is_not_begun() {
    let database = Database::new().await;
    database
        .sql("create table t (a int); insert into t values (1), (1)")
        .await;
    let nameless =
        "-- no-transaction\ncreate table u (a int);\ncreate unique index concurrently on t (a);";
    database.migration(1, nameless, "drop table u");
    let error = database.refused(&["up"]);
    assert!(
        error.contains("0001_m.up.sql:3:1: CREATE INDEX CONCURRENTLY without a name")
            && error.contains("give the index a name"),
        "{error}"
    );
    // Nor is a way back that would do so.
    database.migration(1, "drop table if exists v", nameless);
    let error = database.refused(&["up"]);
    assert!(error.contains("0001_m.down.sql:3:1"), "{error}");
    // In what remains of a file that stands halfway neither.
    let named = nameless.replace("concurrently on", "concurrently t_a on");
    database.migration(1, &named, "drop table u");
    assert_eq!(database.migrate(&["up"]).code, 2);
    database.migration(1, nameless, "drop table u");
    let error = database.refused(&["up"]);
    assert!(error.contains("without a name"), "{error}");
    let indexes = "select count(*) from pg_index where indrelid = 't'::regclass";
    assert_eq!(database.get(indexes).await, "0");
    database.sql("truncate t").await;
    database.migration(1, &named, "drop table u");
    database.done(&["up"]);
    assert_eq!(database.get(indexes).await, "1");
}

#[tokio::test]
async fn an_invalid_index_of_anybody_is_found_and_mended() {
    let database = Database::new().await;
    database.migration(
        1,
        "-- no-transaction\ncreate index concurrently if not exists t_a on t (a);",
        "drop index t_a",
    );
    database
        .sql("create table t (a int); insert into t values (1), (1)")
        .await;
    // Somebody tried by hand and did not look at the outcome.
    let failed = database
        .client
        .batch_execute("create unique index concurrently t_u on t (a)")
        .await;
    assert!(failed.is_err());
    database.sql("create index t_a on t (a); update pg_index set indisvalid = false where indexrelid = 't_a'::regclass").await;
    let status = database.done(&["status"]);
    assert!(
        status.contains("INVALID index public.t_u on public.t"),
        "{status}"
    );
    // IF NOT EXISTS would take the INVALID one for the real one.
    let text = database.done(&["up"]);
    assert!(
        text.contains("mended: INVALID index public.t_a dropped"),
        "{text}"
    );
    let valid = "select indisvalid from pg_index where indexrelid = ";
    assert_eq!(
        database.get(&format!("{valid} 't_a'::regclass")).await,
        "true"
    );
    let would = database.done(&["repair", "--dry-run"]);
    assert!(
        would.contains("public.t_u on public.t built again"),
        "{would}"
    );
    // There are duplicates still: the mending says so and breaks nothing.
    let error = database.refused(&["repair"]);
    assert!(error.contains("mending public.t_u"), "{error}");
    database
        .sql("delete from t where ctid > (select min(ctid) from t)")
        .await;
    // The attempt before has left one of its own.
    let text = database.done(&["repair"]);
    assert!(text.contains("public.t_u built again"), "{text}");
    assert_eq!(
        database.get(&format!("{valid} 't_u'::regclass")).await,
        "true"
    );
    assert_eq!(
        database
            .get("select count(*) from pg_index where not indisvalid")
            .await,
        "0"
    );
    assert!(database.done(&["repair"]).contains("nothing to mend"));
}

#[tokio::test]
async fn what_nothing_tells_is_asked_and_not_guessed() {
    let database = Database::new().await;
    database
        .sql("create table t (a int); create procedure p() language plpgsql as $$ begin insert into t values (1); commit; end $$")
        .await;
    database.migration(1, "-- no-transaction\ncall p();", "truncate t");
    let point = Point::new(&database, "migrate.ran.1");
    let child = database.start(&["up"], &point);
    point.reached().await;
    kill(child);
    let error = database.refused(&["up"]);
    assert!(
        error.contains("call p() was interrupted, and nothing tells"),
        "{error}"
    );
    assert!(error.contains("--step-done 1"), "{error}");
    database.done(&["repair", "--step-done", "1"]);
    database.done(&["up"]);
    assert_eq!(database.get("select count(*) from t").await, "1");
    database.done(&["down"]);
    // And the other answer.
    let point = Point::new(&database, "migrate.begun.1");
    let child = database.start(&["up"], &point);
    point.reached().await;
    kill(child);
    database.refused(&["up"]);
    database.done(&["repair", "--step-again", "1"]);
    database.done(&["up"]);
    assert_eq!(database.get("select count(*) from t").await, "1");
    let log = database.done(&["status", "--log"]);
    assert!(
        log.contains("repair done") && log.contains("step 1 is run again"),
        "{log}"
    );
}

#[tokio::test]
async fn an_index_whose_build_is_killed_in_the_middle_is_built_again() {
    let database = Database::new().await;
    database
        .sql("create table t (a int); insert into t values (1), (2)")
        .await;
    database.migration(
        1,
        "-- no-transaction\ncreate index concurrently if not exists t_a on t (a);",
        "drop index t_a",
    );
    // A transaction that has written the table: the build has to wait for its end, and no
    // lock timeout makes it give up.
    let writer = database.open().await;
    writer
        .batch_execute("begin; insert into t values (3)")
        .await
        .unwrap();
    // Of this table, and at the wait for the writer: the view shows every index that is
    // built, those of the history's own tables too, and before that wait nothing is left
    // behind by a kill.
    let building = async || {
        let sql = "select coalesce(max(pid), 0) from pg_stat_progress_create_index
                   where relid = 't'::regclass and phase = 'waiting for writers before build'";
        let pid: i32 = database.get(sql).await.parse().unwrap();
        pid
    };
    let mut first = 0;
    let child = database
        .command(&database.folder(), &["up", "--lock-timeout", "100"])
        .spawn()
        .unwrap();
    until("the build to begin", async || {
        first = building().await;
        first != 0
    })
    .await;
    kill(child);
    // The server goes on for a moment; the next run waits for that session's end, and then
    // for the writer, whose transaction keeps the half-built index.
    let second = database
        .command(&database.folder(), &["up"])
        .spawn()
        .unwrap();
    until("the first build to end", async || building().await != first).await;
    writer.batch_execute("commit").await.unwrap();
    let second = said(second.wait_with_output().unwrap());
    assert_eq!(second.code, 0, "{second:?}");
    assert!(
        second
            .text
            .contains("mended: INVALID index public.t_a dropped"),
        "{second:?}"
    );
    let valid = "select indisvalid from pg_index where indexrelid = 't_a'::regclass";
    assert_eq!(database.get(valid).await, "true");
    assert_eq!(database.applied().await, "{1}");
}
