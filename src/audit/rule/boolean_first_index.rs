//! Indexes that begin with a column of two values.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Table, TypeClass};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "boolean-first-index",
    category: Category::Index,
    finds: "indexes that begin with a boolean",
    check,
};

const FEWEST_ROWS: u64 = 1_000;
/// A value that so few rows have is worth finding.
const RARE: f64 = 0.05;

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts
        .database
        .designed()
        .filter(|t| t.estimated_rows() >= FEWEST_ROWS)
    {
        for index in &table.indexes {
            let first = index.keys.first().and_then(|k| k.column.as_deref());
            let Some(column) = first.and_then(|c| table.column(c)) else {
                continue;
            };
            let fits = column.data_type.class == TypeClass::Boolean
                && index.method == "btree"
                && index.predicate.is_none()
                && !index.unique
                && index.constraint.is_none()
                && !index.partition_of_index;
            if !fits || is_lopsided(facts, table, &column.name) && index.keys.len() == 1 {
                continue;
            }
            let name = plain(&index.name.name);
            let rest: Vec<String> = index
                .keys
                .iter()
                .skip(1)
                .filter_map(|k| k.column.clone())
                .collect();
            let finding = RULE
                .finding(Severity::Low, format!("{}: index {name} begins with the boolean {}", table.name, plain(&column.name)))
                .on(Object::index(&table.name, &index.name.name))
                .confidence(Confidence::share(0.85))
                .because("its first key divides the rows in two: a search by the others alone cannot use it, and one by it alone finds half of the table")
                .proof(format!("select {0}, count(*) from {1} group by 1", quote(&column.name), table.from_sql()))
                .remedy(if rest.is_empty() {
                    format!("a partial index WHERE {} on the columns that are searched with it", plain(&column.name))
                } else {
                    format!("an index on ({}) WHERE {}, or with the boolean last", rest.join(", "), plain(&column.name))
                })
                .cost(Effort::Statement, table.estimated_rows(), index.bytes, "CREATE and DROP INDEX CONCURRENTLY block nobody")
                .harm(table.weight() - 1.0);
            let finding = if rest.is_empty() {
                finding
            } else {
                finding
                    .fix(Fix::AddIndex {
                        table: table.name.clone(),
                        columns: rest,
                        predicate: Some(quote(&column.name)),
                        unique: false,
                    })
                    .fix(Fix::DropIndex {
                        table: table.name.clone(),
                        index: index.name.clone(),
                        definition: index.definition.clone(),
                    })
            };
            claims.push(Claim::settled(finding));
        }
    }
    claims
}

/// One of the values is rare: the index finds it.
#[allow(clippy::cast_precision_loss, reason = "a share of a sample")]
fn is_lopsided(facts: &Facts, table: &Table, column: &str) -> bool {
    facts.column_profile(table, column).is_some_and(|seen| {
        let least = seen.frequent.iter().map(|(_, n)| *n).min().unwrap_or(0);
        (least as f64) < RARE * seen.present as f64
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, table, titles};
    use super::*;

    #[test]
    fn a_rare_value_is_worth_an_index_and_half_of_the_rows_are_not() {
        let t = table("t", &["id int8", "active bool", "failed bool", "a text"])
            .with_index("i1", &["active", "a"])
            .with_index("i2", &["failed"])
            .with_index("i3", &["active"])
            .which(|i| i.predicate = Some("active".to_owned()));
        let mut facts = facts(vec![t]);
        fill(&mut facts, "t", 100, |i, c| match c {
            "active" => (i % 2 == 0).to_string(),
            "failed" => (i == 7).to_string(),
            _ => i.to_string(),
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.t: index i1 begins with the boolean active"]
        );
    }
}
