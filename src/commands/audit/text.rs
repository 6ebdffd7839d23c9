//! The findings for people: the ten that matter, and how to see the rest.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::Shown;
use crate::audit::finding::{Category, Effort, Severity};
use crate::audit::rank::top;
use crate::audit::{Audit, Finding, Step};

const MOST: usize = 10;
const WIDTH: usize = 96;
/// Names of objects that could not be looked at, before the rest is only counted.
const MOST_UNREAD: usize = 8;
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line now and then elsewhere.
pub struct Progress {
    bar: Option<ProgressBar>,
    last: Cell<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (
            &bar,
            ProgressStyle::with_template(
                "{bar:24.cyan/blue} {prefix:<10} {pos}/{len}  {eta:>4}  {msg}",
            ),
        ) {
            bar.set_style(style);
        }
        Self {
            bar,
            last: Cell::new(Instant::now()),
        }
    }

    pub fn show(&self, step: &Step<'_>) {
        if let Some(bar) = &self.bar {
            if step.done == 0 {
                bar.reset();
                bar.set_prefix(step.stage);
            }
            bar.set_length(step.total as u64);
            bar.set_position(step.done as u64);
            bar.set_message(step.about.to_owned());
        } else if self.last.get().elapsed() >= LINE_EVERY {
            self.last.set(Instant::now());
            tracing::info!("{} {}/{} {}", step.stage, step.done, step.total, step.about);
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The whole report.
pub fn report(audit: &Audit, shown: &Shown, detailed: bool) -> String {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = headline(audit, shown);
    let findings = &shown.findings;
    let places = if detailed {
        (0..findings.len()).collect()
    } else {
        top(findings, MOST)
    };
    for (number, place) in places.iter().enumerate() {
        if let Some(finding) = findings.get(*place) {
            text.push('\n');
            text.push_str(&one(finding, number + 1, detailed, color));
        }
    }
    if !detailed && findings.len() > places.len() {
        text.push('\n');
        text.push_str(&rest(findings, &places));
    }
    text.push_str(&notes(audit, shown));
    text
}

fn headline(audit: &Audit, shown: &Shown) -> String {
    let tables = audit.database.designed().count();
    let bytes: u64 = audit
        .database
        .designed()
        .map(|t| t.bytes + t.index_bytes)
        .sum();
    let count = |s| shown.findings.iter().filter(|f| f.severity == s).count();
    let parts: Vec<_> = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
    ]
    .into_iter()
    .map(|s| (count(s), s.name()))
    .filter(|(n, _)| *n > 0)
    .map(|(n, name)| format!("{n} {name}"))
    .collect();
    let found = if parts.is_empty() {
        "nothing found".to_owned()
    } else {
        format!("{} findings: {}", shown.findings.len(), parts.join(", "))
    };
    format!(
        "{}: {tables} tables, {}. {found}. Looked at {} rows in {:.1} s.\n",
        audit.database.name,
        HumanBytes(bytes),
        audit.sampled_rows,
        audit.took.as_secs_f64()
    )
}

fn one(finding: &Finding, number: usize, detailed: bool, color: bool) -> String {
    let mut text = String::new();
    let name = finding.severity.name();
    let mark = if color {
        let code = match finding.severity {
            Severity::Critical => "1;31",
            Severity::High => "31",
            Severity::Medium => "33",
            Severity::Low => "36",
        };
        format!("\u{1b}[{code}m{name:<8}\u{1b}[0m")
    } else {
        format!("{name:<8}")
    };
    let indent = " ".repeat(14);
    let title = wrapped(&finding.title, &indent);
    let _ = writeln!(text, "{number:>3}  {mark} {}", title.trim_start());
    for evidence in finding
        .evidence
        .iter()
        .take(if detailed { usize::MAX } else { 2 })
    {
        let _ = writeln!(text, "{}", wrapped(&evidence.text, &indent));
    }
    let _ = writeln!(
        text,
        "{}",
        wrapped(&format!("try: {}", finding.remedy), &indent)
    );
    if detailed {
        let effort = match finding.cost.effort {
            Effort::Statement => "one statement",
            Effort::Migration => "a migration",
            Effort::Restructuring => "a transform module",
        };
        let size = if finding.cost.rows > 0 {
            format!(
                ", {} rows, {}",
                finding.cost.rows,
                HumanBytes(finding.cost.bytes)
            )
        } else {
            String::new()
        };
        let cost = format!("cost: {effort}{size}; {}", finding.cost.text);
        let _ = writeln!(text, "{}", wrapped(&cost, &indent));
        let _ = writeln!(text, "{indent}sql: {}", finding.proof);
    }
    let _ = writeln!(
        text,
        "{indent}{} · confidence {}",
        finding.rule, finding.confidence
    );
    text
}

/// Long texts on several lines, each behind the indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty()
            && line.chars().count() + word.chars().count() + 1 > WIDTH - indent.len()
        {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let lines: Vec<_> = lines.into_iter().map(|l| format!("{indent}{l}")).collect();
    lines.join("\n")
}

/// What is not shown, by kind and rule.
fn rest(findings: &[Finding], shown: &[usize]) -> String {
    let mut by_category: BTreeMap<Category, BTreeMap<&str, usize>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate() {
        if !shown.contains(&place) {
            *by_category
                .entry(finding.category)
                .or_default()
                .entry(finding.rule)
                .or_default() += 1;
        }
    }
    let total = findings.len() - shown.len();
    let mut text = format!("{total} more, with --all or --rule RULE:\n");
    for (category, rules) in by_category {
        let name = match category {
            Category::Structure => "structure",
            Category::Reference => "references",
            Category::Type => "types",
            Category::Name => "names",
            Category::Index => "indexes",
        };
        let list: Vec<_> = rules
            .iter()
            .map(|(rule, n)| format!("{rule} {n}"))
            .collect();
        let indent = " ".repeat(14);
        let body = wrapped(&list.join(", "), &indent);
        let _ = writeln!(text, "  {name:<11} {}", body.trim_start());
    }
    text
}

fn notes(audit: &Audit, shown: &Shown) -> String {
    let mut text = String::new();
    if shown.uncertain > 0 {
        let _ = writeln!(
            text,
            "\n{} uncertain ones are shown with --all.",
            shown.uncertain
        );
    }
    if shown.known > 0 || shown.gone > 0 {
        let _ = writeln!(text, "\n{} are known from the baseline.", shown.known);
    }
    if shown.gone > 0 {
        let _ = writeln!(
            text,
            "{} of the baseline are gone: take them out with --update-baseline.",
            shown.gone
        );
    }
    if !audit.unread.is_empty() {
        let _ = writeln!(text, "\nNot looked at, or not to the end:");
        for unread in audit.unread.iter().take(MOST_UNREAD) {
            let _ = writeln!(text, "  {}: {}", unread.object, unread.reason);
        }
        let more = audit.unread.len().saturating_sub(MOST_UNREAD);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more: see --output json");
        }
    }
    text
}
