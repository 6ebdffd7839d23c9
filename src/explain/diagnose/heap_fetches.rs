//! An index-only scan that visits the table all the same.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, percent};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Index Only Scan") {
        let fetches = node.number("Heap Fetches").unwrap_or(0.0);
        let rows = node.rows().unwrap_or(0.0) + node.removed();
        if fetches < 1000.0 || fetches < rows * 0.1 {
            continue;
        }
        let relation = node.relation().unwrap_or_default();
        found.push(
            finding("heap-fetches", plan, node)
                .says(
                    format!(
                        "visits the table for {} of its rows",
                        percent((fetches / rows.max(1.0)).min(1.0))
                    ),
                    format!(
                        "The index has all that is asked for, but {} rows are on pages that \
                         VACUUM has not marked as visible to all, so each was looked up in the \
                         table.",
                        count(fetches)
                    ),
                )
                .remedy(format!("VACUUM {relation}"))
                .remedy(format!(
                    "ALTER TABLE {relation} SET (autovacuum_vacuum_scale_factor = 0.02, \
                     autovacuum_vacuum_insert_scale_factor = 0.02), so that it stays so"
                )),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn visits_to_the_table_ask_for_vacuum() {
        stored::each(
            "heap-fetches",
            "heap_fetches",
            "correlated",
            |_, finding| {
                assert!(
                    finding.remedies[0].contains("VACUUM public.churned"),
                    "{finding:?}"
                );
            },
        );
    }
}
