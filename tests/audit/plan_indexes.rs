//! A plan adds no index that the next audit would call superfluous.

use crossfade::audit::Options;
use crossfade::audit::fix::Fix;
use crossfade::audit::plan::{Plan, Script};

use crate::place::Place;
use crate::plan::{name, plan, shop, strings, there_and_back};

/// Applies what the plan of an audit has for these rules; the titles that the next audit has
/// of all rules on indexes.
fn after_the_plan(place: &Place, rules: &[&str]) -> Vec<String> {
    let audit = place.audit_as("postgres", &Options::default());
    let found: Vec<_> = audit
        .findings
        .iter()
        .filter(|f| rules.contains(&f.rule))
        .collect();
    for rule in rules {
        assert!(found.iter().any(|f| f.rule == *rule), "{rule}: {found:?}");
    }
    let url = place.url("postgres");
    let plan = place.runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        Plan::of(&audit.database, &found, &client).await.unwrap()
    });
    for entry in &plan.migrations {
        match &entry.migration.up {
            Script::Transaction(statements) | Script::Statements(statements) => {
                statements.iter().for_each(|s| place.sql(s));
            }
            Script::Nothing(_) => {}
        }
    }
    place.settle();
    let after = place.audit_as("postgres", &Options::default());
    let titles = after.findings.iter().filter(|f| f.rule.contains("index"));
    titles.map(|f| f.title.clone()).collect()
}

#[test]
fn an_index_that_another_new_one_begins_with_is_not_added() {
    let place = Place::open("prefix");
    place.load(
        "create table tenants (id int primary key, title text not null);
         create table customers (tenant_id int not null references tenants, id int not null, title text not null, primary key (tenant_id, id));
         create table invoices (
             id bigint generated always as identity primary key,
             tenant_id int not null references tenants on delete cascade,
             customer_id int not null,
             amount_cents bigint not null,
             foreign key (tenant_id, customer_id) references customers on delete cascade
         );
         insert into tenants select i, 't' || i from generate_series(1, 700) i;
         insert into customers select 1 + i % 700, i, 'c' || i from generate_series(1, 2000) i;
         insert into invoices (tenant_id, customer_id, amount_cents) select tenant_id, id, id * 3 from customers;
         analyze",
    );
    place.settle();
    let left = after_the_plan(&place, &["foreign-key-without-index"]);
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(
        place.get("select string_agg(indexdef, ' ' order by indexdef) from pg_indexes where tablename = 'invoices' and indexname <> 'invoices_pkey'"),
        "CREATE INDEX invoices_tenant_id_customer_id_idx ON public.invoices USING btree (tenant_id, customer_id)"
    );
}

#[test]
fn an_index_that_one_which_is_there_begins_with_is_not_added() {
    let place = Place::open("there");
    place.load(
        "create table visits (id bigint generated always as identity primary key, active boolean not null, seen_at timestamptz not null, page text not null);
         insert into visits (active, seen_at, page) select i % 2 = 0, timestamptz '2024-01-01' + i * interval '1 minute', 'p' || i from generate_series(1, 3000) i;
         create index visits_active_seen on visits (active, seen_at);
         create index visits_seen_page on visits (seen_at, page) where active;
         analyze",
    );
    place.settle();
    let left = after_the_plan(&place, &["boolean-first-index"]);
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn only_an_index_that_serves_every_search_of_the_new_one_stands_in_for_it() {
    let shop = shop(
        "create table s.t (id int primary key, a int, b text, c int);
         insert into s.t select g, g % 9, 'b' || g, g from generate_series(1, 100) g;
         create index hashed on s.t using hash (a);
         create index partial on s.t (a, c) where c > 3;
         create index pattern on s.t (b text_pattern_ops, c);
         create index mixed on s.t (c desc, b);
         create index going on s.t (a, b, c)",
    );
    let add = |columns: &[&str], unique| Fix::AddIndex {
        table: name("s.t"),
        columns: strings(columns),
        predicate: None,
        unique,
    };
    let fixes = vec![
        add(&["a"], false),
        add(&["b"], false),
        add(&["c", "b"], false),
        Fix::DropIndex {
            table: name("s.t"),
            index: name("s.going"),
            definition: shop.value("select pg_get_indexdef('s.going'::regclass)"),
        },
        add(&["c"], true),
    ];
    there_and_back(
        &shop,
        "s.t",
        fixes,
        "(select count(*) = 4 from pg_indexes where schemaname = 's' and indexdef ~ ' UNIQUE .*\\(c\\)$|\\((a|b|c, b)\\)$' and indexdef !~ 'hash')",
    );
    // Read backward, one that is all DESC is the same; and a new one in the place of two.
    shop.sql("create index backward on s.t (c desc, a desc)");
    let (made, _) = plan(
        &shop,
        vec![
            add(&["b"], false),
            add(&["c"], false),
            add(&["b", "a"], false),
            add(&["b", "a", "c"], false),
        ],
    );
    let names: Vec<_> = made
        .migrations
        .iter()
        .map(|e| e.migration.name.as_str())
        .collect();
    assert_eq!(names, ["index_t_b_a_c"]);
}
