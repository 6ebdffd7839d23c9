//! A hash table, of a join or an aggregate, that did not fit into memory.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::{bytes, count, work_mem};

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        let peak = node.number("Peak Memory Usage").unwrap_or(0.0) * 1024.0;
        let batches = node.number("Hash Batches").unwrap_or(1.0);
        if batches > 1.0 {
            // The join above reads and writes the batches.
            let join = plan.parent(node).unwrap_or(node);
            let ms = join.self_ms.unwrap_or(0.0) + node.self_ms.unwrap_or(0.0);
            let rows = node.rows().unwrap_or(0.0);
            let width = node.number("Plan Width").unwrap_or(0.0);
            let needed = (rows * (width + 48.0)).max(peak);
            found.push(
                finding("hash-spill", plan, node)
                    .share(plan.share(Some(ms)))
                    .says(
                        format!(
                            "hashes in {} batches through temporary files",
                            count(batches)
                        ),
                        format!(
                            "The hash table of {} rows did not fit into work_mem × \
                             hash_mem_multiplier: both sides of the join were written out in \
                             parts and read back.",
                            count(rows)
                        ),
                    )
                    .remedy(advice(needed)),
            );
        }
        let disk = node.number("Disk Usage").unwrap_or(0.0) * 1024.0;
        if disk > 0.0 {
            let groups = node.rows().unwrap_or(0.0);
            let width = node.number("Plan Width").unwrap_or(0.0);
            found.push(
                finding("hash-spill", plan, node)
                    .says(
                        format!("aggregates through {} of temporary files", bytes(disk)),
                        format!(
                            "{} groups did not fit into work_mem × hash_mem_multiplier, so rows \
                             were written out and aggregated in parts.",
                            count(groups)
                        ),
                    )
                    .remedy(advice((groups * (width + 120.0)).max(disk + peak))),
            );
        }
    }
    found
}

fn advice(bytes: f64) -> String {
    format!(
        "SET work_mem = '{}' for this query keeps it in memory (an estimate; from version 15 on \
         hash tables may take twice work_mem)",
        work_mem(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn a_hash_join_in_batches_is_told_the_memory_that_would_do() {
        stored::each(
            "hash-spill",
            "hash_spill",
            "unanalyzed_join",
            |_, finding| {
                assert!(finding.title.contains("batches"), "{finding:?}");
                assert!(finding.remedies[0].contains("work_mem"), "{finding:?}");
            },
        );
    }

    #[test]
    fn an_aggregate_on_disk_is_named() {
        stored::each(
            "hash-spill",
            "aggregate_spill",
            "parallel_scan",
            |_, finding| {
                assert!(
                    finding.title.starts_with("aggregates through"),
                    "{finding:?}"
                );
            },
        );
    }
}
