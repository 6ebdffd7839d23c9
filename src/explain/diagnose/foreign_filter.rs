//! Rows fetched from another server and dropped here.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, short};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Foreign Scan") {
        let Some(filter) = node.text("Filter") else {
            continue;
        };
        let kept = node.rows().unwrap_or(0.0);
        let removed = node.removed();
        if removed < 1000.0 || removed < kept {
            continue;
        }
        found.push(
            finding("foreign-filter", plan, node)
                .says(
                    format!("fetches {} rows from another server to keep {}", count(kept + removed), count(kept)),
                    format!(
                        "{} is tested here: the other server was not trusted with it, because a \
                         function or an operator in it is not known to be the same there.",
                        short(filter)
                    ),
                )
                .remedy("a condition of built-in, immutable functions; or the wrapper's option `extensions` for those of an extension that both servers have"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn a_condition_that_stays_here_is_named() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Foreign Scan", "Relation Name": "r", "Filter": "(mine(r.a) = 1)",
                "Rows Removed by Filter": 4000, "Actual Rows": 2, "Actual Loops": 1, "Actual Total Time": 9}}"#,
        )
        .unwrap();
        assert!(
            stored::check("foreign-filter", &plan)[0]
                .title
                .contains("4,002 rows")
        );
        for version in stored::VERSIONS {
            assert!(stored::check("foreign-filter", &stored::plan(version, "foreign")).is_empty());
        }
    }
}
