//! Foreign keys whose columns no index leads with: each DELETE of the other row scans.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Action, ForeignKey, Table};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "foreign-key-without-index",
    category: Category::Index,
    finds: "foreign keys without an index on the referring columns",
    check,
};

/// A smaller table is read in one go, index or not.
const FEWEST_ROWS: u64 = 1_000;
const MANY_ROWS: u64 = 100_000;
/// A table of so few rows that each is referred to by so many is a list of codes: its rows
/// are not deleted, and an index with that few values finds nothing faster.
const MOST_CODES: u64 = 100;
const FEWEST_PER_CODE: u64 = 20;

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        // One that is NOT ENFORCED looks for nothing when a row goes.
        for key in table.foreign_keys.iter().filter(|k| k.enforced) {
            if table.has_index_on(&key.columns) || table.estimated_rows() < FEWEST_ROWS {
                continue;
            }
            if is_list_of_codes(facts, table, key) {
                continue;
            }
            let again = claims.iter().any(|c: &Claim| match c {
                Claim::Settled(f) => f
                    .fixes
                    .contains(&fix(table.name.clone(), key.columns.clone())),
                Claim::Open(_) => false,
            });
            if again {
                continue;
            }
            let name = &table.name;
            let parent = facts.database.table(&key.referenced);
            let deletes = parent.map_or(0, |p| p.activity.deletes);
            let columns: Vec<_> = key.columns.iter().map(|c| plain(c)).collect();
            let cascades = matches!(key.on_delete, Action::Cascade | Action::SetNull);
            let severity = if table.estimated_rows() >= MANY_ROWS && (deletes > 0 || cascades) {
                Severity::High
            } else {
                Severity::Medium
            };
            let mut finding = RULE.finding(
                severity,
                format!(
                    "{name}: foreign key {} has no index on {}",
                    plain(&key.name),
                    columns.join(", ")
                ),
            );
            for column in &key.columns {
                finding = finding.on(Object::column(name, column));
            }
            let equal: Vec<_> = key
                .columns
                .iter()
                .map(|c| format!("{} is null", quote(c)))
                .collect();
            let finding = finding
                .measured(
                    format!(
                        "deleting a row of {} reads all {} rows of {name}; {} were deleted since the server began to count",
                        key.referenced,
                        grouped(table.estimated_rows()),
                        grouped(deletes)
                    ),
                    &[("rows", float(table.estimated_rows())), ("deletes", float(deletes))],
                )
                .proof(format!("explain select 1 from {} where {}", table.from_sql(), equal.join(" and ")))
                .remedy("CREATE INDEX CONCURRENTLY on the referring columns")
                .cost(Effort::Statement, table.estimated_rows(), table.bytes, "CONCURRENTLY reads the table twice and blocks nobody; each write has one index more to keep")
                .fix(fix(name.clone(), key.columns.clone()))
                .harm(table.weight() + (1.0 + float(deletes)).log10());
            claims.push(Claim::settled(finding));
        }
    }
    claims
}

fn is_list_of_codes(facts: &Facts, table: &Table, key: &ForeignKey) -> bool {
    let stays = matches!(key.on_delete, Action::NoAction | Action::Restrict);
    facts.database.table(&key.referenced).is_some_and(|parent| {
        let rows = parent.estimated_rows();
        stays
            && parent.activity.deletes == 0
            && (1..=MOST_CODES).contains(&rows)
            && table.estimated_rows() >= rows * FEWEST_PER_CODE
    })
}

fn fix(table: crate::pg::QualifiedName, columns: Vec<String>) -> Fix {
    Fix::AddIndex {
        table,
        columns,
        predicate: None,
        unique: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn an_index_in_any_order_serves_and_small_tables_need_none() {
        let items = table(
            "items",
            &["order_id int8!", "line int4!", "sku text", "tag_id int8"],
        )
        .key(&["order_id", "line"])
        .refers(&["order_id"], "orders", &["id"])
        .refers(&["sku"], "products", &["sku"])
        .refers(&["tag_id"], "tags", &["id"])
        .with_index("i", &["tag_id"]);
        let small = table("few", &["id int8", "order_id int8"])
            .refers(&["order_id"], "orders", &["id"])
            .changed(|t| t.rows = Some(50));
        let found = titles(&RULE, &facts(vec![items, small]));
        assert_eq!(
            found,
            ["public.items: foreign key items_sku_fkey1 has no index on sku"]
        );
    }

    #[test]
    fn a_partial_or_invalid_index_does_not_serve() {
        let with = |change: fn(&mut crate::audit::schema::Index)| {
            let items = table("items", &["id int8", "tag_id int8"])
                .refers(&["tag_id"], "tags", &["id"])
                .with_index("i", &["tag_id"])
                .which(change);
            titles(&RULE, &facts(vec![items])).len()
        };
        assert_eq!(with(|_| ()), 0);
        assert_eq!(with(|i| i.valid = false), 1);
        assert_eq!(with(|i| i.predicate = Some("x".to_owned())), 1);
    }

    #[test]
    fn one_that_is_not_enforced_needs_none() {
        let items = table("items", &["id int8", "tag_id int8"]).refers(&["tag_id"], "tags", &["id"]);
        assert_eq!(titles(&RULE, &facts(vec![items.clone()])).len(), 1);
        let items = items.changed(|t| t.foreign_keys[0].enforced = false);
        assert!(titles(&RULE, &facts(vec![items])).is_empty());
    }
}
