//! Indexes that are there twice.

use super::superfluous_index::Superfluous;
use super::{Rule, float};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Severity};
use crate::audit::question::Claim;
use crate::audit::twin::{Twin, twin};

pub const RULE: Rule = Rule {
    id: "duplicate-index",
    category: Category::Index,
    finds: "indexes that are the same as another one",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for index in &table.indexes {
            let Some((other, Twin::Same)) = twin(table, index) else {
                continue;
            };
            let evidence = format!(
                "it takes {} KiB, and every write keeps both",
                index.bytes / 1024
            );
            let superfluous = Superfluous {
                table,
                index,
                other,
            };
            claims.push(Claim::settled(superfluous.finding(
                &RULE,
                Severity::Medium,
                Confidence::CERTAIN,
                "is the same as",
                (evidence, &[("bytes", float(index.bytes))]),
            )));
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;
    use crate::audit::schema::Refuses;

    #[test]
    fn the_one_without_a_constraint_goes() {
        let t = table("t", &["id int8", "a text"])
            .with_index("a1", &["a"])
            .with_index("a2", &["a"])
            .with_index("pk2", &["id"])
            .with_index("partial", &["a"])
            .which(|i| i.predicate = Some("a <> ''".to_owned()));
        let found = titles(&RULE, &facts(vec![t]));
        assert_eq!(
            found,
            [
                "public.t: index a2 is the same as a1",
                "public.t: index pk2 is the same as t_pkey"
            ]
        );
    }

    #[test]
    fn unique_or_another_order_is_another_index() {
        let t = table("t", &["id int8", "a text"])
            .with_index("a1", &["a"])
            .which(|i| i.unique = true)
            .with_index("a2", &["a"])
            .which(|i| i.keys[0].sql = "a desc".to_owned());
        assert!(titles(&RULE, &facts(vec![t])).is_empty());
    }

    #[test]
    fn a_unique_index_that_refuses_other_rows_or_later_is_another_one() {
        for refuses in [
            Refuses {
                second_null: true,
                later: false,
            },
            Refuses {
                second_null: false,
                later: true,
            },
        ] {
            let t = table("t", &["id int8", "a text"])
                .with_index("a1", &["a"])
                .which(|i| i.unique = true)
                .with_index("a2", &["a"])
                .which(|i| {
                    i.unique = true;
                    i.refuses = refuses;
                });
            assert!(titles(&RULE, &facts(vec![t.clone()])).is_empty());
            let same = t.changed(|t| t.indexes[1].refuses = refuses);
            assert_eq!(titles(&RULE, &facts(vec![same])).len(), 1);
        }
    }
}
