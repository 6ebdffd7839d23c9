//! `crossfade audit` as a user has it: what it prints, what it leaves out, exit codes.

use std::process::{Command, Output};

use serde_json::Value;

use crate::place::Place;

const SHOP: &str = "
create schema shop;
create table shop.customers (id bigint generated always as identity primary key, name text not null, created_at timestamptz not null);
create table shop.orders (
    id bigint generated always as identity primary key, customer_id bigint not null,
    items jsonb not null, total double precision not null, placed_at text not null);
create table shop.notes (id bigint generated always as identity primary key, \"noteText\" text);
insert into shop.customers (name, created_at) select 'Ada Secret' || i, now() from generate_series(1, 200) i;
insert into shop.orders (customer_id, items, total, placed_at)
select 1 + i % 200, '[{\"sku\": \"classified\", \"qty\": 1}, {\"sku\": \"hidden\", \"qty\": 2}]', i,
       case when i % 100 = 0 then 'forever' else '2024-01-01 10:00:00' end from generate_series(1, 900) i;
insert into shop.orders (customer_id, items, total, placed_at) values (777777, '[]', 1, '2024-01-01 10:00:00');
analyze;";

fn place() -> Place {
    let place = Place::open("shop");
    place.load(SHOP);
    place
}

fn crossfade(place: &Place, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .arg("audit")
        .args(arguments)
        .current_dir(place.server.dir())
        .env_remove("CROSSFADE_SOURCE_URL")
        .output()
        .unwrap()
}

fn with_url(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let url = place.url("postgres");
    let mut all = vec!["--url", &url];
    all.extend(arguments);
    let output = crossfade(place, &all);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), text)
}

fn json(place: &Place, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["--output", "json"];
    all.extend(arguments);
    let (code, text) = with_url(place, &all);
    (
        code,
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
    )
}

#[test]
fn what_matters_comes_first_and_no_value_is_printed() {
    let place = place();
    let (code, text) = with_url(&place, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("shop: 3 tables"), "{text}");
    for said in [
        "shop.orders.items holds rows of a table that does not exist (shop.order_items)",
        "qty integer not null, sku text not null",
        "shop.orders.customer_id refers to shop.customers.id without a foreign key",
        "1 of 901 rows with a value refer to a row that does not exist",
        "9 of 901 values do not parse",
        "json-array · confidence",
    ] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(said), "{said}\n{text}");
    }
    for arguments in [&[][..], &["--all"], &["--output", "json"]] {
        let (_, text) = with_url(&place, arguments);
        for secret in [
            "Ada",
            "classified",
            "hidden",
            "forever",
            "777777",
            "2024-01-01",
        ] {
            assert!(
                !text.contains(secret),
                "{arguments:?} printed {secret}\n{text}"
            );
        }
    }
}

#[test]
fn findings_are_chosen_by_rule_object_severity_and_baseline() {
    let place = place();
    let rules = |value: &Value| -> Vec<String> {
        let found = value["findings"].as_array().unwrap();
        found
            .iter()
            .map(|f| f["rule"].as_str().unwrap().to_owned())
            .collect()
    };
    let (code, all) = json(&place, &[]);
    assert_eq!(code, Some(1));
    assert!(rules(&all).len() >= 4, "{all:#}");
    let (_, one) = json(&place, &["--rule", "float-for-money"]);
    assert_eq!(rules(&one), ["float-for-money"]);
    assert!(
        one["findings"][0]["proof"]
            .as_str()
            .unwrap()
            .starts_with("select")
    );
    assert_eq!(one["findings"][0]["fixes"][0]["fix"], "convert-column");
    let (code, less) = json(
        &place,
        &["--ignore", "json-array", "--ignore", "shop.orders.total"],
    );
    assert_eq!(code, Some(1));
    assert!(
        !rules(&less)
            .iter()
            .any(|r| r == "json-array" || r == "float-for-money"),
        "{less:#}"
    );
    assert_eq!(json(&place, &["--fail-on", "critical"]).0, Some(0));
    assert_eq!(json(&place, &["--fail-on", "never"]).0, Some(0));

    let (code, text) = with_url(&place, &["--baseline", "known.txt", "--update-baseline"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, none) = json(&place, &["--baseline", "known.txt", "--fail-on", "low"]);
    assert_eq!((code, rules(&none).len()), (Some(0), 0));
    place.sql("create table shop.fresh (note text); drop table shop.notes");
    let (code, fresh) = json(&place, &["--baseline", "known.txt"]);
    assert_eq!(
        (code, rules(&fresh)),
        (Some(1), vec!["no-primary-key".to_owned()])
    );
}

#[test]
fn mistakes_are_told_with_exit_code_two() {
    let place = place();
    for (arguments, said) in [
        (
            &["--rule", "no-such-rule"][..],
            "there is no rule `no-such-rule`",
        ),
        (
            &["--schema", "shpo"],
            "there is no table in a schema `shpo`",
        ),
        (&["--baseline", "absent.txt"], "cannot read absent.txt"),
        (&["--update-baseline"], "--baseline"),
    ] {
        let (code, text) = with_url(&place, arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let output = crossfade(&place, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("give --url"));
    // The source of the configuration file is the database where no other is named.
    let config = format!(
        "name = 'x'\ntransforms = ['t']\n[source]\nurl = '{}'\n",
        place.url("postgres")
    );
    std::fs::write(place.server.dir().join("crossfade.toml"), config).unwrap();
    assert_eq!(
        crossfade(&place, &["--rule", "money-type"]).status.code(),
        Some(0)
    );
    let listed = crossfade(&place, &["--rules"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("missing-foreign-key"));
}
