//! A condition on a function or a cast of a column: no index of the column serves it.

use super::{Facts, Finding, finding};
use crate::explain::expression::{
    Comparison, cast_column, columns, conjuncts, functions, is_constant,
};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{count, short};

pub fn check(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.relation().is_some()) {
        let Some(filter) = node.text("Filter") else {
            continue;
        };
        for part in conjuncts(filter) {
            let Some(c) = Comparison::parse(part) else {
                continue;
            };
            if !(is_constant(c.right) && is_wrapped(node, facts, c.left)) {
                continue;
            }
            let kept = node.rows().unwrap_or(0.0);
            let removed = node.per_loop("Rows Removed by Filter");
            if node.loops() > 0.0 && removed < 1000.0 {
                continue;
            }
            found.push(explain(plan, node, &c, kept + removed));
        }
    }
    found
}

/// More than a column and not just another name for its type. JSON operators are a
/// rule of their own.
fn is_wrapped(node: &Node, facts: &Facts, left: &str) -> bool {
    if columns(left).is_empty() || left.contains("->") || left.contains("#>") {
        return false;
    }
    if let Some((column, to)) = cast_column(left) {
        // What type-mismatch speaks of, and casts that indexes see through.
        let free = facts
            .catalog
            .relabels(node.relation().as_deref(), &column.name, to);
        return !free && matches!(to, "date" | "time without time zone" | "text");
    }
    !functions(left).is_empty()
        || left.contains(" + ")
        || left.contains(" - ")
        || left.contains("AT TIME ZONE")
}

fn explain(plan: &Plan, node: &Node, c: &Comparison, read: f64) -> Finding {
    let relation = node.relation().unwrap_or_default();
    let named: Vec<_> = columns(c.left).into_iter().map(|c| c.name).collect();
    let base = finding("wrapped-column", plan, node).says(
        format!("tests {} instead of {}", short(c.left), named.join(", ")),
        format!(
            "The expression is computed for each of {} rows; an index on {} holds the plain \
             values and cannot answer it.",
            count(read),
            named.join(", ")
        ),
    );
    let base = match c.left {
        left if left.ends_with("::date") || left.starts_with("date_trunc") => base.remedy(format!(
            "a range of the plain column: {0} >= start AND {0} < end, which an index of the column serves",
            named.join(", ")
        )),
        _ => base,
    };
    base.remedy(format!(
        "an index on the expression, if it is immutable: CREATE INDEX ON {relation} (({}))",
        crate::explain::expression::without_alias(c.left, node.alias().unwrap_or(""))
    ))
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_function_of_a_column_is_named_with_the_index_that_serves_it() {
        stored::each(
            "wrapped-column",
            "function_on_column",
            "selective_scan",
            |_, finding| {
                assert!(
                    finding.remedies[0]
                        .contains("CREATE INDEX ON public.customers ((lower(email)))"),
                    "{finding:?}"
                );
            },
        );
    }

    #[test]
    fn a_cast_to_a_date_is_better_said_as_a_range() {
        stored::each(
            "wrapped-column",
            "cast_on_column",
            "type_mismatch",
            |_, finding| {
                assert!(
                    finding.remedies[0].contains("created_at >= start"),
                    "{finding:?}"
                );
            },
        );
    }
}
