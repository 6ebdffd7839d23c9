//! What names a row: the source's key, the columns of a target that carry it, the replica
//! identity by which the stream tells of it, and the numbers that are handed out for it.

use crossfade::server::Options;

mod support;

use support::{Daemon, World};

const ORDERS: &str = "create schema s; create schema t;
    create table s.orders (id bigint primary key, alt bigint not null unique, note text);
    insert into s.orders select g, g + 1, 'n' || g from generate_series(1, 900) g;";

/// The source with its rows, and an empty target.
async fn orders() -> World {
    let world = World::new().await;
    world.sql(ORDERS).await;
    world
        .sql("create table t.orders (id bigint primary key, note text)")
        .await;
    world
}

/// The target holds what the plainest of all modules makes of the source.
async fn assert_equal(world: &World, source: &str) {
    let select = format!("select id, note from {source}");
    assert_eq!(world.difference(&select, "t.orders").await, (0, 0));
}

/// A module of one target, `t.orders`.
fn module(world: &World, key: &str, select: &str) {
    let toml = format!(
        "source = \"s.orders\"\n[[target]]\ntable = \"t.orders\"\nsource_key = [\"{key}\"]\nselect = \"o.sql\"\n"
    );
    world.module("m", &[("transform.toml", &toml), ("o.sql", select)]);
    world.config(&["m"], "");
}

/// What a command says on standard error, and its exit code.
fn told(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.run(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// A run that is refused before anything is made: neither publication nor slot.
async fn assert_refused(world: &World, why: &str) {
    let (code, text) = run(world).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains(why), "{text}");
    let made = "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots)";
    assert_eq!(world.get(made).await, "0", "{text}");
}

/// A run that ends by itself: its exit code, and what it said.
async fn run(world: &World) -> (i32, String) {
    let _ = std::fs::remove_file(world.dir.join("daemon.log"));
    let mut daemon = world.daemon(&[]);
    let code = daemon.exit().await;
    (code, daemon.log())
}

async fn streaming(world: &World) -> Daemon {
    let daemon = world.daemon(&[]);
    world.settled().await;
    daemon
}

/// A daemon that begins its stream anew, and has copied again what differs.
async fn anew(world: &World) -> Daemon {
    let daemon = world.daemon(&[]);
    let done = "select recoveries > 0 and slot_lost is null and phase = 'streaming' from crossfade.migration";
    world.until("the stream to be begun anew", done).await;
    world.caught_up().await;
    daemon
}

#[tokio::test]
async fn a_source_key_of_other_columns_is_refused_before_anything_is_written() {
    let world = World::new().await;
    world.sql(ORDERS).await;
    world
        .sql("create table t.orders (alt bigint primary key, id bigint not null, note text)")
        .await;
    module(&world, "alt", "select alt, id, note from source");
    assert_refused(&world, "carries another key than the row of s.orders").await;
    assert_eq!(world.get("select count(*) from t.orders").await, "0");
}

/// A module that keeps its word for most rows: the one row for which it does not must not
/// take the place of another order's, whose own would go with it.
#[tokio::test]
async fn a_change_whose_row_carries_another_key_ends_the_stream_and_harms_nobody() {
    let world = orders().await;
    module(
        &world,
        "id",
        "select case when note = 'odd' then id + 1 else id end as id, note from source",
    );
    let mut daemon = streaming(&world).await;
    world
        .sql("update s.orders set note = 'odd' where id = 500")
        .await;
    assert_eq!(daemon.exit().await, 2);
    assert!(
        daemon.log().contains("carries another key"),
        "{}",
        daemon.log()
    );
    let rows =
        "select string_agg(id || note, ' ' order by id) from t.orders where id in (500, 501)";
    assert_eq!(world.get(rows).await, "500n500 501n501");
}

/// The copy takes away nobody's row, so it need not look; the comparison does.
#[tokio::test]
async fn a_copied_row_that_carries_another_key_is_no_identical_pair() {
    let world = orders().await;
    world
        .sql("update s.orders set note = 'odd' where id = 500")
        .await;
    module(
        &world,
        "id",
        "select case when note = 'odd' then id + 100000 else id end as id, note from source",
    );
    let _daemon = streaming(&world).await;
    // As long as all is in one range the sums agree, and nothing is wrong with what is there.
    world
        .sql("set crossfade.session = 'on'; delete from t.orders where id = 100500")
        .await;
    let (code, text) = told(&world, &["verify"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("carries another key"), "{text}");
}

#[tokio::test]
async fn a_select_that_reads_a_source_table_by_its_name_is_refused() {
    let world = orders().await;
    world
        .sql(
            "create table s.other (id bigint primary key, note text);
             create table t.other (id bigint primary key, note text)",
        )
        .await;
    for select in [
        "select o.id, o.note from s.orders o",
        "select s.id, (select o.note from s.orders o where o.id = s.alt) as note from source s",
    ] {
        module(&world, "id", select);
        assert_refused(&world, "it reads the table s.orders itself").await;
    }
    module(
        &world,
        "id",
        "select s.id, o.note from source s left join s.other o on o.id = s.alt",
    );
    world.module(
        "other",
        &[
            (
                "transform.toml",
                "source = \"s.other\"\n[[target]]\ntable = \"t.other\"\nsource_key = [\"id\"]\nselect = \"o.sql\"\n",
            ),
            ("o.sql", "select id, note from source"),
        ],
    );
    world.config(&["m", "other"], "");
    assert_refused(&world, "module m reads s.other, the source of module other").await;
}

/// Read by the new key, the log would name the rows of others.
#[tokio::test]
async fn another_replica_identity_than_at_the_beginning_ends_the_run_before_a_change_is_applied() {
    let world = orders().await;
    module(&world, "id", "select id, note from source");
    let mut daemon = streaming(&world).await;
    assert_eq!(daemon.stop().await, 0);
    world
        .sql("alter table s.orders replica identity using index orders_alt_key")
        .await;
    world
        .sql("update s.orders set note = 'new' where id = 5")
        .await;
    let why = "the key of s.orders was (\"id\") when this migration began and is (\"alt\") now";
    let (code, text) = run(&world).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains(why), "{text}");
    for command in ["verify", "switch"] {
        let (code, text) = told(&world, &[command]);
        assert_eq!(code, Some(2), "{command}: {text}");
        assert!(text.contains(why), "{command}: {text}");
    }
    // Given back, the run finds what the log tells of that time, and begins its stream anew.
    world
        .sql("alter table s.orders replica identity default")
        .await;
    let (code, text) = run(&world).await;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("a change of the key would not be told"),
        "{text}"
    );
    let _daemon = anew(&world).await;
    assert_equal(&world, "s.orders").await;
}

