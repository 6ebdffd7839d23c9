//! OFFSET: rows that are made and thrown away.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::count;

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Limit") {
        let Some(input) = plan
            .children(node)
            .find(|c| c.text("Parent Relationship") == Some("Outer"))
        else {
            continue;
        };
        let (Some(made), given) = (input.rows(), node.rows().unwrap_or(0.0)) else {
            continue;
        };
        let skipped = made - given;
        if skipped < 500.0 || skipped < given * 4.0 {
            continue;
        }
        let base = finding("offset-paging", plan, node);
        let share = plan.share(input.total_ms) * skipped / made;
        found.push(
            base.share(share)
                .says(
                    format!("makes {} rows and skips them", count(skipped)),
                    format!(
                        "OFFSET counts rows that were made in full: the page before cost nearly \
                         as much, the next one costs more. {} rows were asked for.",
                        count(given)
                    ),
                )
                .remedy(
                    "continue after the last row of the page before: WHERE (order columns) > \
                     (its values) ORDER BY … LIMIT …, with an index in that order",
                ),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn skipped_rows_are_counted() {
        stored::each(
            "offset-paging",
            "offset",
            "incremental_sort",
            |_, finding| {
                assert!(finding.title.contains("19,000"), "{finding:?}");
            },
        );
    }
}
