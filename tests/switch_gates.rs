//! Every gate of the switch refuses what it is there for: exit code 1, the gate named
//! with a remedy, nothing changed.

mod support;
mod switching;
mod workload;

use serde_json::Value;
use support::{Daemon, World, json};
use switching::{crossfade, fingerprint};

const TABLES: &str = r#"
create schema "Old S"; create schema t;
create role "the ""app""" login;
grant usage on schema "Old S", t to "the ""app""";
create table "Old S"."Or""ders ÄÖ" (id serial primary key, status text not null, n int);
create table t.orders (id bigserial primary key, status text not null, n int);
create table t.items (order_id bigint primary key, n int);
insert into "Old S"."Or""ders ÄÖ" (status, n) select 'old', g from generate_series(1, 30) g;
"#;

const MODULE: &[(&str, &str)] = &[
    (
        "transform.toml",
        r#"
source = '"Old S"."Or""ders ÄÖ"'
[[target]]
table = "t.orders"
source_key = ["id"]
select = "orders.sql"
rename_to = '"Old S"."Or""ders ÄÖ"'
[[target]]
table = "t.items"
source_key = ["order_id"]
select = "items.sql"
"#,
    ),
    (
        "orders.sql",
        "select o.id, o.status::text, o.n from source o",
    ),
    (
        "items.sql",
        "select o.id as order_id, 10 / o.n as n from source o",
    ),
];

/// A migration of a few rows, streaming and verified.
async fn verified() -> (World, Daemon) {
    let (world, daemon) = begun("").await;
    world.settled().await;
    verify(&world).await;
    (world, daemon)
}

async fn begun(extra: &str) -> (World, Daemon) {
    let world = World::new().await;
    world.sql(TABLES).await;
    world.module("orders", MODULE);
    world.config(&["orders"], extra);
    let daemon = world.daemon(&[]);
    world
        .until(
            "the copy to begin",
            "select phase in ('copying', 'streaming') from crossfade.migration",
        )
        .await;
    (world, daemon)
}

async fn verify(world: &World) {
    let output = crossfade(world, &["verify"], &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", json(&output));
}

/// The only check of this name that was not passed.
#[track_caller]
fn failed(report: &Value, gate: &str) -> (String, String) {
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["passed"] == false)
        .collect();
    assert_eq!(failed.len(), 1, "{gate}: {failed:#?}");
    assert_eq!(failed[0]["name"], gate);
    let text = |key: &str| failed[0][key].as_str().unwrap().to_owned();
    (text("found"), text("remedy"))
}

/// Runs `switch` and asserts that this gate alone refuses it and nothing changes;
/// `words` must be found in what it found or in its remedy.
async fn assert_refused(world: &World, gate: &str, words: &[&str]) {
    refused_with(world, &[], &[], gate, words).await;
}

async fn refused_with(
    world: &World,
    arguments: &[&str],
    environment: &[(&str, &str)],
    gate: &str,
    words: &[&str],
) {
    let before = fingerprint(world).await;
    let arguments = [&["switch"], arguments].concat();
    let output = crossfade(world, &arguments, environment).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "not_switched", "{gate}: {report:#}");
    assert_eq!(output.status.code(), Some(1), "{gate}");
    let (found, remedy) = failed(&report, gate);
    for word in words {
        assert!(
            found.contains(word) || remedy.contains(word),
            "{gate}: {word} is in neither\n{found}\n{remedy}"
        );
    }
    assert!(!remedy.is_empty(), "{gate} has no remedy");
    assert_eq!(fingerprint(world).await, before, "{gate}");
}

