//! A sequential scan that reads a whole table for a few of its rows.

use super::{Facts, Finding, finding};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{count, percent, short};

pub fn check(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Seq Scan") {
        let (Some(filter), Some(relation)) = (node.text("Filter"), node.relation()) else {
            continue;
        };
        let Some(kept) = node.rows() else {
            found.extend(expected(plan, facts, node, &relation, filter));
            continue;
        };
        let removed = node.per_loop("Rows Removed by Filter");
        if removed < 1000.0 || removed < kept * 9.0 {
            continue;
        }
        let read = removed + kept;
        found.push(
            finding("selective-scan", plan, node)
                .says(
                    format!(
                        "reads all of {relation} to keep {} of its rows",
                        percent(kept / read)
                    ),
                    format!(
                        "It looked at {} rows and dropped {} of them: {}. No index leads it to \
                         the ones it wants.",
                        count(read),
                        count(removed),
                        short(filter)
                    ),
                )
                .remedy("an index on the columns of this condition, if one is measured to help"),
        );
    }
    found
}

/// Of a plan that was not run: what the planner expects.
fn expected(
    plan: &Plan,
    facts: &Facts,
    node: &Node,
    relation: &str,
    filter: &str,
) -> Option<Finding> {
    if plan.root().total_ms.is_some() {
        return None;
    }
    let read = facts.catalog.table(relation)?.rows;
    let kept = node.number("Plan Rows")?;
    if read < 10_000.0 || kept * 10.0 > read {
        return None;
    }
    Some(
        finding("selective-scan", plan, node)
            .says(
                format!("would read all of {relation} for some {} rows", count(kept)),
                format!(
                    "The table has {} rows. No index leads to those of {}.",
                    count(read),
                    short(filter)
                ),
            )
            .remedy("an index on the columns of this condition, if one is measured to help"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_scan_that_keeps_a_few_rows_is_named_and_one_that_keeps_many_is_not() {
        stored::each(
            "selective-scan",
            "selective_scan",
            "parallel_scan",
            |_, finding| {
                assert!(finding.title.contains("public.orders"), "{finding:?}");
                assert!(finding.why.contains("dropped 19,990"), "{finding:?}");
                assert!(finding.share > 0.5, "{finding:?}");
            },
        );
    }
}
