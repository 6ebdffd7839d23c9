//! count(*) where only "is there one?" was meant.

use super::{Facts, Finding, finding};
use crate::explain::expression::{Comparison, conjuncts, disjuncts};
use crate::explain::plan::Plan;
use crate::explain::words::count;

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        for (_, condition) in node.conditions() {
            for part in conjuncts(condition).into_iter().flat_map(disjuncts) {
                let Some(name) = counted(part) else { continue };
                let Some(counting) = plan.subplan(&name).filter(|n| n.kind == "Aggregate") else {
                    continue;
                };
                let read: f64 = plan
                    .children(counting)
                    .filter_map(crate::explain::plan::Node::rows)
                    .sum();
                found.push(
                    finding("count-for-existence", plan, node)
                        .share(plan.share(counting.total_ms))
                        .says(
                            "counts rows to learn whether there is one",
                            format!(
                                "{} rows were counted in {} runs; the first of each run was \
                                 answer enough.",
                                count(read),
                                count(counting.loops())
                            ),
                        )
                        .remedy("EXISTS (…) for `count(*) > 0`, NOT EXISTS (…) for `count(*) = 0`"),
                );
            }
        }
    }
    found
}

/// The sub-plan whose result is compared with nothing, or one: its name.
fn counted(part: &str) -> Option<String> {
    let c = Comparison::parse(part)?;
    let bound = c
        .right
        .trim_end_matches("::bigint")
        .trim_matches(|x| x == '(' || x == ')' || x == '\'');
    let asks = matches!(
        (c.operator, bound),
        (">" | "=" | "<>", "0") | (">=" | "<", "1")
    );
    let name = c.left.trim_start_matches("hashed ");
    let number = name
        .strip_prefix("SubPlan ")
        .or_else(|| name.strip_prefix("InitPlan "))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    let kind = name.split(' ').next()?;
    asks.then(|| format!("{kind} {digits}"))
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use super::counted;

    #[test]
    fn counting_to_compare_with_nothing_is_named() {
        stored::each(
            "count-for-existence",
            "count_exists",
            "correlated",
            |_, finding| {
                assert!(finding.remedies[0].starts_with("EXISTS"), "{finding:?}");
            },
        );
    }

    #[test]
    fn only_comparisons_with_nothing_count() {
        assert_eq!(counted("(SubPlan 1) > 0").as_deref(), Some("SubPlan 1"));
        assert_eq!(counted("(SubPlan 12) >= 1").as_deref(), Some("SubPlan 12"));
        assert_eq!(counted("(SubPlan 1) > 5"), None);
        assert_eq!(counted("o.x > 0"), None);
    }
}
