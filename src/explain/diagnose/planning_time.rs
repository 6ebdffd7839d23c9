//! Planning took longer than running.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::time;

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let (Some(planning), Some(running)) = (plan.planning_ms, plan.execution_ms) else {
        return Vec::new();
    };
    if planning < 20.0 || planning < running {
        return Vec::new();
    }
    vec![
        finding("planning-time", plan, plan.root())
            .share(1.0)
            .says(
                format!("is planned for {} and runs for {}", time(planning), time(running)),
                "The planner weighs many tables, partitions or indexes against each other each \
                 time the query comes.",
            )
            .remedy("a prepared statement, which is planned once (plan_cache_mode)")
            .remedy("fewer partitions or joined tables in one query; catalog bloat and a cold catalog cache slow planning down too"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn planning_is_named_when_it_is_most_of_the_time() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Result", "Actual Loops": 1, "Actual Total Time": 1},
                "Planning Time": 55.0, "Execution Time": 1.5}"#,
        )
        .unwrap();
        assert_eq!(stored::check("planning-time", &plan).len(), 1);
        assert!(stored::check("planning-time", &stored::plan(14, "window")).is_empty());
    }
}