/// A publication must not make the application's own statements fail.
#[tokio::test]
async fn tables_whose_updates_the_server_would_refuse_once_published_are_refused() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id bigint primary key, alt bigint not null, note text,
                 twice bigint generated always as (alt * 2) stored) partition by range (id);
             create table s.\"Part \"\"1\"\"\" partition of s.orders for values from (0) to (1000);
             insert into s.orders select g, g + 1, 'n' from generate_series(1, 900) g;
             create table t.orders (id bigint primary key, note text);",
        )
        .await;
    module(&world, "id", "select id, note from source");
    let part = "s.\"Part \"\"1\"\"\"";
    world
        .sql(&format!("alter table {part} replica identity nothing"))
        .await;
    assert_refused(&world, "has no replica identity").await;
    world
        .sql(&format!(
            "create unique index by_alt on {part} (alt);
             alter table {part} replica identity using index by_alt"
        ))
        .await;
    assert_refused(&world, "a replica identity of other columns than the key").await;
    world
        .sql(&format!("alter table {part} replica identity full"))
        .await;
    let version: i32 = world
        .get("select current_setting('server_version_num')")
        .await
        .parse()
        .unwrap();
    if version >= 180_000 {
        assert_refused(&world, "REPLICA IDENTITY FULL and generated columns").await;
        world
            .sql(&format!("alter table {part} replica identity default"))
            .await;
    }
    let _daemon = streaming(&world).await;
    world
        .sql("update s.orders set note = 'new' where id < 10; delete from s.orders where id = 11")
        .await;
    world.caught_up().await;
    assert_equal(&world, "s.orders").await;
}

#[tokio::test]
async fn an_inheritance_child_without_a_key_is_written_on() {
    let world = orders().await;
    world
        .sql("create table s.archived () inherits (s.orders); insert into s.archived values (1, 1, 'a')")
        .await;
    module(&world, "id", "select id, note from source");
    let _daemon = streaming(&world).await;
    world
        .sql("update s.archived set note = 'b'; update s.orders set note = 'c' where id = 7; delete from s.archived")
        .await;
    world.caught_up().await;
    assert_equal(&world, "only s.orders").await;
}

