//! What a plan leaves to people, written out in its README: the SQL does what it says.

use crossfade::audit::Options;
use crossfade::audit::plan::Plan;

use crate::place::Place;

/// The plan for the only finding of a rule, which is left to people.
fn left(place: &Place, rule: &str) -> Plan {
    let audit = place.audit_as("postgres", &Options::default());
    let found: Vec<_> = audit.findings.iter().filter(|f| f.rule == rule).collect();
    assert_eq!(found.len(), 1, "{rule}: {found:?}");
    let url = place.url("postgres");
    let plan = place.runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        Plan::of(&audit.database, &found, &client).await.unwrap()
    });
    assert!(plan.migrations.is_empty(), "it is left to people");
    plan
}

/// The SQL that the plan writes out for the findings of a rule, as its README has it.
fn steps(place: &Place, rule: &str) -> String {
    let plan = left(place, rule);
    let files = plan.files("postgres://localhost/none");
    let readme = &files
        .iter()
        .find(|(p, _)| p.ends_with("README.md"))
        .unwrap()
        .1;
    let block = readme.split("```sql\n").nth(1).expect("no steps");
    block.split("\n  ```").next().unwrap().to_owned()
}

/// Runs the block as people would: one statement after the other.
fn run(place: &Place, steps: &str) {
    let mut statement = String::new();
    for line in steps.lines() {
        statement.push_str(line);
        statement.push('\n');
        let inside = ["$sync$", "$backfill$"]
            .iter()
            .any(|quote| statement.matches(quote).count() % 2 == 1);
        if line.ends_with(';') && !inside {
            place.sql(&statement);
            statement.clear();
        }
    }
    assert_eq!(statement.trim(), "");
}

fn rules(place: &Place) -> Vec<&'static str> {
    place.audit().findings.iter().map(|f| f.rule).collect()
}

