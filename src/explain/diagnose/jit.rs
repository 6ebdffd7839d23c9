//! Compiling took longer than it saved.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, time};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let Some(jit) = plan.jit else {
        return Vec::new();
    };
    let share = plan.share(Some(jit.total_ms));
    if share < 0.1 {
        return Vec::new();
    }
    vec![
        finding("jit", plan, plan.root())
            .share(share)
            .says(
                format!("compiles for {}", time(jit.total_ms)),
                format!(
                    "{} functions were compiled to machine code because the plan's estimated cost \
                     is above jit_above_cost; the query is over before that pays.",
                    count(jit.functions)
                ),
            )
            .remedy("SET jit = off for this query, or a higher jit_above_cost")
            .remedy("a right estimate, where the cost was overestimated"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn compiling_for_a_short_query_is_named() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Result", "Actual Loops": 1, "Actual Total Time": 90, "Actual Rows": 1},
                "JIT": {"Functions": 12, "Timing": {"Total": 80.5}}, "Execution Time": 100}"#,
        )
        .unwrap();
        let found = stored::check("jit", &plan);
        assert!(
            found[0].share > 0.8 && found[0].title.contains("80.5 ms"),
            "{found:?}"
        );
        assert!(stored::check("jit", &stored::plan(15, "window")).is_empty());
    }
}
