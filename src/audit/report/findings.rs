//! Findings as cards of the page.

use std::fmt::Write;

use super::super::diagram::Graph;
use super::super::diagram::svg::escape;
use super::super::finding::{Category, Cost, Effort, Finding, Object};
use super::super::plan::{Plan, Script};
use super::Report;

/// The card's place in the page.
#[must_use]
pub fn id(at: usize) -> String {
    format!("f-{}", at + 1)
}

#[must_use]
pub fn category(category: Category) -> &'static str {
    match category {
        Category::Structure => "structure",
        Category::Reference => "reference",
        Category::Type => "type",
        Category::Name => "name",
        Category::Index => "index",
    }
}

/// One card, closed.
pub fn card(page: &mut String, report: &Report<'_>, graph: &Graph, at: usize) {
    let finding = report.findings[at];
    let severity = finding.severity.name();
    let table = finding
        .objects
        .iter()
        .find_map(Object::of_table)
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = write!(
        page,
        "<details class=\"finding\" id=\"{}\" data-severity=\"{severity}\" data-category=\"{}\" data-rule=\"{}\" data-table=\"{}\">\
         <summary><span class=\"sev {severity}\">{severity}</span><span class=\"title\">{}</span><span class=\"meta\">{} \u{b7} {} sure</span></summary><div class=\"body\">",
        id(at),
        category(finding.category),
        escape(finding.rule),
        escape(&table),
        escape(&finding.title),
        escape(finding.rule),
        escape(&finding.confidence.to_string()),
    );
    page.push_str("<h3>Evidence</h3><ul>");
    for evidence in &finding.evidence {
        let _ = write!(page, "<li>{}</li>", escape(&evidence.text));
    }
    page.push_str("</ul>");
    sql(page, "See it for yourself", &finding.proof);
    let _ = write!(page, "<h3>Remedy</h3><p>{}</p>", escape(&finding.remedy));
    let _ = write!(page, "<h3>Cost</h3><p>{}</p>", escape(&cost(&finding.cost)));
    if let Some(plan) = report.plan {
        planned(page, plan, finding);
    }
    objects(page, graph, finding);
    page.push_str("</div></details>\n");
}

/// SQL with a button that copies it.
fn sql(page: &mut String, title: &str, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    let _ = write!(
        page,
        "<h3>{title}</h3><div class=\"sql\"><pre>{}</pre><button type=\"button\" class=\"copy\">Copy</button></div>",
        escape(text.trim())
    );
}

fn cost(cost: &Cost) -> String {
    let effort = match cost.effort {
        Effort::Statement => "One statement",
        Effort::Migration => "A migration in several steps",
        Effort::Restructuring => "Rows take another shape",
    };
    let mut text = effort.to_owned();
    if cost.rows > 0 || cost.bytes > 0 {
        let _ = write!(
            text,
            ", about {} rows, {}",
            grouped(cost.rows),
            bytes(cost.bytes)
        );
    }
    if !cost.text.is_empty() {
        let _ = write!(text, ". {}", cost.text);
    }
    text
}

/// What the plan does about it.
fn planned(page: &mut String, plan: &Plan, finding: &Finding) {
    let mine: Vec<_> = plan
        .migrations
        .iter()
        .enumerate()
        .filter(|(_, e)| e.finding == finding.title)
        .collect();
    let modules: Vec<_> = plan
        .modules
        .iter()
        .filter(|m| {
            finding
                .objects
                .iter()
                .any(|o| o.of_table() == Some(&m.parent))
        })
        .filter(|_| !mine.is_empty())
        .collect();
    if mine.is_empty() {
        return;
    }
    page.push_str("<h3>In the plan</h3>");
    for (at, entry) in mine {
        let migration = &entry.migration;
        let _ = write!(
            page,
            "<details class=\"migration\"><summary>{:04}_{}: {}</summary>",
            at + 1,
            escape(&migration.name),
            escape(&migration.about)
        );
        for risk in &migration.risks {
            let _ = write!(page, "<p>Mind: {}.</p>", escape(risk));
        }
        for (title, script) in [("Up", &migration.up), ("Down", &migration.down)] {
            if !matches!(script, Script::Nothing(_)) {
                sql(page, title, &script.text(""));
            }
        }
        page.push_str("</details>");
    }
    for module in modules {
        let _ = write!(
            page,
            "<details class=\"migration\"><summary>Transform module {}</summary>",
            escape(&module.name)
        );
        for (name, text) in module.files() {
            sql(page, &escape(&name), &text);
        }
        page.push_str("</details>");
    }
}

/// What it is about; tables lead to the diagram.
fn objects(page: &mut String, graph: &Graph, finding: &Finding) {
    page.push_str("<div class=\"objects\">");
    for object in &finding.objects {
        let drawn = object.of_table().and_then(|table| {
            graph
                .tables
                .iter()
                .position(|t| t.schema == table.schema && t.name == table.name)
        });
        let text = escape(&object.to_string());
        let _ = match drawn {
            Some(at) => write!(
                page,
                "<button type=\"button\" data-table=\"{at}\" title=\"Show in the diagram\">{text}</button>"
            ),
            None => write!(page, "<span>{text}</span>"),
        };
    }
    page.push_str("</div>");
}

/// `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.5 MB`, in steps of 1024.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} bytes")
    } else {
        format!("{size:.1} {}", UNITS[unit])
    }
}
