//! A plan as a tree of lines.

use std::fmt::Write as _;

use crate::explain::plan::{Node, Plan};
use crate::explain::words::{count, percent, short, time};

/// The plan for a terminal: share and time of each node alone, its rows, and what it is.
pub fn lines(plan: &Plan) -> String {
    let mut out = String::new();
    let run = plan.root().total_ms.is_some();
    if run {
        let _ = writeln!(out, "   share     alone          rows  (expected)");
    } else {
        let _ = writeln!(out, "      cost  expected rows");
    }
    for node in &plan.nodes {
        let head = if run {
            let rows = node.rows().map_or_else(|| "never run".to_owned(), count);
            format!(
                "  {:>6} {:>9} {:>13} {:>11}",
                percent(plan.share(node.self_ms)),
                time(node.self_ms.unwrap_or(0.0)),
                rows,
                format!("({})", count(expected(node)))
            )
        } else {
            format!(
                "  {:>8} {:>14}",
                count(node.number("Total Cost").unwrap_or(0.0)),
                count(node.number("Plan Rows").unwrap_or(0.0))
            )
        };
        let _ = writeln!(
            out,
            "{head}  {}{}{}",
            branch(plan, node),
            name(node),
            node.title()
        );
        for (field, condition) in node.conditions() {
            let blank = " ".repeat(head.chars().count() + 2 + node.depth * 2 + 2);
            let _ = writeln!(out, "{blank}{}: {}", field.to_lowercase(), short(condition));
        }
    }
    out
}

/// Rows that were expected, all runs together, to stand beside those that came.
fn expected(node: &Node) -> f64 {
    node.number("Plan Rows").unwrap_or(0.0) * node.loops().max(1.0)
}

/// `InitPlan 1: `, `CTE x: `.
pub fn name(node: &Node) -> String {
    node.text("Subplan Name")
        .map_or_else(String::new, |n| format!("{n}: "))
}

fn branch(plan: &Plan, node: &Node) -> String {
    let Some(parent) = plan.parent(node) else {
        return String::new();
    };
    let last = parent.children.last() == Some(&node.id);
    let mut text = String::from(if last { "└ " } else { "├ " });
    let mut at = parent;
    while let Some(above) = plan.parent(at) {
        let last = above.children.last() == Some(&at.id);
        text.insert_str(0, if last { "  " } else { "│ " });
        at = above;
    }
    text
}
