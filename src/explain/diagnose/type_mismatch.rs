//! A column compared with a value of another type: the server converts the column.

use super::{Facts, Finding, finding};
use crate::explain::expression::{Comparison, cast_column, conjuncts};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::short;

pub fn check(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        for (field, condition) in node.conditions() {
            // A condition that an index serves has the right type.
            if field == "Index Cond" {
                continue;
            }
            for part in conjuncts(condition) {
                let Some(c) = Comparison::parse(part) else {
                    continue;
                };
                let side = [c.left, c.right]
                    .into_iter()
                    .find_map(|side| converted(node, facts, side));
                if let Some((column, to)) = side {
                    found.push(explain(plan, node, part, &column, to));
                }
            }
        }
    }
    found
}

/// A column under a cast that a literal or a parameter of another type brings about.
fn converted<'a>(node: &Node, facts: &Facts, side: &'a str) -> Option<(String, &'a str)> {
    let (column, to) = cast_column(side)?;
    if facts
        .catalog
        .relabels(node.relation().as_deref(), &column.name, to)
    {
        return None;
    }
    matches!(
        to,
        "numeric" | "double precision" | "timestamp with time zone" | "timestamp without time zone"
    )
    .then_some((column.name, to))
}

fn explain(plan: &Plan, node: &Node, part: &str, column: &str, to: &str) -> Finding {
    finding("type-mismatch", plan, node)
        .says(
            format!("converts {column} to {to} on every row"),
            format!(
                "In {} the other side is of type {to}, so the column is cast to it and an index \
                 on {column} is of no use.",
                short(part)
            ),
        )
        .remedy(format!(
            "pass the value in the column's own type: bind the parameter as that type, or cast \
             the value instead of {column}"
        ))
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_number_of_another_type_is_named() {
        stored::each(
            "type-mismatch",
            "type_mismatch",
            "cast_on_column",
            |_, finding| {
                assert!(
                    finding.title.contains("converts id to numeric"),
                    "{finding:?}"
                );
            },
        );
    }
}
