//! Dashboards, alerts and `docs/metrics.md` speak of the metrics that exist, of all of
//! them and of no others. (`tests/operators/prometheus.rs` asks a real Prometheus.)

use std::collections::BTreeSet;
use std::path::PathBuf;

use crossfade::metrics::{TABLE, Type, page};
use serde_json::Value;

const DASHBOARDS: [&str; 4] = [
    "overview",
    "copy_and_stream",
    "verification_and_switch",
    "database_safety",
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn dashboards() -> Vec<Value> {
    DASHBOARDS
        .map(|name| serde_json::from_str(&read(&format!("dashboards/{name}.json"))).unwrap())
        .into()
}

/// Every word that could be one of our metrics.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("crossfade_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Names as they are queried: a histogram has three series.
fn queryable() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for metric in TABLE {
        let suffixes: &[&str] = match metric.kind {
            Type::Histogram => &["_bucket", "_sum", "_count"],
            Type::Counter | Type::Gauge => &[""],
        };
        all.extend(suffixes.iter().map(|s| format!("{}{s}", metric.name)));
    }
    all
}

fn unknown(used: &BTreeSet<String>) -> Vec<String> {
    used.difference(&queryable()).cloned().collect()
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    targets
        .map(|t| t["expr"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_dashboards_show_every_metric_and_no_other() {
    let all: Vec<String> = dashboards().iter().flat_map(expressions).collect();
    let used = names(&all.join(" "));
    assert_eq!(unknown(&used), Vec::<String>::new());
    for metric in TABLE {
        let shown = used.iter().any(|u| u.starts_with(metric.name));
        assert!(shown, "{} is on no panel", metric.name);
    }
}

#[test]
fn every_panel_is_whole_and_can_be_limited_to_a_migration_and_an_instance() {
    for dashboard in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
            for key in ["title", "description"] {
                assert!(!panel[key].as_str().unwrap().is_empty(), "{panel}");
            }
            let place = &panel["gridPos"];
            let end = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
            assert!(end <= 24, "{panel}");
        }
        for expression in expressions(&dashboard) {
            let uses =
                expression.matches("crossfade_").count() + expression.matches("process_").count();
            let limited = expression.matches("{migration=~\"$migration\",instance=~\"$instance\"");
            assert_eq!(uses, limited.count(), "{expression}");
        }
        for name in ["datasource", "migration", "instance"] {
            let variables = dashboard["templating"]["list"].as_array().unwrap();
            assert!(variables.iter().any(|v| v["name"] == name), "{name}");
        }
    }
}

#[test]
fn every_dashboard_is_provisioned_and_no_two_share_a_uid() {
    let uids: BTreeSet<String> = dashboards()
        .iter()
        .map(|d| d["uid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uids.len(), DASHBOARDS.len());
    let files = std::fs::read_dir(path("dashboards")).unwrap();
    let json = files.filter(|f| {
        f.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "json")
    });
    assert_eq!(json.count(), DASHBOARDS.len());
    assert!(read("docker-compose.yml").contains("./dashboards:/"));
}

/// The anchors that the headings of a page get.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let text: String = line
                .trim_start_matches('#')
                .trim()
                .chars()
                .filter(kept)
                .collect();
            text.to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_alert_uses_metrics_that_exist_and_leads_to_what_to_do() {
    let text = read("dashboards/alerts.yml");
    let anchors = anchors(&read("docs/operations.md"));
    let tested = read("dashboards/alerts_test.yml");
    let mut alerts = 0;
    for rule in text.split("- alert: ").skip(1) {
        alerts += 1;
        let name = rule.lines().next().unwrap();
        let field = |key: &str| {
            rule.lines()
                .find_map(|line| line.trim().strip_prefix(&format!("{key}: ")))
                .unwrap_or_else(|| panic!("no {key} in\n{rule}"))
                .trim_matches('"')
        };
        let expression = field("expr");
        assert_eq!(unknown(&names(expression)), Vec::<String>::new());
        assert!(!names(expression).is_empty() || expression.starts_with("up{"));
        for key in ["severity", "summary", "description"] {
            assert!(!field(key).is_empty(), "{rule}");
        }
        let link = field("runbook_url")
            .strip_prefix("docs/operations.md#")
            .unwrap();
        assert!(anchors.contains(link), "{name}: no heading for #{link}");
        let own = format!("alertname: {name}\n");
        let never = format!("alertname: {name}, exp_alerts: []");
        assert!(
            tested.contains(&own) && tested.contains(&never),
            "{name} has no test"
        );
    }
    assert!(alerts >= 10);
    assert!(read("dashboards/prometheus.yml").contains("- alerts.yml"));
}

/// Writes the page anew when `UPDATE_DOCS` is set.
#[test]
fn the_page_on_metrics_is_the_table() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path("docs/metrics.md"), page::render()).unwrap();
    }
    assert!(
        read("docs/metrics.md") == page::render(),
        "docs/metrics.md is not what src/metrics/table.rs says: UPDATE_DOCS=1 cargo test --test dashboards"
    );
}

#[test]
fn nothing_is_counted_but_what_the_table_has() {
    let mut open = vec![path("src")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                open.push(file);
                continue;
            }
            if file.ends_with("src/metrics.rs") || file.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for call in [
                "metrics::gauge!",
                "metrics::counter!",
                "metrics::histogram!",
            ] {
                assert!(!text.contains(call), "{}: {call}", file.display());
            }
        }
    }
}
