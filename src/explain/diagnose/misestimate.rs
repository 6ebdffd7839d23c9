//! The planner expected another number of rows, by a factor that changes plans.

use super::{Facts, Finding, finding};
use crate::explain::expression::{Comparison, column, columns, conjuncts};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{and, count};

/// Estimates within this factor rarely change a plan.
const FACTOR: f64 = 8.0;

pub fn check(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let off: Vec<&Node> = plan.nodes.iter().filter(|n| is_off(plan, n)).collect();
    let mut found = Vec::new();
    for node in &off {
        // Where an input is off already, that one is the cause.
        // Of a function the planner knows nothing but a number that it was told.
        if node.kind == "Function Scan" {
            continue;
        }
        let inherited = plan
            .below(node)
            .skip(1)
            .any(|below| off.iter().any(|o| o.id == below.id));
        if inherited
            || !(node.is_scan()
                || node.kind.contains("Join")
                || node.kind == "Nested Loop"
                || node.kind == "Aggregate")
        {
            continue;
        }
        found.push(explain(plan, facts, node));
    }
    found
}

fn is_off(plan: &Plan, node: &Node) -> bool {
    let (Some(expected), true) = (node.number("Plan Rows"), node.loops() > 0.0) else {
        return false;
    };
    let actual = node.number("Actual Rows").unwrap_or(0.0);
    let (low, high) = (expected.min(actual).max(1.0), expected.max(actual));
    if high < low * FACTOR || high * node.loops() < 1000.0 {
        return false;
    }
    actual > expected || !may_end_early(plan, node)
}

/// Fewer rows than expected are no mistake where somebody above stops reading.
fn may_end_early(plan: &Plan, node: &Node) -> bool {
    let mut child = node;
    while let Some(parent) = plan.parent(child) {
        // Everything below these is read to its end before they return a row.
        if matches!(parent.kind.as_str(), "Sort" | "Hash" | "Aggregate") {
            return false;
        }
        let stops = matches!(parent.kind.as_str(), "Limit" | "Merge Join" | "Result")
            || matches!(parent.text("Join Type"), Some("Semi" | "Anti"))
            || child.text("Parent Relationship") == Some("SubPlan")
            || child.text("Parent Relationship") == Some("InitPlan");
        if stops {
            return true;
        }
        child = parent;
    }
    false
}

fn explain(plan: &Plan, facts: &Facts, node: &Node) -> Finding {
    let expected = node.number("Plan Rows").unwrap_or(0.0);
    let actual = node.number("Actual Rows").unwrap_or(0.0);
    let factor = expected.max(actual) / expected.min(actual).max(1.0);
    // What was chosen for the wrong number is everything from here up to the root.
    let above = plan.share(plan.root().total_ms);
    let finding = finding("misestimate", plan, node)
        .share(above.min(1.0))
        .says(
            format!(
                "{} rows were expected, {} came ({:.0} times {})",
                count(expected),
                count(actual),
                factor,
                if actual > expected { "more" } else { "fewer" }
            ),
            "The plan above this node was chosen for the expected number: the kind of join, \
         its order and the memory it asks for may all be wrong for the real one.",
        );
    remedies(facts, node, finding)
}

fn remedies(facts: &Facts, node: &Node, mut finding: Finding) -> Finding {
    let Some(relation) = node.relation() else {
        return finding.remedy(
            "see the estimates of its inputs first; after them statistics of the joined \
             columns (ANALYZE, a higher statistics target)",
        );
    };
    if let Some(table) = facts.catalog.table(&relation)
        && let Some(stale) = table.stale()
    {
        finding = finding.remedy(format!("ANALYZE {relation}: {stale}"));
    }
    let filters: Vec<&str> = ["Filter", "Index Cond", "Recheck Cond"]
        .iter()
        .filter_map(|f| node.text(f))
        .flat_map(conjuncts)
        .collect();
    let mut equal = Vec::new();
    let mut wrapped = Vec::new();
    for filter in filters {
        let Some(c) = Comparison::parse(filter) else {
            continue;
        };
        match column(c.left) {
            Some(column) if c.operator == "=" => equal.push(column.name),
            None if !columns(c.left).is_empty() => wrapped.push(c.left.to_owned()),
            _ => {}
        }
    }
    equal.dedup();
    if equal.len() > 1 {
        finding = finding.remedy(format!(
            "CREATE STATISTICS … (dependencies, mcv) ON {} FROM {relation}, then ANALYZE: the \
             planner takes {} for independent",
            equal.join(", "),
            and(&equal)
        ));
    }
    for expression in wrapped {
        finding = finding.remedy(format!(
            "statistics of the expression: CREATE STATISTICS … ON ({expression}) FROM \
             {relation}, then ANALYZE: without them a fixed part of the rows is assumed"
        ));
    }
    if finding.remedies.is_empty() {
        finding = finding.remedy(format!(
            "ANALYZE {relation}, and a higher statistics target for the columns of the condition"
        ));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn columns_that_depend_on_each_other_want_extended_statistics() {
        stored::each(
            "misestimate",
            "misestimate",
            "selective_scan",
            |_, finding| {
                assert!(finding.at.contains("cities"), "{finding:?}");
                assert!(
                    finding
                        .remedies
                        .iter()
                        .any(|r| r.contains("ON city, country, zip FROM public.cities")),
                    "{finding:?}"
                );
            },
        );
    }

    #[test]
    fn fewer_rows_below_a_limit_are_no_mistake() {
        for version in stored::VERSIONS {
            let plan = stored::plan(version, "incremental_sort");
            assert!(stored::check("misestimate", &plan).is_empty());
        }
    }

    #[test]
    fn a_table_without_statistics_wants_analyze() {
        stored::each(
            "misestimate",
            "unanalyzed_join",
            "merge_join",
            |_, finding| {
                assert!(finding.at.contains("fresh"), "{finding:?}");
                assert!(
                    finding.remedies.iter().any(|r| r.starts_with("ANALYZE")),
                    "{finding:?}"
                );
            },
        );
    }
}
