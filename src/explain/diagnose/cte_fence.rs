//! A materialized CTE of which little is used.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, short};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "CTE Scan") {
        let (Some(filter), Some(name)) = (node.text("Filter"), node.text("CTE Name")) else {
            continue;
        };
        let Some(cte) = plan.subplan(&format!("CTE {name}")) else {
            continue;
        };
        let kept = node.rows().unwrap_or(0.0);
        let removed = node.removed();
        if cte.kind == "Recursive Union" || removed < 1000.0 || removed < kept * 9.0 {
            continue;
        }
        found.push(
            finding("cte-fence", plan, node)
                .share(plan.share(node.total_ms))
                .says(
                    format!(
                        "keeps {} of the {} rows that the CTE {name} made",
                        count(kept),
                        count(kept + removed)
                    ),
                    format!(
                        "The CTE is computed whole before {} is tested: no condition is pushed \
                         into it and no index is used for it.",
                        short(filter)
                    ),
                )
                .remedy(format!(
                    "WITH {name} AS NOT MATERIALIZED (…), or the condition inside the CTE"
                )),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn a_condition_that_stays_outside_is_named() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "CTE Scan", "CTE Name": "x", "Alias": "x", "Filter": "(x.id = 7)",
                "Rows Removed by Filter": 5000, "Actual Rows": 1, "Actual Loops": 1, "Actual Total Time": 9,
                "Plans": [{"Node Type": "Seq Scan", "Parent Relationship": "InitPlan", "Subplan Name": "CTE x",
                           "Actual Rows": 5001, "Actual Loops": 1, "Actual Total Time": 6}]}}"#,
        )
        .unwrap();
        assert!(stored::check("cte-fence", &plan)[0].remedies[0].contains("NOT MATERIALIZED"));
        for version in stored::VERSIONS {
            for name in ["cte", "recursive"] {
                assert!(stored::check("cte-fence", &stored::plan(version, name)).is_empty());
            }
        }
    }
}
