//! OR over different columns: no single index leads to all of its rows.

use super::{Facts, Finding, finding};
use crate::explain::expression::{columns, conjuncts, disjuncts};
use crate::explain::plan::Plan;
use crate::explain::words::{count, short};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        for field in ["Filter", "Join Filter"] {
            let Some(filter) = node.text(field) else {
                continue;
            };
            let removed = node.removed();
            if node.loops() > 0.0 && (removed < 1000.0 || removed < node.rows().unwrap_or(0.0)) {
                continue;
            }
            let Some(part) = conjuncts(filter).into_iter().find(|part| spreads(part)) else {
                continue;
            };
            let join = field == "Join Filter";
            found.push(
                finding("or-condition", plan, node)
                    .says(
                        "an OR over different columns",
                        format!(
                            "{} holds for a row by one column or by another, so {} it had to be \
                             tested on every one of {} rows.",
                            short(part),
                            if join { "no hash or merge join can follow it and" } else { "without an index for each side" },
                            count(removed + node.rows().unwrap_or(0.0))
                        ),
                    )
                    .remedy("one query a side, put together by UNION ALL (with the first side's condition excluded in the second)")
                    .remedy("an index for each side: PostgreSQL combines them in a bitmap"),
            );
        }
    }
    found
}

/// Whether the sides of an OR have no column in common.
fn spreads(part: &str) -> bool {
    let sides = disjuncts(part);
    if sides.len() < 2 {
        return false;
    }
    let first = columns(sides[0]);
    !sides
        .iter()
        .all(|side| columns(side).iter().any(|c| first.contains(c)))
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn different_columns_are_named_and_indexed_ones_are_not() {
        stored::each("or-condition", "or_columns", "bitmap_or", |_, finding| {
            assert!(finding.why.contains("customer_id = 77"), "{finding:?}");
        });
    }
}
