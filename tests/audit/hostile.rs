//! Schemas and servers that an audit must survive: it reports what it can and says what
//! it could not look at.

use std::time::Duration;

use crossfade::audit::selection::Selection;
use crossfade::audit::{Audit, Finding, Options};

use crate::place::{Place, impatient};

const HOSTILE: &str = r#"
create schema "Odd ""Schema"" ÄÖ";
set search_path = "Odd ""Schema"" ÄÖ";
create table "Order ""Items"" ÄÖ" ("select" bigint primary key, "Ünit price; drop" double precision, "a.b" jsonb, "x'y" text, " || '' " text);
insert into "Order ""Items"" ÄÖ"
select i, i, '[{"k\"ey": 1, "b c": "x"}, {"k\"ey": 2, "b c": "y"}]', (array['a,b', 'b', 'a,b,c'])[1 + i % 3], (array['p;q', 'q', 'p;q;r'])[1 + i % 3] from generate_series(1, 60) i;
create table "child of it" (id int primary key, "Order ""Items"" ÄÖ" bigint);
insert into "child of it" select i, i from generate_series(1, 50) i;

create schema odd;
set search_path = odd;
create table measurements (taken_on date not null, sensor int not null, value float8, primary key (taken_on, sensor)) partition by range (taken_on);
create table measurements_2023 partition of measurements for values from ('2023-01-01') to ('2024-01-01');
create table measurements_2024 partition of measurements for values from ('2024-01-01') to ('2025-01-01') partition by list (sensor);
create table measurements_2024_1 partition of measurements_2024 for values in (1);
create table measurements_2024_rest partition of measurements_2024 default;
create index on measurements (sensor);
create index on only measurements (value);
insert into measurements select date '2023-06-01' + i, i % 3, i from generate_series(1, 400) i;
create table nothing_in_it partition of measurements for values from ('2030-01-01') to ('2031-01-01');

create table vehicles (id int primary key, plate text);
create table trucks (load_kg int) inherits (vehicles);
create table flying (wings int) inherits (trucks, vehicles);
insert into trucks select i, 'P' || i, i from generate_series(1, 30) i;

create type colour as enum ('red', 'Ro''t');
create type point3 as (x int, "y z" text);
create domain positive as int check (value > 0);
create domain very_positive as positive;
create domain document as jsonb;
create domain required as text not null;
create table typed (
    id very_positive primary key, c colour, p point3, ps point3[], r int4range, d document, t required,
    n numeric, inf numeric, big numeric(200, 0), b bytea, a text[], m money, i interval, bit bit(5), net inet, x xml,
    ts tsvector, o oid, loc point, generated int generated always as (id * 2) stored, t1 text generated always as ('x') stored);
insert into typed (id, c, p, ps, r, d, t, n, inf, big, b, a, m, i, bit, net, x, ts, o, loc)
select i, 'Ro''t', row (i, 'z')::point3, array[row (1, 'a')::point3], '[1,5)', '[{"a": 1}, {"a": 2}]', 't' || i, 'NaN', 'Infinity', repeat('9', 150)::numeric,
       '\xff', array['a', null], 5, '1 day', b'10101', '10.0.0.1', '<a/>', 'a b', i, '(1,2)' from generate_series(1, 60) i;

create table no_columns ();
insert into no_columns default values;
create table no_rows (id int primary key, vehicle_id int, created_at text, tags text, items jsonb);
create table one_row (id int primary key, a text);
insert into one_row values (1, null);
create table huge_values (id int primary key, body text, doc jsonb);
insert into huge_values select i, repeat('x,', 100000), jsonb_build_object('l', repeat('y', 100000)) from generate_series(1, 12) i;
create table infinite (id int primary key, created_at timestamptz, day date, ended_at timestamp);
insert into infinite values (1, 'infinity', '-infinity', '4713-01-01 bc'), (2, '294276-01-01', '5874897-01-01', null);
create unlogged table unlogged_one (id int primary key, code text);
create table self (id int primary key, self_id int references self, again int references self (id));
create table expressions (id int primary key, email text, exclude_me int4range, exclude using gist (exclude_me with &&));
create unique index on expressions (lower(email));
create index on expressions ((id + 1), email) where email like '%''%';
create index on expressions using hash (email);
create index on expressions using brin (id);
create view looks as select v.id, v.plate from vehicles v;
create materialized view looked as select * from looks;
create sequence lonely as smallint;
select setval('lonely', 30000);
create table deferred (id int primary key deferrable initially deferred, ref int references vehicles deferrable);
create extension file_fdw;
create server files foreign data wrapper file_fdw;
create foreign table far_away (a text, vehicle_id int) server files options (filename '/nonexistent/file.csv', format 'csv');
create temporary table gone_soon (id int);
analyze;
"#;

