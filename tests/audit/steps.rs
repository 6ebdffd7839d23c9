//! What a plan leaves to people, written out in its README: the SQL does what it says.

use crossfade::audit::Options;
use crossfade::audit::plan::Plan;

use crate::place::Place;

/// The SQL that the plan writes out for the findings of a rule, as its README has it.
fn steps(place: &Place, rule: &str) -> String {
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