/// Numbers that count downwards, numbers within a text, and those that no row shows yet.
#[tokio::test]
async fn every_sequence_of_the_new_tables_goes_on_where_the_old_one_stood() {
    let world = World::with(Options::default()).await;
    world
        .sql(
            "create schema s; create schema t; create sequence s.numbers; create sequence t.numbers;
             create sequence t.codes;
             create table s.orders (id int generated by default as identity (increment -1) primary key,
                 no text not null unique default 'A-' || nextval('s.numbers'), code text);
             create table t.orders (id int generated by default as identity (increment -1) primary key,
                 no text not null unique default 'A-' || nextval('t.numbers'),
                 label text default 'L' || nextval('t.codes'));
             insert into s.orders (code) select 'x' from generate_series(1, 300);
             select nextval('s.numbers');",
        )
        .await;
    module(&world, "id", "select id, no, code as label from source");
    let _daemon = streaming(&world).await;
    assert_eq!(told(&world, &["verify"]).0, Some(0));
    let output = world.run(&["switch"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let note = "no number says how far they must be: t.codes of t.orders (label)";
    assert!(text.contains(note), "{text}");
    world
        .sql("insert into t.orders (label) values ('first')")
        .await;
    let first = "select id || ' ' || no from t.orders where label = 'first'";
    assert_eq!(world.get(first).await, "-301 A-302");
}

/// Two rows of the source would share a row of the target.
#[tokio::test]
async fn a_key_that_the_target_would_round_is_refused() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id numeric primary key, note text);
             create table t.orders (id int primary key, note text)",
        )
        .await;
    module(&world, "id", "select id, note from source");
    assert_refused(&world, "would make other values of the key's numeric").await;
    world
        .sql("alter table t.orders alter id type numeric")
        .await;
    module(&world, "id", "select 1::numeric as id, 'x' as note");
    assert_refused(&world, "the SELECT does not read the relation `source`").await;
}

#[tokio::test]
async fn rows_of_others_in_a_target_are_no_rows_to_compare_or_remove() {
    let world = orders().await;
    world
        .sql("create table t.archive () inherits (t.orders)")
        .await;
    module(&world, "id", "select id, note from source");
    assert_refused(&world, "has inheritance children").await;
    world
        .sql(
            "alter table t.archive no inherit t.orders;
             create table s.us (id bigint primary key, note text)",
        )
        .await;
    world.module(
        "us",
        &[
            (
                "transform.toml",
                "source = \"s.us\"\n[[target]]\ntable = \"t.orders\"\nsource_key = [\"id\"]\nselect = \"o.sql\"\n",
            ),
            ("o.sql", "select id + 1000000 as id, note from source"),
        ],
    );
    world.config(&["m", "us"], "");
    assert_refused(&world, "several modules write t.orders").await;
}

