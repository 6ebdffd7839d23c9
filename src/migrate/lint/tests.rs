//! Texts with known faults, with and without a database's facts.

use std::collections::BTreeMap;

use super::*;
use crate::migrate::facts::{Column, Table};

fn orders(rows: f64, bytes: f64) -> Facts {
    let column = |ty: &str| Column {
        ty: ty.to_owned(),
        not_null: false,
    };
    Facts {
        known: true,
        visible: vec!["public".to_owned()],
        tables: vec![Table {
            schema: "public".to_owned(),
            name: "orders".to_owned(),
            rows,
            bytes,
            index_bytes: bytes / 4.0,
            columns: BTreeMap::from([
                ("id".to_owned(), column("bigint")),
                ("note".to_owned(), column("character varying(20)")),
                ("paid".to_owned(), column("text")),
            ]),
            checks: vec!["CHECK ((paid IS NOT NULL))".to_owned()],
            unproven: Vec::new(),
        }],
        ..Facts::default()
    }
}

fn rules(text: &str, context: &Context) -> Vec<(String, Severity)> {
    lint(text, context)
        .into_iter()
        .map(|f| (f.rule, f.severity))
        .collect()
}

fn in_transaction(facts: Facts) -> Context {
    Context {
        in_transaction: true,
        down: false,
        facts,
    }
}

#[test]
fn the_size_of_the_table_decides_how_bad_a_lock_is() {
    let text = "create index i on orders (note);";
    let rule = "require-concurrent-index-creation".to_owned();
    for (facts, severity) in [
        (Facts::default(), Severity::Warning),
        (orders(100.0, 8192.0), Severity::Notice),
        (orders(2e6, 400e6), Severity::Warning),
        (orders(2e8, 40e9), Severity::Error),
    ] {
        let found = rules(text, &in_transaction(facts));
        assert_eq!(found, [(rule.clone(), severity)]);
    }
    let finding = &lint(text, &in_transaction(orders(2e8, 40e9)))[0];
    assert!(finding.held.unwrap() > Duration::from_secs(100));
    assert!(
        finding.message.contains("SHARE on public.orders"),
        "{}",
        finding.message
    );
    assert!(
        finding.message.contains("writes wait about 7 min"),
        "{}",
        finding.message
    );
    assert_eq!(
        finding.instead.as_deref(),
        Some("-- no-transaction\ncreate index concurrently i on orders (note);")
    );
}

#[test]
fn what_a_database_disproves_is_not_reported() {
    let text = "alter table orders alter column note type varchar(30);
                alter table orders alter column paid set not null;";
    let without = rules(text, &in_transaction(Facts::default()));
    assert!(
        without.iter().any(|f| f.0 == "changing-column-type"),
        "{without:?}"
    );
    assert!(
        without.iter().any(|f| f.0 == "adding-not-nullable-field"),
        "{without:?}"
    );
    let known = rules(text, &in_transaction(orders(1e7, 4e9)));
    assert!(
        !known
            .iter()
            .any(|f| f.0 == "changing-column-type" || f.0 == "adding-not-nullable-field"),
        "{known:?}"
    );
}

#[test]
fn a_lock_held_while_later_statements_work_is_found() {
    let text = "alter table orders add column vat numeric;\n\
                update orders set vat = 0;\n";
    let found = lint(text, &in_transaction(orders(1e7, 4e9)));
    let held = found.iter().find(|f| f.rule == "held-through").unwrap();
    assert_eq!(held.severity, Severity::Error);
    assert_eq!(held.place.line, 2);
    assert!(
        held.message
            .starts_with("ACCESS EXCLUSIVE on orders, taken in line 1"),
        "{held:?}"
    );
    let batches = found.iter().find(|f| f.rule == "unbatched-write").unwrap();
    assert!(
        batches
            .instead
            .as_deref()
            .unwrap()
            .contains("where id between $1 and $2")
    );
    // Each on its own: nobody waits for the other.
    let own = Context {
        in_transaction: false,
        ..in_transaction(orders(1e7, 4e9))
    };
    assert!(!rules(text, &own).iter().any(|f| f.0 == "held-through"));
}

#[test]
fn new_tables_small_tables_and_batches_are_left_alone() {
    let text = "create table orders2 (id bigint primary key);
                create index i on orders2 (id);
                update orders2 set id = 1;
                update orders set note = 'x';";
    let found = rules(text, &in_transaction(orders(500.0, 64e3)));
    assert_eq!(found, []);
    let text = "-- batch: orders by id\nupdate orders set note = '' where id between $1 and $2;";
    let own = Context {
        facts: orders(1e7, 4e9),
        ..Context::default()
    };
    assert_eq!(rules(text, &own), []);
}

#[test]
fn a_finding_is_allowed_with_a_reason_only() {
    let context = in_transaction(orders(1e7, 4e9));
    let text = |why: &str| {
        format!(
            "-- allow require-concurrent-index-creation:{why}\ncreate index i on orders (note);"
        )
    };
    assert_eq!(rules(&text(" at night"), &context), []);
    assert_eq!(rules(&text(""), &context).len(), 1);
}

#[test]
fn a_syntax_error_has_its_place() {
    let found = lint("select 1;\nalter tabel t;", &Context::default());
    assert_eq!(found[0].rule, "syntax");
    assert_eq!(found[0].place.line, 2);
}

#[test]
fn every_rule_left_out_is_one_of_squawks() {
    for rule in EXCLUDED.iter().chain(TAKES_AWAY) {
        assert!(linter::knows(rule), "{rule}");
    }
}

#[test]
fn what_earlier_statements_prove_counts() {
    let own = Context {
        facts: orders(1e7, 4e9),
        ..Context::default()
    };
    let text = "alter table orders add column vat numeric;
        alter table orders add constraint vat_is_there check (vat is not null) not valid;
        alter table orders validate constraint vat_is_there;
        alter table orders alter column vat set not null;
        alter table orders rename column vat to tax;";
    assert_eq!(rules(text, &own), []);
    let unproven = text.replace("alter table orders validate constraint vat_is_there;", "");
    let found = rules(&unproven, &own);
    assert_eq!(
        found,
        [("adding-not-nullable-field".to_owned(), Severity::Error)]
    );
}
