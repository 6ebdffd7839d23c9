//! A bitmap that did not fit into memory and forgot which rows it meant.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{count, work_mem};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in plan.nodes.iter().filter(|n| n.kind == "Bitmap Heap Scan") {
        let lossy = node.number("Lossy Heap Blocks").unwrap_or(0.0);
        let exact = node.number("Exact Heap Blocks").unwrap_or(0.0);
        if lossy < 1.0 {
            continue;
        }
        // An entry for a page takes some 50 bytes in the bitmap's hash table.
        let needed = (lossy + exact) * 100.0;
        found.push(
            finding("lossy-bitmap", plan, node)
                .says(
                    format!("reads {} whole pages for want of memory", count(lossy)),
                    format!(
                        "The bitmap outgrew work_mem and kept only page numbers for these: every \
                         row on them was tested again, {} in vain.",
                        count(node.per_loop("Rows Removed by Index Recheck"))
                    ),
                )
                .remedy(format!(
                    "SET work_mem = '{}' for this query",
                    work_mem(needed)
                )),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use crate::explain::plan::Plan;

    #[test]
    fn pages_without_rows_are_named() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Bitmap Heap Scan", "Relation Name": "t", "Exact Heap Blocks": 10,
                "Lossy Heap Blocks": 90, "Rows Removed by Index Recheck": 700, "Actual Loops": 1,
                "Actual Total Time": 5, "Actual Rows": 3}}"#,
        )
        .unwrap();
        let found = stored::check("lossy-bitmap", &plan);
        assert!(found[0].why.contains("700 in vain"), "{found:?}");
        for version in stored::VERSIONS {
            let exact = stored::plan(version, "bitmap_lossy");
            assert!(stored::check("lossy-bitmap", &exact).is_empty());
        }
    }
}
