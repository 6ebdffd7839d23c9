//! `crossfade preflight`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::preflight::{self, Check, Outcome, Report};

/// Runs every check and prints the list: exit code 0 if nothing failed, else 2.
///
/// # Errors
/// Those of the configuration file; everything else is a failed check.
pub async fn run(context: &Context) -> Result<ExitCode> {
    let config = context.load()?;
    let report = preflight::run(&config).await;
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let checks: Vec<_> = report
        .checks
        .iter()
        .map(|c| json!({"name": c.name, "outcome": c.outcome.name(), "found": c.found, "remedy": c.remedy}))
        .collect();
    let ok = report.is_ok();
    context.print(&json!({"ok": ok, "checks": checks}), &text(&report, color));
    Ok(ExitCode::from(if ok { 0 } else { 2 }))
}

fn text(report: &Report, color: bool) -> String {
    let width = report
        .checks
        .iter()
        .map(|c| c.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for check in &report.checks {
        let _ = writeln!(
            text,
            "{}  {:width$}  {}",
            mark(check, color),
            check.name.replace('_', " "),
            one_line(&check.found)
        );
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "         {:width$}  try: {}", "", one_line(remedy));
        }
    }
    let (failed, warnings) = (report.failed().count(), report.warnings().count());
    let rest = report.checks.len() - failed - warnings;
    let verdict = match (failed, warnings) {
        (0, 0) => "ready: `crossfade run`",
        (0, _) => "ready, with what is said above: `crossfade run`",
        _ => "not ready: nothing has been changed",
    };
    let _ = writeln!(
        text,
        "\n{rest} ok, {warnings} warnings, {failed} failed. {verdict}"
    );
    text
}

/// The outcome in a column of seven.
fn mark(check: &Check, color: bool) -> String {
    let word = match check.outcome {
        Outcome::Ok => "ok     ",
        Outcome::Warning => "warning",
        Outcome::Failed(_) => "FAILED ",
    };
    if !color {
        return word.to_owned();
    }
    let code = match check.outcome {
        Outcome::Ok => 32,
        Outcome::Warning => 33,
        Outcome::Failed(_) => 31,
    };
    format!("\u{1b}[{code}m{word}\u{1b}[0m")
}

/// A parser's message can span lines; the list stays a list.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use crate::preflight::Finding;

    #[test]
    fn the_list_is_aligned_and_shows_each_remedy_under_its_check() {
        let mut report = Report::default();
        report.add("wal_level", Ok(Finding::ok("logical")));
        let error = Error::new(Kind::Privilege, "no\n  entry").remedy("GRANT it");
        report.add("replication", Err(error));
        let expected = "\
ok       wal level    logical
FAILED   replication  no entry
                      try: GRANT it

1 ok, 0 warnings, 1 failed. not ready: nothing has been changed
";
        assert_eq!(text(&report, false), expected);
    }
}
