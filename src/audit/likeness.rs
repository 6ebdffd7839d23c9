//! How well a column's name speaks for a reference to a table's key.

use super::word::{singular, words};

/// The words that stand for a key, whatever it is called in the other table.
const KEY_WORDS: &[&str] = &[
    "id", "no", "nr", "num", "number", "ref", "fk", "key", "code", "uuid",
];
/// Key columns with these names alone say nothing of their table.
const PLAIN_KEYS: &[&str] = &[
    "id", "no", "nr", "num", "number", "ref", "key", "code", "uuid", "name", "type", "value",
    "title", "slug", "status", "position", "email", "version", "date", "label", "hash", "token",
];
/// What identifies things of another system, or of no table at all.
const ELSEWHERE: &[&str] = &[
    "external",
    "ext",
    "legacy",
    "old",
    "erp",
    "crm",
    "sap",
    "stripe",
    "paypal",
    "adyen",
    "remote",
    "upstream",
    "google",
    "facebook",
    "apple",
    "github",
    "salesforce",
    "hubspot",
    "zendesk",
    "shopify",
    "amazon",
    "session",
    "request",
    "trace",
    "span",
    "correlation",
    "message",
    "device",
    "tracking",
    "gateway",
    "provider",
    "partner",
    "source",
    "import",
    "foreign",
    "third",
    "previous",
    "former",
];
const SELF_ROLES: &[&str] = &[
    "parent",
    "root",
    "previous",
    "next",
    "replaces",
    "replaced",
    "manager",
    "predecessor",
    "successor",
    "original",
    "supersedes",
    "boss",
    "supervisor",
    "reports",
    "merged",
    "duplicate",
    "copied",
    "cloned",
    "forked",
    "reply",
    "amends",
    "amended",
    "corrects",
    "corrected",
    "reverses",
    "reversed",
    "superseded",
];
const PERSON_ROLES: &[&str] = &[
    "buyer",
    "seller",
    "owner",
    "author",
    "manager",
    "assignee",
    "reviewer",
    "approver",
    "sender",
    "recipient",
    "driver",
    "picker",
    "agent",
    "editor",
    "creator",
    "salesperson",
    "rep",
    "operator",
    "reporter",
    "requester",
    "submitter",
    "supervisor",
    "actor",
    "cashier",
    "by",
];
const PERSONS: &[&str] = &[
    "user", "employee", "account", "customer", "person", "member", "staff", "people", "admin",
    "operator", "worker", "agent",
];

/// From 0 (nothing) to 1 (`customer_id` for `customers.id`). `ignored` are words that
/// most tables of the schema begin with, such as `tbl`.
#[must_use]
pub fn likeness(column: &str, table: &str, key: &str, same_table: bool, ignored: &[String]) -> f64 {
    let mut column = words(column);
    if column.len() > 1 && column[0] == "fk" {
        column.remove(0);
    }
    // `ship_via`, `sold_to`: what is said before the preposition.
    if column.len() > 1
        && column
            .last()
            .is_some_and(|w| ["via", "to", "from"].contains(&w.as_str()))
    {
        column.pop();
    }
    let mut table: Vec<String> = words(table).iter().map(|w| singular(w)).collect();
    while table.len() > 1 && ignored.contains(&table[0]) {
        table.remove(0);
    }
    let key = words(key);
    let best = forms(&column, &table, &key, same_table)
        .into_iter()
        .fold(0.0, f64::max)
        .max(roles(&column, &table, same_table));
    let named = table.iter().chain(&key);
    let elsewhere = column
        .iter()
        .any(|w| ELSEWHERE.contains(&w.as_str()) && !named.clone().any(|n| n == w))
        && !(same_table && column.iter().any(|w| SELF_ROLES.contains(&w.as_str())));
    if elsewhere { best * 0.4 } else { best }
}

/// The ways in which a name can be made of the table's and the key's. Within a table its
/// own name alone refers to nothing: `step_no` of `dunning_steps` counts the steps.
fn forms(column: &[String], table: &[String], key: &[String], same_table: bool) -> Vec<f64> {
    let single: Vec<String> = column.iter().map(|w| singular(w)).collect();
    let mut found = Vec::new();
    let mut add = |form: &[String], exact: f64, suffix: f64| {
        let form: Vec<String> = form.iter().map(|w| singular(w)).collect();
        if form.is_empty() {
        } else if single == form {
            found.extend((!same_table).then_some(exact));
        } else if single.ends_with(&form) {
            found.push(suffix);
        }
    };
    let plain_key = key.len() == 1 && PLAIN_KEYS.contains(&key[0].as_str());
    if key.starts_with(table) && key.len() > table.len() {
        add(key, 1.0, 0.9);
    } else {
        add(&[table, key].concat(), 1.0, 0.9);
        if !plain_key {
            // `sku`, `isbn`, `order_no`: distinctive by themselves.
            add(key, 0.85, 0.7);
        }
    }
    let own = |word: &&&str| key.last().is_some_and(|k| k == **word);
    let refers = |word: &&&str| ["id", "ref", "fk", "uuid"].contains(*word) || own(word);
    for word in KEY_WORDS.iter().filter(|w| !same_table || refers(w)) {
        let word = [(*word).to_owned()];
        add(&[table, &word[..]].concat(), 0.9, 0.8);
        if table.len() > 1 {
            // `order_id` for `sales_orders.id`.
            add(&[&table[table.len() - 1..], &word[..]].concat(), 0.7, 0.55);
        }
    }
    if !same_table {
        add(table, 0.85, 0.7);
        found.push(abbreviation(column, table));
    }
    found
}

