//! Time that passed waiting: for the disk, for locks.

use super::{Facts, Finding, finding};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{bytes, percent, time};

const BLOCK: f64 = 8192.0;

pub fn check(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = disk(plan).into_iter().collect();
    for wait in facts
        .waits
        .iter()
        .filter(|w| matches!(w.kind.as_str(), "Lock" | "LWLock" | "BufferPin"))
    {
        if wait.part < 0.05 {
            continue;
        }
        let why = if wait.kind == "Lock" {
            "Another session held what it asked for; no index and no memory shortens that."
        } else {
            "Many sessions work on the same shared structure at once."
        };
        found.push(
            finding("waits", plan, plan.root())
                .share(wait.part)
                .says(format!("waits for {} {} in {} of the samples", wait.kind, wait.event, percent(wait.part)), why)
                .remedy("see pg_blocking_pids() and pg_stat_activity while it runs; shorter transactions on the same rows"),
        );
    }
    found
}

/// With track_io_timing the plan says how long it read.
fn disk(plan: &Plan) -> Option<Finding> {
    // The node where most of it happened.
    let node = plan
        .nodes
        .iter()
        .max_by(|a, b| own(plan, a).total_cmp(&own(plan, b)))?;
    let root = plan.root();
    let ms = reading(root) / root.processes;
    let share = plan.share(Some(ms));
    if share < 0.1 {
        return None;
    }
    let read = root.blocks().map_or(0.0, |(_, read)| read) * BLOCK;
    Some(
        finding("waits", plan, node)
            .share(share)
            .says(
                format!("reads {} from disk in {}", bytes(read), time(ms)),
                "These pages were not in shared buffers. A second run may find them there: compare \
                 cold and warm.",
            )
            .remedy("fewer pages to read: an index, a narrower table, less bloat")
            .remedy("more memory for shared_buffers and the system's cache"),
    )
}

/// Milliseconds of reading; the field got another name in version 17.
fn reading(node: &Node) -> f64 {
    node.number("Shared I/O Read Time")
        .or_else(|| node.number("I/O Read Time"))
        .unwrap_or(0.0)
}

fn own(plan: &Plan, node: &Node) -> f64 {
    reading(node) - plan.children(node).map(reading).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Wait, stored};
    use crate::explain::catalog::Catalog;
    use crate::explain::plan::Plan;

    #[test]
    fn reading_from_disk_is_named_under_both_names() {
        for field in ["I/O Read Time", "Shared I/O Read Time"] {
            let plan = Plan::parse(&format!(
                r#"{{"Plan": {{"Node Type": "Seq Scan", "Actual Loops": 1, "Actual Total Time": 100, "{field}": 80,
                    "Shared Hit Blocks": 1, "Shared Read Blocks": 1280, "Actual Rows": 1}}, "Execution Time": 100}}"#
            ))
            .unwrap();
            let found = stored::check("waits", &plan);
            assert!(found[0].title.contains("10 MB"), "{found:?}");
        }
    }

    #[test]
    fn locks_that_were_waited_for_are_named() {
        let plan = stored::plan(16, "window");
        let waits = [Wait {
            kind: "Lock".to_owned(),
            event: "relation".to_owned(),
            part: 0.6,
        }];
        let catalog = Catalog::default();
        let found = super::check(
            &plan,
            &Facts {
                catalog: &catalog,
                waits: &waits,
            },
        );
        assert!(found[0].title.contains("Lock relation"), "{found:?}");
    }
}