/// Somebody rewrites the table by hand: the stream follows the one that was put aside.
#[tokio::test]
async fn a_table_that_was_replaced_by_another_of_its_name_is_not_switched() {
    let world = orders().await;
    module(&world, "id", "select id, note from source");
    let _daemon = streaming(&world).await;
    assert_eq!(told(&world, &["verify"]).0, Some(0));
    world
        .sql(
            "alter table s.orders rename to \"Gone\";
             create table s.orders (like s.\"Gone\" including all);
             insert into s.orders select * from s.\"Gone\";
             update s.orders set note = 'new' where id = 3",
        )
        .await;
    let output = world.run(&["switch"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("s.orders is called s.\"Gone\" by now"),
        "{text}"
    );
    // Nothing was renamed.
    world
        .sql("update s.orders set note = 'on' where id = 4")
        .await;
}

/// No change in the log tells of rows that come with a partition.
#[tokio::test]
async fn a_partition_that_is_attached_with_its_rows_takes_the_certificate_away() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id bigint primary key, note text) partition by range (id);
             create table s.first partition of s.orders for values from (0) to (1000);
             insert into s.orders select g, 'n' from generate_series(1, 900) g;
             create table t.orders (id bigint primary key, note text);",
        )
        .await;
    module(&world, "id", "select id, note from source");
    let _daemon = streaming(&world).await;
    assert_eq!(told(&world, &["verify"]).0, Some(0));
    world
        .sql(
            "create table s.second (like s.orders including all);
             insert into s.second select g, 'n' from generate_series(1001, 1011) g;
             alter table s.orders attach partition s.second for values from (1000) to (2000)",
        )
        .await;
    let (code, text) = told(&world, &["switch"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the certificate is void"), "{text}");
    let (code, text) = told(&world, &["verify"]);
    assert_eq!(code, Some(1), "{text}");
}

/// The role that moves the rows, with no more rights than it needs.
async fn minimal_role(world: &World) {
    world
        .sql(
            "create role mover login replication;
             grant create, temporary on database postgres to mover;
             alter schema s owner to mover; alter schema t owner to mover;
             alter table s.orders owner to mover; alter table t.orders owner to mover",
        )
        .await;
    module(world, "id", "select id, note from source");
    let path = world.dir.join("crossfade.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("postgres://postgres"), "{text}");
    std::fs::write(
        &path,
        text.replace("postgres://postgres", "postgres://mover"),
    )
    .unwrap();
}

/// A role that may not use replication origins has none, and needs no right to drop it.
#[tokio::test]
async fn a_role_with_no_more_rights_than_it_needs_can_abort() {
    let world = orders().await;
    minimal_role(&world).await;
    let mut daemon = streaming(&world).await;
    let (code, text) = told(&world, &["abort"]);
    assert_eq!(code, Some(0), "{text}");
    daemon.exit().await;
    // The guards are gone: it is anybody's table again.
    world.sql("insert into t.orders values (-1, 'mine')").await;
}

/// Rows that a policy hides must not look like rows that are not there: neither to the
/// stream, which would delete them, nor to a comparison, which would not miss them.
#[tokio::test]
async fn row_security_put_in_force_while_it_runs_is_an_error_and_hides_nothing() {
    let world = orders().await;
    minimal_role(&world).await;
    let mut daemon = streaming(&world).await;
    assert_eq!(told(&world, &["verify"]).0, Some(0));
    for table in ["s.orders", "t.orders"] {
        world
            .sql(&format!(
                "create policy visible on {table} using (id < 500);
                 alter table {table} enable row level security;
                 alter table {table} force row level security"
            ))
            .await;
    }
    world
        .sql("update s.orders set note = 'changed' where id between 490 and 510")
        .await;
    for command in ["verify", "switch"] {
        let (code, text) = told(&world, &[command]);
        assert_ne!(code, Some(0), "{command}: {text}");
    }
    assert_eq!(daemon.exit().await, 2);
    let log = daemon.log();
    assert!(log.contains("row-level security"), "{log}");
    assert!(log.contains("BYPASSRLS"), "{log}");
    world.sql("alter role mover bypassrls").await;
    let _daemon = world.daemon(&[]);
    world.caught_up().await;
    assert_equal(&world, "s.orders").await;
}

/// A replica identity is not inherited: the partition of next month has the primary key for
/// one, and an UPDATE of the key by which the table is followed would come without the old
/// row.
#[tokio::test]
async fn a_partition_with_another_identity_stops_the_daemon_before_a_change_of_a_key() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id bigint not null, ext bigint not null, month int not null,
                 note text, primary key (id, month), unique (ext, month)) partition by list (month);
             create table s.first partition of s.orders for values in (1);
             alter table s.orders replica identity using index orders_ext_month_key;
             alter table s.first replica identity using index first_ext_month_key;
             create table t.orders (ext bigint, month int, note text, primary key (ext, month));
             insert into s.orders select g, g, 1, 'n' || g from generate_series(1, 900) g",
        )
        .await;
    let toml = "source = 's.orders'\n[[target]]\ntable = 't.orders'\nsource_key = ['ext', 'month']\nselect = 'o.sql'\n";
    let select = "select ext, month, note from source";
    world.module("m", &[("transform.toml", toml), ("o.sql", select)]);
    world.config(&["m"], "");
    let mut daemon = streaming(&world).await;
    world
        .sql(
            "create table s.second partition of s.orders for values in (2);
             alter table s.second replica identity using index second_ext_month_key;
             insert into s.orders values (1001, 1001, 2, 'fits');
             update s.orders set ext = 1002 where ext = 1001",
        )
        .await;
    world.caught_up().await;
    let moved = "select string_agg(ext::text, ' ') from t.orders where month = 2";
    assert_eq!(world.get(moved).await, "1002");
    world
        .sql(
            "create table s.third partition of s.orders for values in (3);
             insert into s.orders select g, g, 3, 'new' from generate_series(9001, 9010) g",
        )
        .await;
    world
        .sql("update s.orders set ext = ext + 100 where month = 3")
        .await;
    assert_eq!(daemon.exit().await, 2);
    let log = daemon.log();
    assert!(
        log.contains("the replica identity of s.third does not contain the key"),
        "{log}"
    );
    // Only when it can be told again the stream begins anew, and then it finds out.
    let (code, text) = run(&world).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("s.third"), "{text}");
    world
        .sql("alter table s.third replica identity using index third_ext_month_key")
        .await;
    let _daemon = anew(&world).await;
    let select = "select ext, month, note from s.orders";
    assert_eq!(world.difference(select, "t.orders").await, (0, 0));
}

/// Chunks are ranges of the key: in another order they would be other rows.
#[tokio::test]
async fn a_key_that_sorts_otherwise_by_now_is_named_when_the_daemon_starts() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t;
             create table s.orders (id text primary key, note text);
             create table t.orders (id text primary key, note text);
             insert into s.orders select 'k' || g, 'n' from generate_series(1, 500) g",
        )
        .await;
    module(&world, "id", "select id, note from source");
    let mut daemon = streaming(&world).await;
    assert_eq!(daemon.stop().await, 0);
    world
        .sql(r#"alter table s.orders alter id type text collate "C""#)
        .await;
    let (code, text) = run(&world).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("another type or collation"), "{text}");
    world
        .sql(r#"alter table s.orders alter id type text collate "default""#)
        .await;
    let _daemon = streaming(&world).await;
    assert_equal(&world, "s.orders").await;
}