fn reported<'a>(audit: &'a Audit, rule: &str) -> Vec<&'a Finding> {
    audit.findings.iter().filter(|f| f.rule == rule).collect()
}

fn first_objects(audit: &Audit, rule: &str) -> Vec<String> {
    reported(audit, rule)
        .iter()
        .map(|f| f.objects[0].to_string())
        .collect()
}

#[test]
fn names_types_partitions_and_strange_tables_are_survived_and_reported() {
    let place = Place::open("odd");
    place.load(HOSTILE);
    place.settle();
    let audit = place.audit_as("postgres", &impatient());
    assert!(audit.unread.is_empty(), "{:?}", audit.unread);
    // Quotes, blanks, semicolons and dots are names like others.
    let odd = r#""Odd ""Schema"" ÄÖ"."Order ""Items"" ÄÖ""#;
    assert!(first_objects(&audit, "json-array").contains(&format!(r#"{odd}."a.b""#)));
    assert_eq!(
        first_objects(&audit, "list-in-text"),
        [format!(r#"{odd}." || '' ""#), format!(r#"{odd}."x'y""#)]
    );
    // A tree of partitions is one table; no partition is reported by itself.
    let tables: Vec<_> = audit
        .database
        .designed()
        .map(|t| t.name.to_string())
        .collect();
    assert!(tables.contains(&"odd.measurements".to_owned()));
    assert!(
        !tables
            .iter()
            .any(|t| t.contains("_2024") || t.contains("nothing_in_it"))
    );
    assert_eq!(
        audit
            .database
            .tables
            .iter()
            .find(|t| t.name.name == "measurements")
            .unwrap()
            .rows,
        Some(400)
    );
    assert_eq!(
        first_objects(&audit, "invalid-index"),
        ["odd.measurements_value_idx"]
    );
    // A domain's own type decides.
    assert!(first_objects(&audit, "json-array").contains(&"odd.typed.d".to_owned()));
    let keyless = first_objects(&audit, "no-primary-key");
    for table in ["odd.no_columns", "odd.trucks", "odd.flying"] {
        assert!(keyless.contains(&table.to_owned()), "{keyless:?}");
    }
    assert_eq!(first_objects(&audit, "integer-overflow"), ["odd.lonely"]);
    for finding in &audit.findings {
        place.sql(&format!(
            "reset search_path; begin read only; {}; rollback",
            finding.proof
        ));
        let json = serde_json::to_string(finding).unwrap();
        assert!(!json.contains("/nonexistent"), "{json}");
    }
}

#[test]
fn an_empty_database_has_no_findings() {
    let place = Place::open("nothing");
    let audit = place.audit();
    assert!(audit.findings.is_empty() && audit.unread.is_empty());
    let unknown = Options {
        schemas: vec!["shpo".to_owned()],
        ..Options::default()
    };
    let info = crossfade::pg::ConnInfo::parse(&place.url("postgres")).unwrap();
    let error = place
        .runtime
        .block_on(crossfade::audit::inspect(&info, &unknown, &mut |_| ()))
        .unwrap_err();
    assert!(error.to_string().contains("`shpo`"), "{error}");
}

#[test]
fn what_the_role_may_not_read_is_named_and_the_rest_is_looked_at() {
    let place = Place::open("guarded");
    place.load(
        "create role looker login;
         create table open_one (id int, note text);
         create table secret (id int, salary float8, created_at text);
         create table half (id int primary key, public_price float8, hidden text);
         create table rows_hidden (id int primary key, amount float8);
         insert into open_one select i, 'x' from generate_series(1, 30) i;
         insert into secret select i, i, '2024-01-01 10:00:00' from generate_series(1, 30) i;
         insert into half select i, i, '2024-01-01 10:00:00' from generate_series(1, 30) i;
         alter table rows_hidden enable row level security;
         create policy none_of_them on rows_hidden using (false);
         create schema closed; create table closed.inner_one (id int, total float8);
         create sequence counted; select nextval('counted');
         grant select on open_one, rows_hidden to looker;
         grant select (id, public_price) on half to looker;
         analyze;",
    );
    let audit = place.audit_as("looker", &Options::default());
    let unread: Vec<_> = audit.unread.iter().map(|u| u.object.as_str()).collect();
    assert_eq!(
        unread,
        ["closed.inner_one", "public.rows_hidden", "public.secret"]
    );
    // The catalog is open to all.
    assert!(first_objects(&audit, "float-for-money").contains(&"public.secret.salary".to_owned()));
    assert!(
        first_objects(&audit, "float-for-money").contains(&"public.half.public_price".to_owned())
    );
    // Values are not.
    assert!(reported(&audit, "time-as-text").is_empty());
    assert!(!audit.statements);
}

#[test]
fn nothing_is_written_and_no_lock_is_stronger_than_access_share() {
    let place = Place::open("busy");
    place.load(
        "create table parents (id bigint generated always as identity primary key, name text);
         create table children (id bigint generated always as identity primary key, parent_id bigint, items jsonb, note text);
         insert into parents (name) select 'n' || i from generate_series(1, 500) i;
         insert into children (parent_id, items, note) select 1 + i % 500, '[{\"a\": 1}, {\"a\": 2}]', 'x' from generate_series(1, 900) i;
         create table locked (id int primary key, note text);
         create table unlocked (id int primary key, note text);
         analyze;",
    );
    // What was loaded is counted before, not at some moment during the audit.
    place.settle();
    // EXCLUSIVE leaves room for ACCESS SHARE only: any stronger lock would wait and fail.
    let holder = place.another();
    holder.sql("begin; lock table parents, children, unlocked, pg_class, pg_attribute, pg_constraint, pg_index in exclusive mode; lock table locked in access exclusive mode");
    let before =
        place.get("select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables");
    let audit = place.audit();
    assert_eq!(
        first_objects(&audit, "missing-foreign-key"),
        ["public.children.parent_id"]
    );
    let unread: Vec<_> = audit.unread.iter().map(|u| u.object.as_str()).collect();
    assert_eq!(unread, ["public.locked"]);
    assert!(audit.unread[0].reason.contains("ACCESS EXCLUSIVE"));
    holder.sql("rollback");
    assert_eq!(
        before,
        place.get("select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables")
    );
}

#[test]
fn a_statement_that_takes_too_long_is_given_up_and_said() {
    let place = Place::open("slow");
    // Texts are counted where the whole table is asked, and nowhere else: that alone takes
    // too long, whatever the machine has to do besides.
    place.load(
        "create table big (id bigint primary key, customer_code text, customer_name text);
         insert into big select i, 'C' || i % 900, 'Name ' || i % 900 from generate_series(1, 40000) i;
         create function public.slow(n bigint, value text) returns bigint language plpgsql as
             $$ begin perform pg_catalog.pg_sleep(300); return n; end $$;
         create aggregate pg_catalog.count(text) (sfunc = public.slow, stype = bigint, initcond = '0');
         analyze;",
    );
    let options = Options {
        statement_timeout: Duration::from_secs(10),
        selection: Selection::new(&["functional-dependency".to_owned()], &[]).unwrap(),
        ..Options::default()
    };
    let audit = place.audit_as("postgres", &options);
    assert_eq!(audit.unread.len(), 1, "{:?}", audit.unread);
    assert!(audit.unread[0].reason.contains("timeout"));
    let found = reported(&audit, "functional-dependency");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].confidence.percent() < 70,
        "the sample alone says so"
    );
}

#[test]
fn an_index_counts_as_unused_only_when_the_server_has_counted_for_long() {
    let place = Place::open("idle");
    place.load(
        "create table t (id int primary key, a int, b int);
         insert into t select i, i, i from generate_series(1, 30000) i;
         create index on t (a); create index on t (b); analyze;
         set enable_seqscan = off; select * from t where a = 5;",
    );
    place.settle();
    assert!(reported(&place.audit(), "unused-index").is_empty());
    let audit = place.audit_as("postgres", &impatient());
    assert_eq!(first_objects(&audit, "unused-index"), ["public.t_b_idx"]);
}
