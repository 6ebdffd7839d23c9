//! The comparison of schemas sees every kind of change.

use crossfade::migrate::snapshot::Snapshot;

use crate::database::Database;

const SCHEMA: &str = r#"
create role reader;
create schema s;
create type s.mood as enum ('good', 'bad');
create domain s.positive as int check (value > 0);
create type s.pair as (a int, b int);
create table s."Order ""Items"" ÄÖ" (id int primary key, a text, b int default 3, c int, e s.mood);
create table s.parted (id int, k int) partition by range (k);
create table s.part partition of s.parted for values from (0) to (10);
create collation s.plain from "C";
create table s.child (id int references s."Order ""Items"" ÄÖ" (id), n int);
create index a_index on s."Order ""Items"" ÄÖ" (a) where b > 1;
create view s.v as select id from s."Order ""Items"" ÄÖ";
create materialized view s.mv as select id from s.child;
create sequence s.counter;
create function s.f(int) returns int language sql as 'select $1';
create function s.tf() returns trigger language plpgsql as 'begin return new; end';
create trigger t before insert on s.child for each row execute function s.tf();
create policy p on s.child using (id > 1);
create publication pub for table s.child;
create statistics s.stat on id, n from s.child;
create rule r as on delete to s.child do instead nothing;
comment on table s.child is 'a child';
"#;

/// A change, and a word of what must be said of it.
const CHANGES: &[(&str, &str)] = &[
    (
        "alter table s.child add column x int",
        "column s.child.x is left over",
    ),
    (
        "alter table s.child drop column n cascade",
        "column s.child.n is missing",
    ),
    (
        "alter table s.child alter column n type bigint",
        "type is bigint, should be integer",
    ),
    (
        "alter table s.child alter column n set not null",
        "s.child.n: not null is yes",
    ),
    (
        "alter table s.child alter column n set default 4",
        "s.child.n: default is 4",
    ),
    (
        "alter table s.child alter column n set statistics 7",
        "s.child.n: statistics is 7",
    ),
    (
        r#"alter table s."Order ""Items"" ÄÖ" alter column a set storage external"#,
        "storage is e",
    ),
    (
        r#"alter table s."Order ""Items"" ÄÖ" alter column a type text collate "C""#,
        "collation is C",
    ),
    (
        "alter table s.child alter column n set not null, alter column n add generated always as identity",
        "s.child.n: identity is always",
    ),
    (
        "alter table s.child add constraint c check (n > 0)",
        "constraint s.child.c is left over",
    ),
    (
        "alter table s.child add constraint c check (n > 0) not valid",
        "constraint s.child.c",
    ),
    (
        "alter table s.child drop constraint child_id_fkey",
        "child_id_fkey is missing",
    ),
    ("drop index s.a_index", "index s.a_index is missing"),
    (
        "drop index s.a_index; create index a_index on s.\"Order \"\"Items\"\" ÄÖ\" (a)",
        "index s.a_index: definition",
    ),
    (
        "create or replace view s.v as select id, a from s.\"Order \"\"Items\"\" ÄÖ\"",
        "view s.v: definition",
    ),
    (
        "drop materialized view s.mv",
        "materialized view s.mv is missing",
    ),
    (
        "alter sequence s.counter increment 5",
        "sequence s.counter: sequence",
    ),
    (
        "alter sequence s.counter owned by s.child.n",
        "owned by is s.child.n",
    ),
    (
        "create or replace function s.f(int) returns int language sql as 'select $1 + 1'",
        "routine s.f(integer): definition",
    ),
    (
        "alter function s.f(int) security definer",
        "routine s.f(integer): definition",
    ),
    (
        "alter table s.child disable trigger t",
        "trigger s.child.t: enabled is no",
    ),
    ("drop trigger t on s.child", "trigger s.child.t is missing"),
    (
        "alter type s.mood add value 'so so' before 'bad'",
        "enum s.mood: labels",
    ),
    (
        "alter domain s.positive add check (value < 9)",
        "constraint s.positive",
    ),
    (
        "alter type s.pair add attribute c int",
        "type s.pair: attributes",
    ),
    (
        "alter policy p on s.child using (id > 2)",
        "policy s.child.p: definition",
    ),
    (
        "alter table s.child enable row level security",
        "row security is enabled",
    ),
    (
        "grant select on s.child to reader",
        "table s.child: privileges",
    ),
    (
        "grant select (n) on s.child to reader",
        "column s.child.n: privileges",
    ),
    (
        "alter table s.child owner to reader",
        "table s.child: owner is reader",
    ),
    (
        "alter default privileges in schema s grant select on tables to reader",
        "default privileges",
    ),
    (
        "comment on table s.child is 'another'",
        "table s.child: comment is another",
    ),
    (
        "comment on column s.child.n is 'n'",
        "column s.child.n: comment is n",
    ),
    (
        "create extension pg_stat_statements",
        "extension pg_stat_statements is left over",
    ),
    (
        "alter table s.parted detach partition s.part",
        "table s.part: inherits",
    ),
    (
        "alter publication pub set table s.child (id)",
        "publication pub: tables is s.child (id)",
    ),
    (
        "alter publication pub set (publish = 'insert')",
        "publication pub: publishes is insert",
    ),
    ("drop statistics s.stat", "statistics s.stat is missing"),
    ("drop rule r on s.child", "rule s.child.r is missing"),
    (
        "alter table s.child set (fillfactor = 70)",
        "options is fillfactor=70",
    ),
    (
        r#"alter table s."Order ""Items"" ÄÖ" set (toast.autovacuum_enabled = false)"#,
        "toast options is autovacuum_enabled=false",
    ),
    (
        "alter collation s.plain owner to reader",
        "collation s.plain: owner is reader",
    ),
    (
        "alter publication pub owner to reader",
        "publication pub: owner is reader",
    ),
    (
        "alter table s.child replica identity full",
        "replica identity is full",
    ),
    ("alter table s.part set unlogged", "persistence is u"),
    (
        "cluster s.\"Order \"\"Items\"\" ÄÖ\" using \"Order \"\"Items\"\" ÄÖ_pkey\"",
        "clustered is yes",
    ),
    ("create schema other", "schema other is left over"),
    (
        "create cast (s.pair as text) with inout",
        "cast s.pair as text is left over",
    ),
    (
        "create collation s.de (locale = 'C')",
        "collation s.de is left over",
    ),
    (
        "create operator s.=== (leftarg = int, rightarg = int, function = int4eq)",
        "operator",
    ),
];

