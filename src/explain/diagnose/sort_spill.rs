//! A sort that did not fit into memory.

use super::{Facts, Finding, finding};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{bytes, count, work_mem};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        let Some(disk) = on_disk(node) else { continue };
        let rows = node
            .number("Actual Rows")
            .unwrap_or(0.0)
            .max(node.number("Plan Rows").unwrap_or(0.0));
        let needed = in_memory(rows, node.number("Plan Width").unwrap_or(0.0)).max(disk * 1.5);
        found.push(
            finding("sort-spill", plan, node)
                .says(
                    format!("sorts on disk: {} in temporary files", bytes(disk)),
                    format!(
                        "{} rows by {} did not fit into work_mem, so sorted runs were \
                         written out, read back and merged.",
                        count(rows),
                        node.list("Sort Key").join(", ")
                    ),
                )
                .remedy(format!(
                    "SET work_mem = '{}' for this query keeps it in memory (an estimate from \
                     rows and width; each process and each node may take that much)",
                    work_mem(needed)
                ))
                .remedy("an index in this order makes the sort unnecessary; a LIMIT makes it a top-N in memory"),
        );
    }
    found
}

/// Bytes written by a sort, its workers' included.
fn on_disk(node: &Node) -> Option<f64> {
    let own = (node.text("Sort Space Type") == Some("Disk"))
        .then(|| node.number("Sort Space Used").unwrap_or(0.0));
    let of = |group: &str| {
        let kilobytes = node
            .fields()
            .get(group)?
            .pointer("/Sort Space Disk/Peak Sort Space Used")?
            .as_f64()?;
        (kilobytes > 0.0).then_some(kilobytes)
    };
    let groups = of("Full-sort Groups").or_else(|| of("Pre-sorted Groups"));
    let workers: f64 = node
        .fields()
        .get("Workers")
        .and_then(|w| w.as_array())
        .into_iter()
        .flatten()
        .filter(|w| w.get("Sort Space Type").and_then(|t| t.as_str()) == Some("Disk"))
        .filter_map(|w| w.get("Sort Space Used")?.as_f64())
        .sum();
    let total = own.or(groups).unwrap_or(0.0) + workers;
    (total > 0.0).then_some(total * 1024.0)
}

/// A tuple in memory has a header, rounding, and an entry in the array that is sorted.
fn in_memory(rows: f64, width: f64) -> f64 {
    rows * (width + 64.0)
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_sort_on_disk_is_told_the_memory_that_would_do() {
        stored::each("sort-spill", "sort_spill", "window", |_, finding| {
            assert!(finding.title.contains("temporary files"), "{finding:?}");
            assert!(
                finding.remedies[0].contains("work_mem = '3MB'"),
                "{finding:?}"
            );
        });
    }
}
