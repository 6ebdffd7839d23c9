//! Plans of PostgreSQL 14 to 18 (see scripts/take-plans), and plans that no server made.

use crossfade::explain::catalog::Catalog;
use crossfade::explain::diagnose::{Facts, diagnose};
use crossfade::explain::plan::Plan;
use crossfade::explain::report::html::page;

fn stored() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/explain/plans");
    let mut found = Vec::new();
    for version in ["14", "15", "16", "17", "18", "by_hand"] {
        for entry in std::fs::read_dir(format!("{root}/{version}")).unwrap() {
            let path = entry.unwrap().path();
            found.push((
                path.strip_prefix(root).unwrap().display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    found
}

#[test]
fn every_stored_plan_is_read_diagnosed_and_drawn() {
    let all = stored();
    assert!(all.len() > 230, "{}", all.len());
    let catalog = Catalog::default();
    let facts = Facts {
        catalog: &catalog,
        waits: &[],
    };
    for (name, text) in all {
        let plan = Plan::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for finding in diagnose(&plan, &facts) {
            assert!((0.0..=1.0).contains(&finding.share), "{name}: {finding:?}");
            assert!(
                !finding.title.is_empty() && !finding.why.is_empty(),
                "{name}"
            );
            assert!(finding.node < plan.nodes.len(), "{name}");
        }
        // What the nodes took alone is what the whole took, within rounding.
        if let Some(total) = plan.root().total_ms {
            let alone: f64 = plan.nodes.iter().filter_map(|n| n.self_ms).sum();
            assert!(alone <= total * 1.6 + 0.5, "{name}: {alone} of {total}");
        }
        let drawn = page(&plan);
        assert!(drawn.contains("<svg"), "{name}");
    }
}

#[test]
fn the_kinds_of_nodes_that_matter_are_among_the_stored_plans() {
    let all: String = stored().into_iter().map(|(_, text)| text).collect();
    for kind in [
        "InitPlan",
        "SubPlan",
        "CTE Scan",
        "Recursive Union",
        "Append",
        "Gather",
        "Custom Scan",
        "Foreign Scan",
        "Memoize",
        "WindowAgg",
        "Incremental Sort",
        "LockRows",
        "ModifyTable",
        "BitmapOr",
        "Sample Scan",
        "Tid Scan",
        "SetOp",
        "MixedAggregate",
        "Quantum Scan",
    ] {
        let found = all.contains(&format!("\"{kind}\""))
            || all.contains(&format!("{kind} 1"))
            || kind == "MixedAggregate" && all.contains("\"Mixed\"");
        assert!(found, "{kind}");
    }
}

#[test]
fn a_custom_scan_is_named_with_its_provider() {
    let plan = stored()
        .into_iter()
        .find(|(name, _)| name.ends_with("custom_scan.json"))
        .map(|(_, text)| Plan::parse(&text).unwrap())
        .unwrap();
    assert!(
        plan.nodes
            .iter()
            .any(|n| n.title() == "Custom Scan (ChunkAppend) on public.metrics m"),
        "{plan:#?}"
    );
}

#[test]
fn a_text_that_is_cut_anywhere_is_refused_and_never_ends_the_program() {
    let text = &stored()[0].1;
    for at in (0..text.len()).step_by(37) {
        if text.is_char_boundary(at) {
            let _ = Plan::parse(&text[..at]);
        }
    }
}
