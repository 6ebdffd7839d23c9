//! A nested loop whose inner side runs very often.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, short, time};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Nested Loop") {
        let Some(inner) = plan
            .children(node)
            .find(|c| c.text("Parent Relationship") == Some("Inner"))
        else {
            continue;
        };
        // What is kept in memory costs little a run; and a set-returning function is
        // called once a row by nature.
        let function = plan.below(inner).any(|n| n.kind == "Function Scan");
        if inner.loops() < 1000.0
            || function
            || matches!(inner.kind.as_str(), "Memoize" | "Materialize")
        {
            continue;
        }
        let outer = plan.children(node).find(|c| c.id != inner.id);
        let expected = outer.and_then(|o| o.number("Plan Rows")).unwrap_or(0.0);
        let base = finding("nested-loop", plan, node).share(plan.share(inner.total_ms));
        let surprise = if expected * 8.0 < inner.loops() / inner.processes {
            format!(" The planner expected {} rounds.", count(expected))
        } else {
            String::new()
        };
        let each = inner.total_ms.unwrap_or(0.0) * inner.processes / inner.loops();
        let base = base.says(
            format!("runs its inner side {} times", count(inner.loops())),
            format!(
                "For each row of the outer side {} runs again, {} a time.{surprise}",
                inner.title(),
                time(each)
            ),
        );
        found.push(if let Some(filter) = inner.text("Filter").filter(|_| inner.kind == "Seq Scan") {
            base.remedy(format!("an index for {}: each round scans the whole table", short(filter)))
        } else if surprise_is_cause(expected, inner.loops()) {
            base.remedy("a right estimate of the outer side would lead to a hash or merge join")
        } else {
            base.remedy("fewer outer rows (a more selective condition or index there), or an index that answers the inner side alone (INCLUDE the columns that are read)")
        });
    }
    found
}

fn surprise_is_cause(expected: f64, rounds: f64) -> bool {
    expected * 8.0 < rounds
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn thousands_of_rounds_are_named() {
        stored::each("nested-loop", "nested_loop", "merge_join", |_, finding| {
            assert!(finding.title.contains("5,000 times"), "{finding:?}");
        });
    }
}
