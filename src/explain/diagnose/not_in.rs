//! NOT IN over a subquery.

use super::{Facts, Finding, finding};
use crate::explain::plan::{Node, Plan};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        let Some(hashed) = node.conditions().into_iter().find_map(|(_, c)| negated(c)) else {
            continue;
        };
        let below: f64 = plan
            .children(node)
            .filter(|c| c.text("Parent Relationship") == Some("SubPlan"))
            .filter_map(|c| c.total_ms)
            .sum();
        let ms = node.self_ms.unwrap_or(0.0) + below;
        let why = if hashed {
            "The subquery's rows are put into a hash table that must fit into memory: with a few \
             more of them the planner tests every row against the whole list, and one NULL among \
             them makes the result empty."
        } else {
            "For every row the list of the subquery is read through until the value is found, \
             since it may hold a NULL and was expected to be too large for a hash table."
        };
        found.push(
            finding("not-in", plan, node)
                .share(plan.share(Some(ms)))
                .says(
                    if hashed {
                        "NOT IN cannot become a join"
                    } else {
                        "NOT IN reads the subquery's rows again for every row"
                    },
                    why,
                )
                .remedy(rows(node)),
        );
    }
    found
}

fn rows(_: &Node) -> String {
    "NOT EXISTS with the comparison inside: it becomes an anti join. The same result where \
     neither side is NULL"
        .to_owned()
}

/// Whether a condition denies membership in a sub-plan, and whether that is hashed.
fn negated(condition: &str) -> Option<bool> {
    let at = condition.find("(NOT (")?;
    let rest = &condition[at..];
    if rest.starts_with("(NOT (hashed SubPlan") {
        return Some(true);
    }
    // `NOT (SubPlan 1)` of an EXISTS that stayed a sub-plan reads the same before
    // version 17, but it would have become an anti join where it is not under an OR.
    if rest.starts_with("(NOT (SubPlan") {
        return Some(false);
    }
    if rest.starts_with("(NOT (ANY (") {
        let end = rest.find("SubPlan")?;
        return Some(rest[..end].ends_with("hashed "));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_hashed_list_is_told_from_one_that_is_read_again() {
        stored::each("not-in", "not_in", "exists", |_, finding| {
            assert!(
                finding.title.contains("cannot become a join"),
                "{finding:?}"
            );
        });
        stored::each("not-in", "not_in_plain", "correlated", |_, finding| {
            assert!(finding.title.contains("again for every row"), "{finding:?}");
        });
    }
}