/// What stays with the old table or is missing from the new ones.
const DEPENDENTS: &[(&str, &str, &[&str], &str)] = &[
    (
        r#"create view t."a ""view""" as select id from "Old S"."Or""ders ÄÖ""#,
        "references",
        &[r#"view t."a ""view""#, "point these"],
        r#"drop view t."a ""view""""#,
    ),
    (
        r#"create materialized view t.kept as select id from "Old S"."Or""ders ÄÖ""#,
        "references",
        &["materialized view t.kept"],
        "drop materialized view t.kept",
    ),
    (
        r#"create table t.child (o int references "Old S"."Or""ders ÄÖ")"#,
        "references",
        &["foreign key child_o_fkey of t.child"],
        "drop table t.child",
    ),
    (
        r#"create function t.count_them() returns bigint begin atomic select count(*) from "Old S"."Or""ders ÄÖ"; end"#,
        "references",
        &["function t.count_them()"],
        "drop function t.count_them",
    ),
    (
        r#"create rule "no ""thing""" as on delete to "Old S"."Or""ders ÄÖ" where old.id < 0 do instead nothing"#,
        "rules",
        &[r#"rule "no ""thing""#],
        r#"drop rule "no ""thing""" on "Old S"."Or""ders ÄÖ""#,
    ),
    (
        r#"grant select, insert on "Old S"."Or""ders ÄÖ" to "the ""app"""; grant select, insert on t.items to "the ""app""""#,
        "grants",
        &[
            r#"GRANT INSERT, SELECT ON TABLE t.orders TO "the ""app""""#,
            r#"GRANT USAGE ON SEQUENCE t.orders_id_seq TO "the ""app""""#,
        ],
        r#"revoke all on "Old S"."Or""ders ÄÖ", t.items from "the ""app""""#,
    ),
    (
        r#"grant update (status) on "Old S"."Or""ders ÄÖ" to "the ""app""""#,
        "grants",
        &[r#"GRANT UPDATE (status) ON TABLE t.orders TO "the ""app""""#],
        r#"revoke update (status) on "Old S"."Or""ders ÄÖ" from "the ""app""""#,
    ),
    (
        r#"grant select on "Old S"."Or""ders ÄÖ", t.orders, t.items to public; revoke usage on schema t from "the ""app""""#,
        "grants",
        &["GRANT USAGE ON SCHEMA t TO PUBLIC"],
        r#"revoke select on "Old S"."Or""ders ÄÖ", t.orders, t.items from public; grant usage on schema t to "the ""app""""#,
    ),
    (
        r#"create policy "mine ""only""" on "Old S"."Or""ders ÄÖ" using (id > 0); alter table "Old S"."Or""ders ÄÖ" enable row level security;
           alter table t.items enable row level security; create policy p on t.items using (n > 0)"#,
        "row_security",
        &["of t.orders", "ENABLE ROW LEVEL SECURITY"],
        r#"drop policy "mine ""only""" on "Old S"."Or""ders ÄÖ"; alter table "Old S"."Or""ders ÄÖ" disable row level security;
           drop policy p on t.items; alter table t.items disable row level security"#,
    ),
    (
        r#"create function t.audit() returns trigger language plpgsql as 'begin return new; end';
           create trigger "au ""dit""" before insert on "Old S"."Or""ders ÄÖ" for each row execute function t.audit()"#,
        "triggers",
        &[r#"trigger "au ""dit""#],
        "drop function t.audit cascade",
    ),
    (
        r#"create publication "for ""others""" for table "Old S"."Or""ders ÄÖ", t.items"#,
        "publications",
        &[r#"publication "for ""others""#],
        r#"drop publication "for ""others""""#,
    ),
    (
        r#"create table t.heir () inherits ("Old S"."Or""ders ÄÖ")"#,
        "inheritance",
        &["t.heir inherits from", "NO INHERIT"],
        "drop table t.heir",
    ),
    (
        r#"create table t."Cust ""s""" (id int primary key);
           insert into t."Cust ""s""" select generate_series(1, 30);
           alter table "Old S"."Or""ders ÄÖ" add constraint "of ""c""" foreign key (n)
           references t."Cust ""s""" on delete set null"#,
        "cascades",
        &[
            r#""of ""c""""#,
            r#"ALTER TABLE "Old S"."Or""ders ÄÖ" DROP CONSTRAINT"#,
        ],
        r#"alter table "Old S"."Or""ders ÄÖ" drop constraint "of ""c""""#,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_old_table_is_named_and_can_be_accepted_by_name_alone() {
    let (world, mut daemon) = verified().await;
    for (make, gate, words, undo) in DEPENDENTS {
        world.sql(make).await;
        assert_refused(&world, gate, words).await;
        // Another name does not do; this one does.
        let other = if *gate == "rules" {
            "triggers"
        } else {
            "rules"
        };
        refused_with(&world, &["--accept", other], &[], gate, words).await;
        let output = crossfade(&world, &["switch", "--rehearse", "--accept", gate], &[]).await;
        let report = json(&output);
        assert_eq!(report["outcome"], "rehearsed", "{gate}: {report:#}");
        let accepted = |c: &&Value| c["outcome"] == "accepted";
        let checks = report["checks"].as_array().unwrap();
        assert_eq!(checks.iter().find(accepted).unwrap()["name"], *gate);
        world.sql(undo).await;
    }
    let unknown = world.run(&["switch", "--accept", "daemon"]);
    assert_eq!(unknown.status.code(), Some(2));
    // A comment is worth a note and no more.
    world
        .sql(r#"comment on table "Old S"."Or""ders ÄÖ" is 'orders'"#)
        .await;
    let output = crossfade(&world, &["switch"], &[]).await;
    let report = json(&output);
    assert_eq!(report["outcome"], "switched", "{report:#}");
    let notes = report["checks"].as_array().unwrap().iter();
    let notes: Vec<_> = notes.filter(|c| c["outcome"] == "note").collect();
    assert!(notes.iter().any(|c| c["name"] == "comments"), "{notes:?}");
    assert_eq!(daemon.exit().await, 0);
}

/// What hangs on one partition of the old table alone, `s.us`.
const ON_A_PARTITION: &[(&str, &str, &[&str], &str)] = &[
    (
        "create view t.us_only as select id from s.us",
        "references",
        &["view t.us_only (refers to s.us)"],
        "drop view t.us_only",
    ),
    (
        "create table t.child (id int, reg text, foreign key (id, reg) references s.us)",
        "references",
        &["foreign key child_id_reg_fkey of t.child (refers to s.us)"],
        "drop table t.child",
    ),
    (
        "create function t.count_us() returns bigint begin atomic select count(*) from s.us; end",
        "references",
        &["function t.count_us() (refers to s.us)"],
        "drop function t.count_us",
    ),
    (
        "create rule silent as on delete to s.us where old.id < 0 do instead nothing",
        "rules",
        &["rule silent on s.us"],
        "drop rule silent on s.us",
    ),
    (
        "grant select on s.us to app",
        "grants",
        &[
            "app has SELECT on s.us and lacks it on TABLE t.orders",
            r#"GRANT SELECT ON TABLE t.orders TO "app" (it will see more than s.us)"#,
        ],
        "revoke select on s.us from app",
    ),
    (
        "create policy p on s.us using (id > 0); alter table s.us enable row level security",
        "row_security",
        &["row security of s.us is not that of t.orders"],
        "drop policy p on s.us; alter table s.us disable row level security",
    ),
    (
        "create function t.audit() returns trigger language plpgsql as 'begin return new; end';
         create trigger audit before insert on s.us for each row execute function t.audit()",
        "triggers",
        &["trigger audit on s.us"],
        "drop function t.audit cascade",
    ),
    (
        "create publication us_only for table s.us",
        "publications",
        &["publication us_only of s.us"],
        "drop publication us_only",
    ),
];

/// A partitioned table and a new one in its place, streaming and verified.
async fn partitioned() -> (World, Daemon) {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t; create role app; grant usage on schema s, t to app;
             create table s.orders (id int, reg text, n int, primary key (id, reg)) partition by list (reg);
             create table s.eu partition of s.orders for values in ('eu');
             create table s.us partition of s.orders for values in ('us');
             create table t.orders (id int, reg text, n int, primary key (id, reg));
             insert into s.orders select g, case g % 2 when 0 then 'eu' else 'us' end, g
             from generate_series(1, 30) g",
        )
        .await;
    let module = "source = 's.orders'\n[[target]]\ntable = 't.orders'\n\
                  source_key = ['id', 'reg']\nselect = 'orders.sql'\n";
    let select = "select o.id, o.reg, o.n from source o";
    let files = [("transform.toml", module), ("orders.sql", select)];
    world.module("orders", &files);
    world.config(&["orders"], "");
    let daemon = world.daemon(&[]);
    world.settled().await;
    verify(&world).await;
    (world, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_a_partition_of_the_old_table_is_named_like_what_hangs_on_the_table() {
    let (world, mut daemon) = partitioned().await;
    for (make, gate, words, undo) in ON_A_PARTITION {
        world.sql(make).await;
        assert_refused(&world, gate, words).await;
        world.sql(undo).await;
    }
    // What partitions have from their table is the table's, and the new one has it too.
    world
        .sql(
            "create function t.audit() returns trigger language plpgsql as 'begin return new; end';
             create trigger audit before insert on s.orders for each row execute function t.audit();
             create trigger audit before insert on t.orders for each row execute function t.audit();
             create publication old_and_new for table s.orders, t.orders;
             grant select on s.orders, s.us, t.orders to app",
        )
        .await;
    let report = json(&crossfade(&world, &["switch"], &[]).await);
    assert_eq!(report["outcome"], "switched", "{report:#}");
    assert_eq!(daemon.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_writes_the_old_table_is_a_gate_under_every_strategy() {
    let (world, _daemon) = verified().await;
    world.sql("create database publisher").await;
    let url = world.server.url("publisher");
    let publisher = crossfade::pg::ConnInfo::parse(&url).unwrap();
    let publisher = crossfade::pg::connect(&publisher, "test").await.unwrap();
    for sql in [
        r#"create schema "Old S";
           create table "Old S"."Or""ders ÄÖ" (id serial primary key, status text, n int);
           create publication feed for table "Old S"."Or""ders ÄÖ""#,
        "select pg_create_logical_replication_slot('feed', 'pgoutput')",
    ] {
        publisher.batch_execute(sql).await.unwrap();
    }
    world
        .sql(&format!(
            r#"create subscription "the ""feed""" connection '{url}' publication feed
               with (create_slot = false, slot_name = 'feed', copy_data = false, enabled = false)"#
        ))
        .await;
    let words = [
        r#"subscription "the ""feed""" writes "Old S"."Or""ders ÄÖ""#,
        r#"DROP SUBSCRIPTION "the ""feed""""#,
    ];
    assert_refused(&world, "subscriptions", &words).await;
    let accepted = ["switch", "--rehearse", "--accept", "subscriptions"];
    let report = json(&crossfade(&world, &accepted, &[]).await);
    assert_eq!(report["outcome"], "rehearsed", "{report:#}");
    world.config(&["orders"], "[switch]\nstrategy = 'columns'");
    let report = json(&crossfade(&world, &["switch"], &[]).await);
    let checks = report["checks"].as_array().unwrap();
    let gate = checks.iter().find(|c| c["name"] == "subscriptions");
    assert_eq!(gate.unwrap()["passed"], false, "{report:#}");
    world.config(&["orders"], "");
    world
        .sql(
            r#"alter subscription "the ""feed""" set (slot_name = none);
               drop subscription "the ""feed""""#,
        )
        .await;
    let report = json(&crossfade(&world, &["switch", "--rehearse"], &[]).await);
    assert_eq!(report["outcome"], "rehearsed", "{report:#}");
}

/// The note of a rehearsal that goes well, by its name.
async fn rehearsed(world: &World, name: &str) -> (String, String) {
    let report = json(&crossfade(world, &["switch", "--rehearse"], &[]).await);
    assert_eq!(report["outcome"], "rehearsed", "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == name).unwrap();
    let text = |key: &str| check[key].as_str().unwrap().to_owned();
    (text("outcome"), text("found"))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_name_the_old_table_in_their_text_are_worth_a_note() {
    let (world, _daemon) = verified().await;
    world
        .sql(
            r#"create function t.writes() returns void language plpgsql as
                   $$begin insert into "Old S"."Or""ders ÄÖ" (status) values ('x'); end$$;
               create function t.reads() returns bigint language sql
                   set search_path = "Old S" as 'select count(*) from "Or""ders ÄÖ"';
               create function t.speaks() returns text language plpgsql as
                   $$begin return 'x'; -- of "Old S"."Or""ders ÄÖ"
                     end$$"#,
        )
        .await;
    let (outcome, found) = rehearsed(&world, "references").await;
    assert_eq!(outcome, "note", "{found}");
    let words = r#"bodies that name "Old S"."Or""ders ÄÖ": t.reads(), t.writes()"#;
    assert!(found.ends_with(words), "{found}");
    world
        .sql("drop function t.writes; drop function t.reads")
        .await;
    assert_eq!(rehearsed(&world, "references").await.0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_a_snapshot_over_the_switch_is_named() {
    let (world, _daemon) = verified().await;
    let reader = world.open().await;
    reader
        .batch_execute(
            "set application_name = 'report'; begin isolation level repeatable read; select 1",
        )
        .await
        .unwrap();
    let pid = "select pg_backend_pid()";
    let pid: i32 = reader.query_one(pid, &[]).await.unwrap().get(0);
    let (outcome, found) = rehearsed(&world, "snapshots").await;
    assert_eq!(outcome, "note", "{found}");
    let words = format!("pid {pid} (\"report\"");
    assert!(found.contains(&words), "{found}");
    // One that takes a new snapshot for each statement sees what is there.
    reader
        .batch_execute("rollback; begin; select 1")
        .await
        .unwrap();
    assert_eq!(rehearsed(&world, "snapshots").await.0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_a_new_table_has_too_and_a_publication_of_all_tables_pass() {
    let (world, mut daemon) = verified().await;
    world
        .sql(
            r#"create function t.audit() returns trigger language plpgsql as 'begin return new; end';
               create trigger audit before insert on "Old S"."Or""ders ÄÖ" for each row execute function t.audit();
               create trigger checked before insert on t.orders for each row execute function t.audit();
               create publication everything for all tables"#,
        )
        .await;
    let report = json(&crossfade(&world, &["switch"], &[]).await);
    assert_eq!(report["outcome"], "switched", "{report:#}");
    assert_eq!(daemon.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_be_there_of_these_modules_and_fresh() {
    let (world, _daemon) = begun("").await;
    world.settled().await;
    let remedy = "run `crossfade verify`";
    assert_refused(&world, "certificate", &["none", remedy]).await;
    verify(&world).await;
    world
        .sql("update crossfade.certificate set verified_at = verified_at - interval '49 hours'")
        .await;
    assert_refused(&world, "certificate", &["49.0 h ago", remedy]).await;
    world.config(&["orders"], "[switch]\nmax_certificate_age_hours = 50");
    let output = crossfade(&world, &["switch", "--rehearse"], &[]).await;
    assert_eq!(json(&output)["outcome"], "rehearsed");
    world.config(&["orders"], "[switch]\nmax_changed_keys = 5");
    verify(&world).await;
    world
        .sql(r#"update "Old S"."Or""ders ÄÖ" set status = 'new' where id <= 6"#)
        .await;
    world.caught_up().await;
    assert_refused(&world, "certificate", &["more than 5 keys", remedy]).await;
    world
        .sql("update crossfade.certificate set module_hash = 'another'")
        .await;
    assert_refused(&world, "certificate", &["another text", remedy]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_that_verify_found_keeps_the_old_world() {
    let (world, _daemon) = verified().await;
    world
        .sql("set crossfade.session = on; update t.orders set status = 'wrong' where id = 7; reset crossfade.session")
        .await;
    let output = crossfade(&world, &["verify"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_refused(&world, "certificate", &["none"]).await;
}

/// The certificate is good; what changed since is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_difference_in_what_changed_since_the_certificate_keeps_the_old_world() {
    let (world, _daemon) = verified().await;
    world
        .sql(r#"update "Old S"."Or""ders ÄÖ" set status = 'new' where id = 7"#)
        .await;
    world.caught_up().await;
    world
        .sql("set crossfade.session = on; update t.orders set status = 'wrong' where id = 7; reset crossfade.session")
        .await;
    let before = fingerprint(&world).await;
    for word in ["1 rows changed since", "certificate: none"] {
        let output = crossfade(&world, &["switch"], &[]).await;
        let report = json(&output);
        assert_eq!(output.status.code(), Some(1), "{report}");
        let why = report["reason"].as_str().unwrap();
        assert!(why.contains(word), "{why}");
        assert_eq!(fingerprint(&world).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_switched_before_the_copy_is_complete() {
    let (world, _daemon) = begun("[copy]\nbatch_rows = 1\nworkers = 1\nsleep_ms = 10000").await;
    let before = fingerprint(&world).await;
    let output = crossfade(&world, &["switch", "--unverified"], &[]).await;
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    let (found, remedy) = failed(&report, "copy_complete");
    assert!(found.contains("copying"), "{found}");
    assert!(remedy.contains("status"), "{remedy}");
    assert_eq!(fingerprint(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_switched_while_the_stream_lags() {
    let (world, _daemon) = verified().await;
    world.config(&["orders"], "[switch]\nmax_lag_seconds = 0.3");
    let holder = world.open().await;
    holder
        .batch_execute("begin; select from crossfade.checkpoint for update")
        .await
        .unwrap();
    world
        .sql(r#"update "Old S"."Or""ders ÄÖ" set status = 'new' where id = 3"#)
        .await;
    world
        .until("lag", "select lag_seconds > 0.5 from crossfade.daemon")
        .await;
    assert_refused(&world, "lag", &["caught up"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_switched_while_bad_rows_are_in_quarantine_unless_their_number_is_accepted() {
    let (world, mut daemon) = verified().await;
    world
        .sql(r#"update "Old S"."Or""ders ÄÖ" set n = 0 where id in (3, 4)"#)
        .await;
    world.caught_up().await;
    verify(&world).await;
    let words = ["2 bad rows", "--accept-quarantined 2"];
    assert_refused(&world, "quarantine", &words).await;
    refused_with(
        &world,
        &["--accept-quarantined", "1"],
        &[],
        "quarantine",
        &words,
    )
    .await;
    let output = crossfade(&world, &["switch", "--accept-quarantined", "2"], &[]).await;
    assert_eq!(json(&output)["outcome"], "switched", "{}", json(&output));
    assert_eq!(daemon.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_switch_needs_must_be_free() {
    let (world, _daemon) = verified().await;
    world
        .sql(r#"create table "Old S"."Or""ders ÄÖ_old" ()"#)
        .await;
    assert_refused(&world, "free_names", &["exists", "rename or drop"]).await;
    // What goes along with a table into another schema needs its name there too.
    world
        .sql(
            r#"drop table "Old S"."Or""ders ÄÖ_old";
               create table "Old S".other (id int constraint orders_pkey primary key)"#,
        )
        .await;
    assert_refused(
        &world,
        "free_names",
        &[
            "orders_pkey exists in schema",
            r#"ALTER INDEX "t"."orders_pkey" RENAME TO"#,
        ],
    )
    .await;
}

/// What only one strategy needs is a gate like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_cannot_be_left_out_keeps_a_split_in_place_from_switching() {
    let world = World::new().await;
    world
        .sql(
            "create schema s; create schema t; create domain s.must as text not null;
             create table s.orders (id int primary key, note s.must);
             create table t.notes (id int primary key, note text not null);
             insert into s.orders select g, 'n' from generate_series(1, 30) g",
        )
        .await;
    let files = [
        (
            "transform.toml",
            "source = 's.orders'\nmoved = ['note']\n[[target]]\ntable = 't.notes'\nsource_key = ['id']\n\
             select = 'notes.sql'\n[reverse]\nselect = 'reverse.sql'\n",
        ),
        (
            "notes.sql",
            "select o.id, o.note::text as note from source o",
        ),
        ("reverse.sql", "select n.id, n.note from t.notes n"),
    ];
    world.module("notes", &files);
    world.config(&["notes"], "[switch]\nstrategy = 'columns'\n");
    let _daemon = world.daemon(&[]);
    world.settled().await;
    // Made after the copy; until then its lack is a second reason to refuse.
    world
        .until(
            "the slot of the way back",
            "select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null",
        )
        .await;
    verify(&world).await;
    let words = ["note", "NOT NULL"];
    assert_refused(&world, "optional_columns", &words).await;
}

/// A wait as long as the server's look for deadlocks could make a client its victim.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_timeout_must_be_below_the_servers_deadlock_timeout() {
    let (world, _daemon) = verified().await;
    world.config(&["orders"], "[switch]\nlock_timeout_ms = 1000");
    assert_refused(&world, "lock_timeout", &["below 1000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_the_switch_needs_are_checked_before_the_lock() {
    let (world, _daemon) = verified().await;
    world
        .sql(
            r#"create role "mo""ver" login; create role shop_owner;
               grant usage on schema crossfade, "Old S", t to "mo""ver";
               grant all on all tables in schema crossfade to "mo""ver";
               grant all on all tables in schema "Old S", t to "mo""ver";
               alter table "Old S"."Or""ders ÄÖ" owner to shop_owner;
               grant usage on schema t, "Old S" to shop_owner; grant all on all tables in schema t to shop_owner;
               grant usage on all sequences in schema t to shop_owner, "mo""ver""#,
        )
        .await;
    let url = world
        .server
        .url("postgres")
        .replacen("://postgres", "://mo%22ver", 1);
    let environment = [("CROSSFADE_SOURCE_URL", url.as_str())];
    let words = [
        "belongs to shop_owner",
        r#"GRANT "shop_owner" TO "mo""ver""#,
        r#"GRANT CREATE ON SCHEMA "t" TO "mo""ver""#,
        r#"GRANT SELECT, UPDATE ON SEQUENCE t.orders_id_seq TO "mo""ver""#,
    ];
    refused_with(
        &world,
        &["--unverified"],
        &environment,
        "privileges",
        &words,
    )
    .await;
}
