//! A query that visits every partition.

use super::{Facts, Finding, finding};
use crate::explain::plan::Plan;
use crate::explain::words::count;

/// Fewer partitions than this cost nothing worth a word.
const MANY: usize = 4;

pub fn check(plan: &Plan, _: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        if !matches!(node.kind.as_str(), "Append" | "Merge Append") {
            continue;
        }
        let scans: Vec<_> = plan
            .children(node)
            .filter(|c| c.is_scan() && c.relation().is_some())
            .collect();
        let used = scans
            .iter()
            .filter(|s| s.rows().unwrap_or(0.0) > 0.0)
            .count();
        let executed = scans.iter().filter(|s| s.loops() > 0.0).count();
        // Partitions of one table have aliases that count up: `events_1`, `events_2`.
        let stems: Vec<_> = scans.iter().filter_map(|s| s.alias().map(stem)).collect();
        let one_table = stems.windows(2).all(|pair| pair[0] == pair[1]);
        if executed < MANY || !one_table {
            continue;
        }
        let filtered = scans.iter().filter(|s| s.text("Filter").is_some()).count();
        if filtered == 0 && used == executed {
            continue;
        }
        let stem = stems.first().copied().unwrap_or("");
        found.push(
            finding("unpruned-partitions", plan, node)
                .share(plan.share(node.total_ms))
                .says(
                    format!("visits {executed} partitions of {stem}"),
                    format!(
                        "No condition tells the planner which partition holds the rows, so each \
                         is searched; {} of them had any.",
                        count(f64::from(u32::try_from(used).unwrap_or(u32::MAX)))
                    ),
                )
                .remedy("a condition on the partition key, as plain as the key itself (no function or cast around it)"),
        );
    }
    found
}

fn stem(alias: &str) -> &str {
    alias
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches('_')
}

#[cfg(test)]
mod tests {
    use super::super::stored;

    #[test]
    fn partitions_that_a_condition_could_leave_out_are_named() {
        stored::each(
            "unpruned-partitions",
            "partitions",
            "partitions_pruned",
            |_, finding| {
                assert!(
                    finding.title.contains("partitions of events"),
                    "{finding:?}"
                );
            },
        );
    }
}