#[tokio::test]
async fn every_kind_of_change_is_seen_and_nothing_else() {
    let database = Database::new().await;
    database.sql("create database base").await;
    let connect = async |name: &str| {
        let info = crossfade::pg::ConnInfo::parse(&database.server.url(name)).unwrap();
        crossfade::pg::connect(&info, "test").await.unwrap()
    };
    let mut base = connect("base").await;
    base.batch_execute(SCHEMA).await.unwrap();
    let expected = Snapshot::take(&mut base).await.unwrap();
    drop(base);
    let columns = database.publishes_columns().await;
    for (change, word) in CHANGES {
        if !columns && change.ends_with("set table s.child (id)") {
            continue;
        }
        // The server itself waits for sessions that are just ending, but not for long.
        for (what, sql) in [
            (
                "the database to be free",
                "drop database if exists changed with (force)",
            ),
            (
                "the template to be free",
                "create database changed template base",
            ),
        ] {
            crate::database::until(what, async || {
                database.client.batch_execute(sql).await.is_ok()
            })
            .await;
        }
        let mut changed = connect("changed").await;
        let same = Snapshot::take(&mut changed).await.unwrap();
        assert_eq!(expected.compare(&same), [], "a copy differs");
        changed
            .batch_execute(change)
            .await
            .unwrap_or_else(|e| panic!("{change}: {e:?}"));
        let found = Snapshot::take(&mut changed).await.unwrap();
        let words: Vec<String> = expected
            .compare(&found)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            words.iter().any(|w| w.contains(word)),
            "{change}: {words:?}"
        );
    }
}
