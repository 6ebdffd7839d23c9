//! Why a query is slow: one rule a file, each a pure function of the plan.
//!
//! A rule names the node, its share of the time and the reason in plain words. What it
//! does not know (a catalog, waits) it does without: stored plans have neither.

mod cte_fence;
mod correlated_subplan;
mod count_for_existence;
mod foreign_filter;
mod hash_spill;
mod heap_fetches;
mod jit;
mod json_parsing;
mod lossy_bitmap;
mod misestimate;
mod missing_workers;
mod nested_loop;
mod not_in;
mod offset_paging;
mod or_condition;
mod planning_time;
mod rows_removed;
mod selective_scan;
mod sort_spill;
mod type_mismatch;
mod unpruned_partitions;
mod waits;
mod wrapped_column;

use serde::Serialize;

use super::catalog::Catalog;
use super::plan::{Node, Plan};

/// What one rule has to say about one node.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The rule's name, as in `docs/diagnoses.md`.
    pub rule: &'static str,
    /// The node's place in the plan.
    pub node: usize,
    /// The node as it reads in the plan.
    pub at: String,
    /// The part of the execution time that is at stake, 0 to 1; 0 where the plan was
    /// not executed.
    pub share: f64,
    pub title: String,
    /// Why this takes time, in plain words.
    pub why: String,
    /// What can be done, one thing an entry.
    pub remedies: Vec<String>,
}

/// What is known beside the plan.
#[derive(Debug)]
pub struct Facts<'a> {
    pub catalog: &'a Catalog,
    /// What the session waited for while the query ran, sampled from outside.
    pub waits: &'a [Wait],
}

/// One kind of wait of the session that ran the query.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Wait {
    /// `pg_stat_activity.wait_event_type`.
    pub kind: String,
    pub event: String,
    /// The part of the samples that found it, 0 to 1.
    pub part: f64,
}

/// A rule and its name.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub name: &'static str,
    check: fn(&Plan, &Facts) -> Vec<Finding>,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        name: "selective-scan",
        check: selective_scan::check,
    },
    Rule {
        name: "rows-removed",
        check: rows_removed::check,
    },
    Rule {
        name: "misestimate",
        check: misestimate::check,
    },
    Rule {
        name: "nested-loop",
        check: nested_loop::check,
    },
    Rule {
        name: "sort-spill",
        check: sort_spill::check,
    },
    Rule {
        name: "hash-spill",
        check: hash_spill::check,
    },
    Rule {
        name: "heap-fetches",
        check: heap_fetches::check,
    },
    Rule {
        name: "lossy-bitmap",
        check: lossy_bitmap::check,
    },
    Rule {
        name: "wrapped-column",
        check: wrapped_column::check,
    },
    Rule {
        name: "type-mismatch",
        check: type_mismatch::check,
    },
    Rule {
        name: "json-parsing",
        check: json_parsing::check,
    },
    Rule {
        name: "or-condition",
        check: or_condition::check,
    },
    Rule {
        name: "offset-paging",
        check: offset_paging::check,
    },
    Rule {
        name: "not-in",
        check: not_in::check,
    },
    Rule {
        name: "count-for-existence",
        check: count_for_existence::check,
    },
    Rule {
        name: "correlated-subplan",
        check: correlated_subplan::check,
    },
    Rule {
        name: "cte-fence",
        check: cte_fence::check,
    },
    Rule {
        name: "unpruned-partitions",
        check: unpruned_partitions::check,
    },
    Rule {
        name: "missing-workers",
        check: missing_workers::check,
    },
    Rule {
        name: "foreign-filter",
        check: foreign_filter::check,
    },
    Rule {
        name: "waits",
        check: waits::check,
    },
    Rule {
        name: "jit",
        check: jit::check,
    },
    Rule {
        name: "planning-time",
        check: planning_time::check,
    },
];

/// Below this part of the time a finding is not worth a person's attention.
const WORTH: f64 = 0.05;

/// All rules over one plan, what takes most time first.
#[must_use]
pub fn diagnose(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES
        .iter()
        .flat_map(|rule| (rule.check)(plan, facts))
        .filter(|finding| plan.total_ms().is_none() || finding.share >= WORTH)
        .collect();
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

/// Begins a finding about a node; its share is the time of that node alone.
fn finding(rule: &'static str, plan: &Plan, node: &Node) -> Finding {
    Finding {
        rule,
        node: node.id,
        at: node.title(),
        share: plan.share(node.self_ms),
        title: String::new(),
        why: String::new(),
        remedies: Vec::new(),
    }
}

impl Finding {
    fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    fn says(mut self, title: impl Into<String>, why: impl Into<String>) -> Self {
        self.title = title.into();
        self.why = why.into();
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}

#[cfg(test)]
pub mod stored {
    //! The plans in `tests/explain/plans`, taken from real servers.
    use super::{Facts, Finding, RULES};
    use crate::explain::catalog::Catalog;
    use crate::explain::plan::Plan;

    pub const VERSIONS: [u32; 5] = [14, 15, 16, 17, 18];

    pub fn plan(version: u32, name: &str) -> Plan {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/tests/explain/plans/{version}/{name}.json");
        Plan::parse(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
            .unwrap()
    }

    /// What one rule finds in a plan, whatever its share.
    pub fn check(rule: &str, plan: &Plan) -> Vec<Finding> {
        let rule = RULES.iter().find(|r| r.name == rule).unwrap();
        let catalog = Catalog::default();
        (rule.check)(
            plan,
            &Facts {
                catalog: &catalog,
                waits: &[],
            },
        )
    }

    /// The one finding of a rule in a stored plan of every version; and that another plan
    /// has none.
    pub fn each(rule: &str, found_in: &str, not_in: &str, proof: impl Fn(u32, &Finding)) {
        for version in VERSIONS {
            let found = check(rule, &plan(version, found_in));
            assert_eq!(found.len(), 1, "{version} {found_in}: {found:#?}");
            assert_eq!(found[0].rule, rule);
            proof(version, &found[0]);
            let none = check(rule, &plan(version, not_in));
            assert!(none.is_empty(), "{version} {not_in}: {none:#?}");
        }
    }
}