#[test]
fn a_key_that_runs_out_is_widened_with_what_refers_to_it() {
    for (what, key) in [
        ("identity", "int generated always as identity"),
        ("serial", "serial"),
    ] {
        let place = Place::open("wide");
        place.load(&format!(
            "create table \"Event\" (id {key} primary key, note text not null);
             create table mark (id bigint primary key, event_id int not null references \"Event\" on delete cascade);
             create index mark_event on mark (event_id);
             select setval(pg_get_serial_sequence('\"Event\"', 'id'), 2100000000);
             insert into \"Event\" (note) select 'n' || i from generate_series(1, 12000) i;
             insert into mark select i, 2100000000 + i from generate_series(1, 12000) i;
             analyze"
        ));
        place.settle();
        let steps = steps(&place, "integer-overflow");
        run(&place, &steps);
        assert!(!rules(&place).contains(&"integer-overflow"), "{what}");
        place.sql("insert into \"Event\" (note) values ('after')");
        let type_of = |table: &str, column: &str| {
            place.get(&format!(
                "select format_type(atttypid, -1) || attnotnull from pg_attribute where attrelid = '{table}'::regclass and attname = '{column}'"
            ))
        };
        assert_eq!(type_of("\"Event\"", "id"), "biginttrue", "{what}");
        assert_eq!(type_of("mark", "event_id"), "biginttrue", "{what}");
        assert_eq!(
            place.get("select max(id) from \"Event\""),
            "2100012001",
            "{what}"
        );
        assert_eq!(
            place.get("select pg_get_constraintdef(oid) || convalidated from pg_constraint where contype = 'f'"),
            "FOREIGN KEY (event_id) REFERENCES \"Event\"(id) ON DELETE CASCADEtrue",
            "{what}"
        );
        assert_eq!(
            place.get("select count(*) from mark m join \"Event\" e on e.id = m.event_id"),
            "12000",
            "{what}"
        );
        assert_eq!(
            place.get("select count(*) from pg_trigger where not tgisinternal"),
            "0"
        );
    }
}

#[test]
fn a_foreign_key_of_a_partitioned_table_is_taken_over_from_its_partitions() {
    let place = Place::open("parts");
    place.load(
        "create table customers (id bigint primary key, title text not null);
         create table orders (id bigint, customer_id bigint not null, placed_on date not null, primary key (id, placed_on)) partition by range (placed_on);
         create table orders_2024 partition of orders for values from ('2024-01-01') to ('2025-01-01');
         create table orders_2025 partition of orders for values from ('2025-01-01') to ('2026-01-01') partition by hash (id);
         create table orders_2025_a partition of orders_2025 for values with (modulus 2, remainder 0);
         create table orders_2025_b partition of orders_2025 for values with (modulus 2, remainder 1);
         create index on orders (customer_id);
         insert into customers select i, 'c' || i from generate_series(1, 300) i;
         insert into orders select i, 1 + i % 300, date '2024-01-01' + i % 700 from generate_series(1, 5000) i;
         analyze",
    );
    place.settle();
    let steps = steps(&place, "missing-foreign-key");
    run(&place, &steps);
    assert!(!rules(&place).contains(&"missing-foreign-key"));
    assert_eq!(
        place.get("select string_agg(conrelid::regclass::text || convalidated, ' ' order by conrelid::regclass::text) from pg_constraint where contype = 'f' and confrelid = 'customers'::regclass and conparentid = 0"),
        "orderstrue"
    );
    assert!(place.fails("insert into orders values (9999, 777, '2025-06-01')"));
}

/// Everything that the swap drops is made again as it was.
#[test]
fn a_widened_key_has_what_the_narrow_one_had() {
    let place = Place::open("wider");
    place.load(
        "create role clerk;
         create table base (id bigint primary key);
         create table par (id int generated by default as identity constraint par_key primary key
             constraint par_base references base on delete cascade, x int);
         create table chi (id bigint primary key, par_id int not null default 2147400001
             constraint chi_par references par on delete cascade deferrable initially deferred);
         create table old (id bigint primary key, par_id int constraint old_par references par on update cascade);
         create index on chi (par_id); create index on old (par_id);
         insert into base select 2147400000 + i from generate_series(1, 3000) i;
         insert into par select 2147400000 + i, i from generate_series(1, 3000) i;
         insert into chi select i, 2147400001 + i % 3000 from generate_series(1, 8000) i;
         alter table old drop constraint old_par;
         insert into old values (1, 7);
         alter table old add constraint old_par foreign key (par_id) references par on update cascade not valid;
         comment on constraint chi_par on chi is 'Together';
         comment on column par.id is 'The key'; grant select (id) on par to clerk;
         alter table par cluster on par_key; alter table par replica identity using index par_key;
         select setval(pg_get_serial_sequence('par', 'id'), 2147403100);
         analyze",
    );
    place.settle();
    let said = "select string_agg(x, ' | ' order by x) from (
         select conname || ' ' || pg_get_constraintdef(oid) || coalesce(obj_description(oid, 'pg_constraint'), '') from pg_constraint where contype in ('f', 'p') and conrelid > 16384
         union all select coalesce(col_description(attrelid, attnum), '') || coalesce(attacl::text, '') || attnotnull from pg_attribute where attrelid = 'par'::regclass and attname = 'id'
         union all select coalesce(pg_get_expr(adbin, adrelid), '') from pg_attrdef where adrelid = 'chi'::regclass
         union all select indisclustered::text || indisreplident from pg_index where indexrelid = 'par_key'::regclass) s (x)";
    let before = place.get(said);
    assert!(
        before.contains("DEFERRABLE") && before.contains("clerk") && before.contains("Together")
    );
    run(&place, &steps(&place, "integer-overflow"));
    // The default of a bigint is written with its cast.
    let plain = |text: String| text.replace("'2147400001'::bigint", "2147400001");
    assert_eq!(plain(place.get(said)), plain(before));
    place.sql("begin; insert into chi values (9000, 2147403101); insert into base values (2147403101); insert into par (x) values (1); commit");
    assert_eq!(
        place.get("select max(id) from par"),
        "2147403101",
        "numbers that were given out are not given out again"
    );
    place.sql("delete from base where id = 2147403101");
    assert_eq!(place.get("select count(*) from chi where id = 9000"), "0");
    assert_eq!(
        place.get("select count(*) from information_schema.columns where column_name ~ 'narrow|wide' and table_schema = 'public'"),
        "0"
    );
}

#[test]
fn no_steps_are_written_out_that_would_lose_what_stands_on_a_column() {
    for (child, why) in [
        (
            "create table chi (par_id int primary key references par, z int)",
            "public.chi.par_id is in chi_pkey, which the new column would have to take over with its other columns",
        ),
        (
            "create table chi (id bigint primary key, par_id int references par, z int, unique (z, par_id))",
            "public.chi.par_id is in chi_z_par_id_key, which the new column would have to take over with its other columns",
        ),
        (
            "create table chi (id bigint primary key, par_id int references par constraint fine check (par_id > 5))",
            "public.chi.par_id has the CHECK fine, which the new column would have to take over",
        ),
        (
            "create table chi (id bigint, par_id int references par) partition by range (id)",
            "public.chi is partitioned, or inherits",
        ),
    ] {
        let place = Place::open("narrow");
        place.load(&format!(
            "create table par (id serial primary key, x int);
             insert into par select 2147400000 + i, i from generate_series(1, 500) i;
             select setval('par_id_seq', 2147400500);
             {child};
             analyze"
        ));
        place.settle();
        let plan = left(&place, "integer-overflow");
        assert!(plan.left[0].steps.is_none());
        assert!(plan.left[0].why.ends_with(why), "{}", plan.left[0].why);
    }
}
