//! JSON taken apart row by row.

use super::{Facts, Finding, finding};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{count, short};

const FUNCTIONS: &[&str] = &[
    "json_array_elements",
    "jsonb_array_elements",
    "json_each",
    "jsonb_each",
    "json_to_recordset",
    "jsonb_to_recordset",
    "json_populate_recordset",
    "jsonb_populate_recordset",
    "jsonb_path_query",
    "json_array_elements_text",
    "jsonb_array_elements_text",
    "json_object_keys",
    "jsonb_object_keys",
];

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        if is_json_function(node) {
            found.push(unnested(plan, node));
        } else if let Some(condition) = reads_json(node) {
            found.push(tested(plan, node, condition));
        }
    }
    found
}

fn is_json_function(node: &Node) -> bool {
    let name = node.text("Function Name").unwrap_or("");
    (node.kind == "Function Scan" && FUNCTIONS.contains(&name))
        || node.kind == "Table Function Scan"
        || node.kind == "ProjectSet"
            && node
                .list("Output")
                .iter()
                .any(|o| FUNCTIONS.iter().any(|f| o.contains(f)))
}

fn unnested(plan: &Plan, node: &Node) -> Finding {
    let made = node.rows().unwrap_or(0.0) + node.removed();
    let function = node.text("Function Name").unwrap_or("a JSON function");
    // Memory of results in between, and the join that asks for them, belong to it.
    let around = plan
        .parent(node)
        .filter(|p| matches!(p.kind.as_str(), "Memoize" | "Nested Loop"));
    let ms = node.self_ms.unwrap_or(0.0) + around.and_then(|p| p.self_ms).unwrap_or(0.0);
    finding("json-parsing", plan, node)
        .share(plan.share(Some(ms)))
        .says(
            format!("takes JSON apart {} times", count(node.loops())),
            format!(
                "{function} reads the whole document (and fetches it from TOAST when it is large) \
                 for every row, made {} rows of them, and no index and no statistics reach inside.",
                count(made)
            ),
        )
        .remedy(
            "a table of its own for what the document holds: `crossfade audit --rule json-array` names the \
             column, `--plan DIR` writes the split, `crossfade run` carries it out while the application goes on",
        )
}

fn reads_json(node: &Node) -> Option<&str> {
    node.conditions()
        .into_iter()
        .filter(|(field, _)| *field != "Index Cond" && *field != "Recheck Cond")
        .map(|(_, condition)| condition)
        .find(|c| {
            ["->", "#>", "@>", "jsonb_path"]
                .iter()
                .any(|o| c.contains(o))
        })
        .filter(|_| node.loops().abs() < f64::EPSILON || node.removed() >= 1000.0)
}

fn tested(plan: &Plan, node: &Node, condition: &str) -> Finding {
    let read = node.rows().unwrap_or(0.0) + node.removed();
    finding("json-parsing", plan, node)
        .says(
            if node.loops() > 0.0 {
                format!("looks into the JSON of {} rows", count(read))
            } else {
                "would look into the JSON of each row".to_owned()
            },
            format!(
                "{} reads each document to find one value.",
                short(condition)
            ),
        )
        .remedy("an index on the expression, or a GIN index for @> and ?, where that is enough")
        .remedy(
            "a column or a table of its own for the value: `crossfade audit --plan DIR` writes the change, \
             `crossfade run` carries it out while the application goes on",
        )
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn documents_that_are_unnested_row_by_row_point_to_a_schema_change() {
        stored::each("json-parsing", "json", "function_scan", |_, finding| {
            assert!(
                finding.remedies[0].contains("crossfade audit"),
                "{finding:?}"
            );
        });
    }
}
