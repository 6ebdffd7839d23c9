//! What came out of it, as a table a person reads and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::answers::{Status, Switch, Verification};
use super::display::grouped;
use crate::demo::application::{Counts, Findings, Report};

/// The outcome of the whole story.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    pub orders: u64,
    pub rows_copied: u64,
    pub rows_streamed: u64,
    pub quarantined: u64,
    pub copy_seconds: Option<f64>,
    /// One INSERT … SELECT per table on the same data, when it was measured.
    pub baseline_seconds: Option<f64>,
    pub largest_lag_seconds: f64,
    pub largest_lag_bytes: u64,
    pub verification: String,
    pub verify_seconds: f64,
    pub rows_verified: u64,
    pub switch: String,
    pub switch_attempts: u32,
    /// As crossfade measured it.
    pub write_stall_ms: Option<f64>,
    pub switch_steps: Vec<(String, f64)>,
    /// Whether the old column was what the new table makes of it, where that is asked.
    pub reverse_verification: Option<String>,
    /// Outcome of the switch back, where the story has one.
    pub switch_back: Option<String>,
    pub back_write_stall_ms: Option<f64>,
    /// The migration that `finish` wrote, and that was applied.
    pub contract: Option<String>,
    /// Rows that differ between the new tables and the module over the old one,
    /// compared by plain SQL; only without an application, which writes on.
    pub differing_rows: Option<u64>,
    pub application: Option<Applied>,
    /// The server, where it was left running.
    pub kept: Option<Kept>,
}

/// A server that outlives the story.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    pub url: String,
    /// Its files, `crossfade.toml` and the daemon's log among them.
    pub dir: PathBuf,
    /// Of its main process.
    pub pid: u32,
}

impl Kept {
    fn text(&self) -> String {
        let (url, dir, pid) = (&self.url, self.dir.display(), self.pid);
        format!(
            "the server is left running\n  connect  psql {url}\n  go on    cd {dir}   (crossfade.toml, transforms, run.log, postgres.log)\n  stop     kill -INT {pid}, then rm -r {dir}"
        )
    }
}

/// The application's side of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Applied {
    pub transactions: u64,
    pub rolled_back: u64,
    pub retried: u64,
    pub unknown: u64,
    pub errors: u64,
    /// `SQLSTATE: first message`, with how often.
    pub error_samples: Vec<(String, u64)>,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub longest_ms: f64,
    /// The longest transaction, retry included, from the switch's beginning to
    /// the application's end.
    pub stall_ms: f64,
    pub orders_checked: u64,
    pub lost: u64,
    pub doubled: u64,
    pub stale: u64,
}

impl Applied {
    #[must_use]
    pub fn new(report: &Report, findings: Findings, stall: Duration) -> Self {
        let Counts {
            committed,
            rolled_back,
            retried,
            unknown,
            failed,
        } = report.counts;
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        Self {
            transactions: committed,
            rolled_back,
            retried,
            unknown,
            errors: failed,
            error_samples: report
                .errors
                .iter()
                .map(|(code, sample)| (format!("{code}: {}", sample.first), sample.count))
                .collect(),
            p50_ms: ms(report.latency.percentile(50)),
            p99_ms: ms(report.latency.percentile(99)),
            longest_ms: ms(report.latency.longest()),
            stall_ms: ms(stall),
            orders_checked: findings.checked,
            lost: findings.lost,
            doubled: findings.doubled,
            stale: findings.stale,
        }
    }

    #[must_use]
    pub fn clean(&self) -> bool {
        self.errors == 0 && self.lost == 0 && self.doubled == 0 && self.stale == 0
    }
}

impl Summary {
    /// Takes in one answer of `crossfade status`.
    pub fn saw(&mut self, status: &Status) {
        self.rows_copied = status.rows_copied;
        self.rows_streamed = status.rows_applied;
        self.quarantined = status.quarantined;
        self.copy_seconds = status.copy_seconds.or(self.copy_seconds);
        self.largest_lag_seconds = self
            .largest_lag_seconds
            .max(status.lag_seconds.unwrap_or(0.0));
        self.largest_lag_bytes = self.largest_lag_bytes.max(status.lag_bytes.unwrap_or(0));
    }

    pub fn verified(&mut self, answer: &Verification) {
        self.verification.clone_from(&answer.result);
        self.verify_seconds = answer.seconds;
        self.rows_verified = answer.targets.iter().map(|t| t.rows).sum();
    }

    pub fn switched(&mut self, answer: &Switch, attempts: u32) {
        self.switch.clone_from(&answer.outcome);
        self.switch_attempts = attempts;
        self.write_stall_ms = answer.write_stall_ms;
        self.switch_steps = answer
            .steps
            .iter()
            .map(|s| (s.step.clone(), s.ms))
            .collect();
    }

