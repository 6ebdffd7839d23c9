//! Workers that were planned and did not come.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::count;

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind.starts_with("Gather")) {
        let planned = node.number("Workers Planned").unwrap_or(0.0);
        let Some(launched) = node.number("Workers Launched") else {
            continue;
        };
        if launched >= planned {
            continue;
        }
        found.push(
            finding("missing-workers", plan, node)
                .share(plan.share(node.total_ms))
                .says(
                    format!(
                        "had {} of {} parallel workers",
                        count(launched),
                        count(planned)
                    ),
                    "The plan was chosen for more processes than the server had to spare when it \
                     ran: max_parallel_workers or max_worker_processes were used up.",
                )
                .remedy("raise max_parallel_workers, or run it when less goes on at once"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn missing_workers_are_counted() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Gather Merge", "Workers Planned": 4, "Workers Launched": 1,
                "Actual Loops": 1, "Actual Total Time": 10, "Actual Rows": 1}}"#,
        )
        .unwrap();
        assert!(
            stored::check("missing-workers", &plan)[0]
                .title
                .contains("1 of 4")
        );
        for version in stored::VERSIONS {
            assert!(
                stored::check("missing-workers", &stored::plan(version, "parallel_scan"))
                    .is_empty()
            );
        }
    }
}
