//! An index or a join that finds far more rows than it keeps.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, short};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind != "Seq Scan") {
        // What a JSON function made is another rule's matter.
        if node.kind == "Function Scan" {
            continue;
        }
        let Some(kept) = node.rows() else { continue };
        let removed = node.removed();
        if removed < 1000.0 || removed < kept * 9.0 {
            continue;
        }
        let filter = ["Filter", "Join Filter"]
            .iter()
            .find_map(|field| node.text(field))
            .unwrap_or("the recheck of the index's condition");
        let base = finding("rows-removed", plan, node);
        let share = base.share;
        let base = base.share(share.max(plan.share(below(plan, node.id))));
        let what = if node.text("Index Name").is_some() {
            "the index"
        } else {
            "it"
        };
        let remedy = if node.text("Index Name").is_some() {
            "an index that has the columns of this condition too"
        } else if node.is_scan() {
            "an index that has the columns of this condition"
        } else {
            "a join condition that is an equality, with an index on the inner side"
        };
        found.push(
            base.says(
                format!(
                    "finds {} rows and keeps {}",
                    count(kept + removed),
                    count(kept)
                ),
                format!(
                    "Each row that {what} leads to is fetched before it is tested: {} were \
                     dropped by {}.",
                    count(removed),
                    short(filter)
                ),
            )
            .remedy(remedy),
        );
    }
    found
}

/// A bitmap's index scans below work for the same rows.
fn below(plan: &Plan, id: usize) -> Option<f64> {
    let node = &plan.nodes[id];
    node.kind.starts_with("Bitmap").then_some(node.total_ms)?
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn an_index_that_leads_to_rows_that_are_dropped_is_named() {
        stored::each(
            "rows-removed",
            "rows_removed",
            "merge_join",
            |_, finding| {
                assert!(finding.at.contains("items_sku"), "{finding:?}");
                assert!(finding.why.contains("%7777%"), "{finding:?}");
            },
        );
    }
}
