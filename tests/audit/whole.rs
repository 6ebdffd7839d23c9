//! The plans of whole schemas: every migration is applied by the program, the findings that
//! they mend are gone, and taken back they leave schema and rows as they were.

use crossfade::server::Options;

use crate::plan::{SCHEMA, password_file};
use crate::program::Shop;

/// What each plan has to mend.
const ALWAYS: &[&str] = &[
    "missing-foreign-key",
    "no-primary-key",
    "derivable-column",
    "padded-char",
    "float-for-money",
    "redundant-index",
    "foreign-key-without-index",
];

#[test]
fn the_plan_of_the_shop_mends_what_it_says_and_is_taken_back_without_a_trace() {
    let rules = [
        "time-as-text",
        "money-type",
        "reference-type-mismatch",
        "duplicate-index",
        "duplicate-foreign-key",
    ];
    mends("shop", include_str!("shop.sql"), &rules, &[]);
}

#[test]
fn the_plan_of_billing_mends_what_it_says_and_is_taken_back_without_a_trace() {
    let rules = [
        "functional-dependency",
        "mixed-timestamps",
        "timestamp-without-zone",
        "money-type",
        "reference-type-mismatch",
        "duplicate-index",
        "duplicate-foreign-key",
        "not-valid-constraint",
    ];
    mends("app", include_str!("billing.sql"), &rules, &[]);
}

#[test]
fn the_plan_of_freight_mends_what_it_says_and_is_taken_back_without_a_trace() {
    let rules = [
        "functional-dependency",
        "mixed-timestamps",
        "time-as-number",
        "time-as-text",
        "timestamp-without-zone",
        "not-valid-constraint",
    ];
    // An index on the total and another column is left to people, and the total with it.
    let left = [
        "public.freight_charge.total",
        // Rows that refer to nothing, in a column that cannot be NULL.
        "constraint container_event_container_no_fkey is NOT VALID",
    ];
    mends("public", include_str!("freight.sql"), &rules, &left);
}

fn mends(schema: &str, sql: &str, rules: &[&str], left: &[&str]) {
    let shop = Shop::bare(Options::default());
    shop.sql(sql);
    password_file(&shop);
    let url = format!("postgres://postgres@127.0.0.1:{}/shop", shop.server.port());
    let dir = shop.dir.join("plan");
    let audit = |arguments: &[&str]| {
        let all = [&["--output", "json", "audit", "--url", &url], arguments].concat();
        let ran = shop.crossfade(&all);
        let answer: serde_json::Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.all()));
        answer["findings"].as_array().unwrap().clone()
    };
    let found = audit(&["--plan", &dir.display().to_string()]);
    let folder = dir.join("migrations").display().to_string();
    let migrate = |arguments: &[&str]| {
        let head = [
            "migrate", "--dir", &folder, "--chain", "audit", "--url", &url,
        ];
        shop.crossfade(&[&head[..], arguments].concat())
    };
    // Nothing that would hold the application up: what is left is what a contract is for.
    let lint = migrate(&["lint"]);
    for line in lint
        .all()
        .lines()
        .filter(|l| l.contains(": warning ") || l.contains(": error "))
    {
        // A key of its own rewrites a table that has none; the README says so.
        let rewrites = line.contains("_primary_key_") && line.contains("warning adding-");
        let harmless = [
            "ban-drop-column",
            "renaming-column",
            "prefer-",
            "ban-char-field",
        ];
        assert!(
            rewrites || harmless.iter().any(|rule| line.contains(rule)),
            "{line}"
        );
    }
    let state = || {
        let tables = shop.texts(&format!(
            "select array_agg(format('%I.%I', '{schema}', relname) order by relname)
             from pg_class where relnamespace = '{schema}'::regnamespace and relkind = 'r'",
        ));
        let rows: Vec<String> = tables
            .iter()
            .map(|t| {
                shop.value(&format!(
                    "select '{}: ' || count(*) || ' ' || coalesce(sum(hashtextextended(to_jsonb(t)::text, 1)), 0) from {t} t",
                    t.replace('\'', "")
                ))
            })
            .collect();
        // That rows were checked is nothing to take back.
        let checked = |line: &&str| !line.contains("NOT VALID") && !line.starts_with("constraint");
        let all = shop.value(&SCHEMA.trim().replace("'s'", &format!("'{schema}'")));
        let (rest, constraints): (Vec<&str>, Vec<&str>) = all.lines().partition(checked);
        let constraints = constraints.iter().map(|c| {
            let c = c.replace(" NOT VALID", "");
            c.trim_end_matches([' ', 't', 'f']).to_owned()
        });
        let schema: Vec<String> = rest
            .iter()
            .map(ToString::to_string)
            .chain(constraints)
            .collect();
        (schema, rows)
    };
    let before = state();
    let up = migrate(&["up"]);
    assert_eq!(up.code, Some(0), "{}", up.all());
    // What needs a module, a decision, or a wider key stays.
    let titles = |findings: &[serde_json::Value], rule: &str| -> Vec<String> {
        findings
            .iter()
            .filter(|f| f["rule"] == rule)
            .map(|f| f["title"].as_str().unwrap().to_owned())
            .collect()
    };
    let after = audit(&[]);
    for rule in ALWAYS.iter().chain(rules) {
        assert!(
            !titles(&found, rule).is_empty(),
            "{rule} was not found before"
        );
        let mut still = titles(&after, rule);
        still.retain(|title| !left.iter().any(|l| title.contains(l)));
        assert_eq!(still, Vec::<String>::new(), "{rule} after the plan");
    }
    let down = migrate(&["down", "--to", "0"]);
    assert_eq!(down.code, Some(0), "{}", down.all());
    let restored = state();
    assert_eq!(restored.0, before.0);
    assert_eq!(restored.1, before.1);
}