    pub fn switched_back(&mut self, answer: &Switch) {
        self.switch_back = Some(answer.outcome.clone());
        self.back_write_stall_ms = answer.write_stall_ms;
    }

    #[must_use]
    pub fn is_switched_back(&self) -> bool {
        self.switch_back.as_deref() == Some("switched")
    }

    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verification == "identical"
    }

    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.switch == "switched"
    }

    /// Verified, switched, nothing lost and nobody disturbed.
    #[must_use]
    pub fn good(&self) -> bool {
        self.is_verified()
            && self.is_switched()
            && self
                .reverse_verification
                .as_deref()
                .is_none_or(|result| result == "identical")
            && (self.switch_back.is_none() || self.is_switched_back())
            && self.quarantined == 0
            && self.differing_rows.unwrap_or(0) == 0
            && self.application.as_ref().is_none_or(Applied::clean)
    }

    /// The table.
    #[must_use]
    pub fn text(&self) -> String {
        let mut rows = vec![
            ("orders in the old table", grouped(self.orders)),
            ("source rows copied", grouped(self.rows_copied)),
            ("changes streamed", grouped(self.rows_streamed)),
            ("copy time", self.copy_text()),
            ("largest lag", self.lag_text()),
            ("verification", self.verification_text()),
            ("switch", self.switch_text()),
        ];
        if let Some(result) = &self.reverse_verification {
            rows.push(("verification of the way back", result.clone()));
        }
        if let Some(outcome) = &self.switch_back {
            let mut text = outcome.replace('_', " ");
            if let Some(ms) = self.back_write_stall_ms {
                let _ = write!(text, ", writes held for {ms:.0} ms");
            }
            rows.push(("switch back, before the last", text));
        }
        if let Some(path) = &self.contract {
            rows.push(("moved columns dropped by", path.clone()));
        }
        if let Some(differing) = self.differing_rows {
            rows.push(("rows that differ, by plain SQL", grouped(differing)));
        }
        if let Some(app) = &self.application {
            rows.extend(app.rows());
        }
        let verdict = if self.good() {
            "the new schema is live, nothing was lost"
        } else {
            "NOT GOOD: see above"
        };
        rows.push(("result", verdict.to_owned()));
        match &self.kept {
            Some(kept) => format!("{}\n{}", table(&rows), kept.text()),
            None => table(&rows),
        }
    }

    fn copy_text(&self) -> String {
        let Some(copy) = self.copy_seconds else {
            return "not told".to_owned();
        };
        match self.baseline_seconds {
            Some(baseline) if baseline > 0.0 => format!(
                "{copy:.1} s, beside {baseline:.1} s of one INSERT … SELECT per table (× {:.2})",
                copy / baseline
            ),
            _ => format!("{copy:.1} s"),
        }
    }

    fn lag_text(&self) -> String {
        let kib = self.largest_lag_bytes.div_ceil(1024);
        format!("{:.1} s, {} KiB", self.largest_lag_seconds, grouped(kib))
    }

    fn verification_text(&self) -> String {
        if self.verification.is_empty() {
            return "did not take place".to_owned();
        }
        format!(
            "{}, {} rows in {:.1} s",
            self.verification,
            grouped(self.rows_verified),
            self.verify_seconds
        )
    }

    fn switch_text(&self) -> String {
        if self.switch.is_empty() {
            return "did not take place".to_owned();
        }
        let mut text = self.switch.replace('_', " ");
        if let Some(ms) = self.write_stall_ms {
            let _ = write!(text, ", writes held for {ms:.0} ms");
        }
        if self.switch_attempts > 1 {
            let _ = write!(text, ", at attempt {}", self.switch_attempts);
        }
        text
    }
}

impl Applied {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            (
                "application",
                format!(
                    "{} transactions, {} retried at the switch, {} errors",
                    grouped(self.transactions),
                    self.retried,
                    self.errors
                ),
            ),
            (
                "  longest wait at the switch",
                format!(
                    "{:.0} ms (whole transaction, retry included)",
                    self.stall_ms
                ),
            ),
            (
                "  latency",
                format!(
                    "median {:.1} ms, 99 % within {:.1} ms, longest {:.0} ms",
                    self.p50_ms, self.p99_ms, self.longest_ms
                ),
            ),
            (
                "  acknowledged writes",
                format!(
                    "{} orders checked: {} lost, {} doubled, {} stale",
                    grouped(self.orders_checked),
                    self.lost,
                    self.doubled,
                    self.stale
                ),
            ),
        ];
        for (what, count) in &self.error_samples {
            rows.push(("  error", format!("{count} × {what}")));
        }
        rows
    }
}

fn table(rows: &[(&str, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let rule = "─".repeat(width + 50);
    let mut out = format!("{rule}\n");
    for (name, value) in rows {
        let _ = writeln!(out, "{name:width$}  {value}");
    }
    out.push_str(&rule);
    out
}
