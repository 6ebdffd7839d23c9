//! How long each node took, as a clock on the wall would say.
//!
//! EXPLAIN gives the average of a node's runs, and for a node that several processes
//! worked on, all their runs. What a node took alone is what is left when its inputs
//! are taken off; what initial plans took is taken off where they stand, what a CTE took
//! off the scans that read it, since those drive it.

use super::{Node, Plan};

pub fn measure(plan: &mut Plan) {
    for id in 0..plan.nodes.len() {
        let processes = processes(plan, &plan.nodes[id]);
        let node = &mut plan.nodes[id];
        node.processes = processes;
        node.total_ms = node
            .number("Actual Total Time")
            .map(|time| time * node.loops() / processes);
    }
    for id in 0..plan.nodes.len() {
        let node = &plan.nodes[id];
        let Some(total) = node.total_ms else { continue };
        let inputs: f64 = plan
            .children(node)
            .filter(|child| !is_cte(child))
            .filter_map(|child| child.total_ms)
            .sum();
        let alone = total - inputs - driven(plan, node);
        plan.nodes[id].self_ms = Some(alone.max(0.0));
    }
}

/// Below a Gather every node runs in each worker and, mostly, in the leader; without a
/// share in the work it has fewer runs than there are processes.
fn processes(plan: &Plan, node: &Node) -> f64 {
    let Some(parent) = plan.parent(node) else {
        return 1.0;
    };
    let around = parent.processes;
    // An initial plan is run once, before the workers start.
    if node.text("Parent Relationship") == Some("InitPlan") {
        return 1.0;
    }
    if parent.kind.starts_with("Gather") {
        let workers = parent.number("Workers Launched").unwrap_or(0.0);
        return (workers + 1.0).min(node.loops()).max(1.0);
    }
    around
}

fn is_cte(node: &Node) -> bool {
    node.text("Subplan Name")
        .is_some_and(|name| name.starts_with("CTE "))
}

/// What the CTE behind a scan took, shared out evenly among the scans that read it.
fn driven(plan: &Plan, node: &Node) -> f64 {
    let Some(name) = node.text("CTE Name").filter(|_| node.kind == "CTE Scan") else {
        return 0.0;
    };
    let readers = plan
        .nodes
        .iter()
        .filter(|other| other.kind == "CTE Scan" && other.text("CTE Name") == Some(name))
        .filter(|other| other.loops() > 0.0)
        .count()
        .max(1);
    let readers = u32::try_from(readers).map_or(1.0, f64::from);
    plan.subplan(&format!("CTE {name}"))
        .and_then(|cte| cte.total_ms)
        .map_or(0.0, |ms| ms / readers)
}

#[cfg(test)]
mod tests {
    use crate::explain::plan::Plan;

    fn near(left: Option<f64>, right: f64) -> bool {
        left.is_some_and(|left| (left - right).abs() < 1e-9)
    }

    #[test]
    fn what_workers_did_at_once_is_counted_once() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Gather", "Workers Launched": 2, "Actual Loops": 1, "Actual Total Time": 12,
                "Plans": [{"Node Type": "Seq Scan", "Actual Loops": 3, "Actual Total Time": 10, "Actual Rows": 5}]}}"#,
        )
        .unwrap();
        assert!(near(plan.nodes[1].total_ms, 10.0));
        assert!(near(plan.nodes[0].self_ms, 2.0));
        assert!(near(plan.nodes[1].rows(), 15.0));
    }

    #[test]
    fn the_inner_side_of_a_nested_loop_counts_all_its_runs() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Nested Loop", "Actual Loops": 1, "Actual Total Time": 110,
                "Plans": [{"Node Type": "Seq Scan", "Actual Loops": 1, "Actual Total Time": 5},
                          {"Node Type": "Index Scan", "Actual Loops": 1000, "Actual Total Time": 0.1}]}}"#,
        )
        .unwrap();
        assert!(near(plan.nodes[2].self_ms, 100.0));
        assert!(near(plan.nodes[0].self_ms, 5.0));
    }

    #[test]
    fn a_cte_is_taken_off_the_scan_that_drives_it() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Sort", "Actual Loops": 1, "Actual Total Time": 100,
                "Plans": [{"Node Type": "Seq Scan", "Subplan Name": "CTE big", "Actual Loops": 1, "Actual Total Time": 70},
                          {"Node Type": "CTE Scan", "CTE Name": "big", "Actual Loops": 1, "Actual Total Time": 80}]}}"#,
        )
        .unwrap();
        assert!(near(plan.nodes[2].self_ms, 10.0));
        assert!(near(plan.nodes[0].self_ms, 20.0));
    }
}
