//! A subquery that runs once for every row outside of it.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, time};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        if node.text("Parent Relationship") != Some("SubPlan") || node.loops() < 50.0 {
            continue;
        }
        // A list that is read again for NOT IN is another rule's matter.
        if node.kind == "Materialize" {
            continue;
        }
        let outer = plan
            .parent(node)
            .map_or_else(String::new, super::Node::title);
        let name = node.text("Subplan Name").unwrap_or("a subquery");
        let each = node.total_ms.unwrap_or(0.0) * node.processes / node.loops();
        let scan = plan.below(node).find(|n| n.kind == "Seq Scan");
        let base = finding("correlated-subplan", plan, node)
            .share(plan.share(node.total_ms))
            .says(
                format!("{name} runs {} times", count(node.loops())),
                format!(
                    "It depends on each row of {outer} and takes {} a run.",
                    time(each)
                ),
            );
        let base = match scan.and_then(|s| Some((s.relation()?, s.text("Filter")?))) {
            Some((relation, filter)) => base.remedy(format!(
                "an index on {relation} for {filter}: each run scans the table"
            )),
            None => base,
        };
        found.push(base.remedy(
            "a join with the subquery grouped by the column that it is compared with, which \
             reads each table once (better when most rows are wanted, worse for a few)",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn runs_are_counted_and_the_missing_index_named() {
        stored::each(
            "correlated-subplan",
            "correlated",
            "init_plan",
            |_, finding| {
                assert!(finding.title.contains("199 times"), "{finding:?}");
                assert!(finding.remedies[0].contains("public.orders"), "{finding:?}");
            },
        );
    }
}