/// `cust_id`, `emp_no`, `dept`: each word begins a word of the table's name.
fn abbreviation(column: &[String], table: &[String]) -> f64 {
    let (last, front) = match column.split_last() {
        Some((last, front)) if KEY_WORDS.contains(&last.as_str()) => (Some(last), front),
        _ => (None, column),
    };
    if front.len() != table.len() || front.is_empty() {
        return 0.0;
    }
    let short = |f: &dyn Fn(&str, &str) -> bool| {
        front
            .iter()
            .zip(table)
            .all(|(short, long)| short.len() >= 3 && short.len() < long.len() && f(short, long))
    };
    let key = if last.is_some() { 0.1 } else { 0.0 };
    if short(&|short, long| long.starts_with(short)) {
        0.55 + key
    } else if short(&|short, long| long.as_bytes()[0] == short.as_bytes()[0] && skips(short, long))
    {
        0.5 + key / 2.0
    } else {
        0.0
    }
}

/// `dept` is `department` with letters left out.
fn skips(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    short.len() <= 5 && short.chars().all(|c| letters.any(|l| l == c))
}

fn roles(column: &[String], table: &[String], same_table: bool) -> f64 {
    let names = |list: &[&str]| column.iter().any(|w| list.contains(&w.as_str()));
    // `manager`, `parent_id`; but `next_step` and `previous_version` are numbers.
    let refers = column
        .last()
        .is_some_and(|w| [KEY_WORDS, SELF_ROLES].concat().contains(&w.as_str()));
    if same_table && refers && names(SELF_ROLES) {
        return 0.75;
    }
    let persons = table.last().is_some_and(|w| PERSONS.contains(&w.as_str()));
    if persons && names(PERSON_ROLES) {
        return 0.6;
    }
    0.0
}

/// Words that at least half of the tables begin with.
#[must_use]
pub fn common_prefixes<'a>(tables: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts = std::collections::HashMap::new();
    let mut total = 0;
    for table in tables {
        total += 1;
        let words = words(table);
        if words.len() > 1 {
            *counts.entry(singular(&words[0])).or_insert(0) += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, n)| total >= 4 && *n * 2 >= total)
        .map(|(word, _)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_references_score_higher_than_others() {
        for (column, table, key, least) in [
            ("customer_id", "customers", "id", 1.0),
            ("customerId", "Customer", "id", 1.0),
            ("customer_id", "customers", "customer_id", 1.0),
            ("billing_address_id", "addresses", "id", 0.9),
            ("country_code", "countries", "code", 1.0),
            ("country", "countries", "code", 0.85),
            ("sku", "products", "sku", 0.85),
            ("product_ref", "products", "id", 0.85),
            ("order_id", "sales_orders", "id", 0.7),
            ("cust_id", "customers", "id", 0.65),
            ("dept", "departments", "id", 0.5),
            ("created_by", "users", "id", 0.6),
            ("ship_via", "shippers", "shipper_id", 0.5),
        ] {
            let found = likeness(column, table, key, false, &[]);
            assert!(found >= least, "{column} → {table}.{key}: {found}");
        }
        for (column, table, key) in [
            ("parent_id", "categories", "id"),
            ("reports_to", "staff", "id"),
            ("merged_into_id", "tickets", "id"),
            ("original_invoice_id", "invoices", "id"),
            ("parent_container_no", "containers", "container_no"),
        ] {
            let found = likeness(column, table, key, true, &[]);
            assert!(found >= 0.5, "{column} of {table}.{key}: {found}");
        }
        for (column, table, key) in [
            ("step_no", "dunning_steps", "id"),
            ("event_code", "container_events", "container_event_id"),
            ("order_number", "orders", "id"),
            ("invoice_key", "invoices", "id"),
            ("previous_version", "documents", "id"),
        ] {
            let found = likeness(column, table, key, true, &[]);
            assert!(found < 0.5, "{column} of {table}.{key}: {found}");
        }
        assert!(
            likeness(
                "customer_id",
                "tbl_customers",
                "id",
                false,
                &["tbl".to_owned()]
            ) >= 1.0
        );
        for (column, table, key) in [
            ("quantity", "payment_methods", "id"),
            ("external_customer_id", "customers", "id"),
            ("stripe_customer_id", "customers", "id"),
            ("parent_id", "orders", "id"),
            ("id", "customers", "id"),
            ("name", "cities", "name"),
            ("product_id", "customers", "id"),
            ("position", "positions_log", "id"),
        ] {
            let found = likeness(column, table, key, false, &[]);
            assert!(found < 0.5, "{column} → {table}.{key}: {found}");
        }
    }

    #[test]
    fn a_prefix_of_most_tables_is_no_word_of_theirs() {
        let tables = ["tbl_a", "tbl_b", "tbl_c", "d"];
        assert_eq!(common_prefixes(tables.into_iter()), ["tbl"]);
        assert!(common_prefixes(["order_items", "orders", "users", "tags"].into_iter()).is_empty());
    }
}
