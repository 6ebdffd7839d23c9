//! Indexes that a broken CREATE INDEX CONCURRENTLY left: written by all, read by none.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::TableKind;
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "invalid-index",
    category: Category::Index,
    finds: "indexes that are not valid",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for index in table.indexes.iter().filter(|i| !i.valid) {
            let name = plain(&index.name.name);
            let root = table.kind == TableKind::Partitioned;
            let why = if root {
                "some partition has no index that belongs to it"
            } else {
                "CREATE INDEX CONCURRENTLY was interrupted, or is running now: look in pg_stat_progress_create_index"
            };
            let remedy = if root {
                "create the index on the partitions that lack it and ATTACH it"
            } else {
                "REINDEX INDEX CONCURRENTLY, or drop it"
            };
            let finding = RULE
                .finding(
                    Severity::High,
                    format!("{}: index {name} is invalid", table.name),
                )
                .on(Object::index(&table.name, &index.name.name))
                .because(why)
                .because("every write keeps it, no search uses it, and a unique one does not hold")
                .proof(format!(
                    "select indisvalid, indisready from pg_index where indexrelid = {}::regclass",
                    literal(&index.name.sql())
                ))
                .remedy(remedy)
                .cost(
                    Effort::Statement,
                    table.estimated_rows(),
                    table.bytes,
                    "CONCURRENTLY reads the table twice and blocks nobody",
                )
                .fix(Fix::Reindex {
                    table: table.name.clone(),
                    index: index.name.clone(),
                })
                .harm(table.weight() + 1.0);
            claims.push(Claim::settled(finding));
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn an_invalid_index_is_reported() {
        let t = table("t", &["id int8", "a text"])
            .with_index("a", &["a"])
            .which(|i| i.valid = false);
        assert_eq!(
            titles(&RULE, &facts(vec![t])),
            ["public.t: index a is invalid"]
        );
    }
}
