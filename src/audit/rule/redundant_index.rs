//! Indexes that are the beginning of a longer one.

use super::superfluous_index::Superfluous;
use super::{Rule, float};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Severity, plain};
use crate::audit::question::Claim;
use crate::audit::twin::{Twin, twin};

pub const RULE: Rule = Rule {
    id: "redundant-index",
    category: Category::Index,
    finds: "indexes that are the first columns of another one, or a hash beside a b-tree",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for index in &table.indexes {
            let (other, says) = match twin(table, index) {
                Some((other, Twin::Longer)) => (other, "is the beginning of"),
                Some((other, Twin::Sorted)) => (other, "finds nothing that is not found by"),
                _ => continue,
            };
            let evidence = format!(
                "{} KiB against {} KiB; {} serves the same searches, somewhat larger to read",
                index.bytes / 1024,
                other.bytes / 1024,
                plain(&other.name.name)
            );
            let measures = [
                ("bytes", float(index.bytes)),
                ("longer_bytes", float(other.bytes)),
            ];
            let superfluous = Superfluous {
                table,
                index,
                other,
            };
            let finding = superfluous.finding(
                &RULE,
                Severity::Low,
                Confidence::share(0.9),
                says,
                (evidence, &measures),
            );
            let harm = finding.harm - 1.0;
            claims.push(Claim::settled(finding.harm(harm)));
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn a_prefix_is_redundant_unless_it_is_unique() {
        let t = table("t", &["id int8", "a text", "b text"])
            .with_index("a", &["a"])
            .with_index("ab", &["a", "b"])
            .with_index("b", &["b"])
            .which(|i| i.unique = true)
            .with_index("ba", &["b", "a"]);
        assert_eq!(
            titles(&RULE, &facts(vec![t])),
            ["public.t: index a is the beginning of ab"]
        );
    }

    #[test]
    fn a_hash_finds_nothing_that_the_tree_beside_it_does_not() {
        let with = |method: &str, columns: &[&str]| {
            let t = table("t", &["id int8", "a text", "b text"])
                .with_index("h", &["a"])
                .which(|i| i.method = "hash".to_owned())
                .with_index("other", columns)
                .which(|i| i.method = method.to_owned());
            titles(&RULE, &facts(vec![t]))
        };
        assert_eq!(
            with("btree", &["a", "b"]),
            ["public.t: index h finds nothing that is not found by other"]
        );
        assert!(with("btree", &["b", "a"]).is_empty());
        assert!(with("gin", &["a"]).is_empty());
    }
}
