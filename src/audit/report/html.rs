//! The report as one HTML file that needs nothing else.
//!
//! Everything that comes from the database is text: escaped where it stands in the page,
//! and set as text by the script. A content security policy lets only this one script
//! run, so that even a name that was not escaped could do nothing.

use std::fmt::Write;

use super::super::diagram::{Drawing, proposal, svg};
use super::super::finding::Severity;
use super::super::schema::{Database, Unread};
use super::{Report, diagram, findings, integrity};
use svg::escape;

const CSS: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

const SEVERITIES: [Severity; 4] = [
    Severity::Critical,
    Severity::High,
    Severity::Medium,
    Severity::Low,
];

/// The whole page.
#[must_use]
pub fn page(report: &Report<'_>) -> String {
    let graph = proposal::proposed(report.database, report.findings);
    let drawing = Drawing::of(&graph);
    let mut page = String::with_capacity(256 * 1024);
    head(&mut page, report);
    page.push_str("<main id=\"main\">\n<section id=\"findings\" aria-label=\"Findings\">");
    toolbar(&mut page, report);
    page.push_str("<div id=\"list\">\n");
    for at in 0..report.findings.len() {
        findings::card(&mut page, report, &graph, at);
    }
    page.push_str("</div><button type=\"button\" class=\"more\" id=\"more\" hidden></button>");
    unread(&mut page, report.unread);
    page.push_str("</section>\n");
    diagram::section(&mut page, &graph, &drawing);
    page.push_str("</main>\n");
    diagram::data(&mut page, report, &graph, &drawing);
    let _ = write!(page, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String, report: &Report<'_>) {
    let database = report.database;
    let title = format!("Schema audit of {}", database.name);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}{CSS}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">To the findings</a>\n<header class=\"top\"><h1>{}</h1><p class=\"sub\">{}</p>",
        integrity::of(SCRIPT),
        escape(&title),
        svg::STYLE,
        escape(&title),
        escape(&about(database, report.when)),
    );
    page.push_str("<ul class=\"tiles\" aria-label=\"Findings by severity\">");
    for severity in SEVERITIES {
        let count = report
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .count();
        let name = severity.name();
        let _ = write!(
            page,
            "<li><button type=\"button\" class=\"{name}\" data-filter=\"severity\" data-value=\"{name}\" aria-pressed=\"true\"><b>{count}</b> {name}</button></li>"
        );
    }
    page.push_str(
        "</ul></header>\n<nav class=\"tabs\" aria-label=\"Parts of the report\"><div><a href=\"#findings\">Findings</a><a href=\"#diagram\">Diagram</a>\
         <button type=\"button\" id=\"theme\">Theme: auto</button></div></nav>\n",
    );
}

fn about(database: &Database, when: &str) -> String {
    let tables: Vec<_> = database.designed().collect();
    let bytes: u64 = tables.iter().map(|t| t.bytes + t.index_bytes).sum();
    let mut parts = vec![
        format!(
            "PostgreSQL {}.{}",
            database.version / 10_000,
            database.version % 10_000
        ),
        format!("{} tables", tables.len()),
        findings::bytes(bytes),
    ];
    if !when.is_empty() {
        parts.push(when.to_owned());
    }
    parts.join(" \u{b7} ")
}

fn toolbar(page: &mut String, report: &Report<'_>) {
    page.push_str(
        "<div class=\"bar\"><input type=\"search\" id=\"query\" placeholder=\"Filter ( / )\" aria-label=\"Filter findings\" autocomplete=\"off\">\
         <select id=\"group\" aria-label=\"Order\"><option value=\"harm\">Most harmful first</option><option value=\"rule\">By rule</option>\
         <option value=\"table\">By table</option><option value=\"category\">By area</option></select>",
    );
    let mut categories: Vec<_> = report.findings.iter().map(|f| f.category).collect();
    categories.sort_unstable();
    categories.dedup();
    for category in categories {
        let name = findings::category(category);
        let _ = write!(
            page,
            "<button type=\"button\" class=\"chip\" data-filter=\"category\" data-value=\"{name}\" aria-pressed=\"true\">{name}</button>"
        );
    }
    page.push_str("<span class=\"count\" id=\"count\" role=\"status\"></span></div>");
}

/// What the audit could not see.
fn unread(page: &mut String, objects: &[Unread]) {
    if objects.is_empty() {
        return;
    }
    page.push_str("<h2>Not looked at</h2><ul>");
    for object in objects {
        let _ = write!(
            page,
            "<li>{}: {}</li>",
            escape(&object.object),
            escape(&object.reason)
        );
    }
    page.push_str("</ul>");
}
