//! The same for people: a line a subject.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use serde_json::Value;

use super::verification;

/// Every line that there is something to say in.
#[must_use]
pub fn render(status: &Value) -> String {
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let bytes = |key: &str| HumanBytes(status[key].as_u64().unwrap_or(0)).to_string();
    let word = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    let total = number("rows_estimated").max(1);
    let mut lines = vec![
        format!("migration   {}", word("name")),
        format!(
            "phase       {}{}",
            word("phase"),
            if status["paused"] == true {
                " (copy paused)"
            } else {
                ""
            }
        ),
        format!(
            "daemon      {}",
            if status["daemon"] == true {
                "running"
            } else {
                "NOT running"
            }
        ),
        format!(
            "copied      {} of about {} rows ({} %), {} chunks done, {} to go",
            number("rows_copied"),
            total,
            number("rows_copied") * 100 / total,
            number("chunks_copied"),
            number("chunks_pending")
        ),
        format!(
            "applied     {} changes in {} transactions, up to {}",
            number("rows_applied"),
            number("transactions_applied"),
            word("applied_lsn")
        ),
        format!(
            "lag         {:.1} s, {} (largest {:.1} s)",
            status["lag_seconds"].as_f64().unwrap_or(0.0),
            bytes("lag_bytes"),
            status["max_lag_seconds"].as_f64().unwrap_or(0.0)
        ),
        slot_line(status),
        format!(
            "way back    {}",
            match (status["way_back"] == true, status["phase"] == "switched") {
                (true, true) => "the old schema is kept up to date: `crossfade switch --back`",
                (true, false) => "ready for the time after the switch",
                (false, true) => "none",
                (false, false) => "none, or not made yet",
            }
        ),
        format!("quarantine  {} rows", number("quarantined")),
    ];
    lines.extend(verification::lines(&status["verification"]));
    if let Some(seconds) = status["copy_seconds"].as_f64() {
        let done = status["copy_finished_at"].is_string();
        let what = if done { "copy took  " } else { "copying for" };
        lines.push(format!("{what} {seconds:.1} s"));
    }
    if status["switch"].is_object() {
        lines.push(switch_line(&status["switch"]));
    }
    lines.extend(operation_lines(&status["operation"]));
    if let Some(why) = status["waiting"].as_str() {
        lines.push(format!("waiting     {why}{}", since(status)));
    }
    lines.extend(error_lines(&status["operation"]["errors"]));
    lines.join("\n") + "\n"
}

fn switch_line(switch: &Value) -> String {
    let word = |key: &str| switch[key].as_str().unwrap_or("");
    let mut line = format!(
        "switch      {} at {}: ",
        word("direction"),
        word("started_at")
    );
    match switch["outcome"].as_str() {
        Some(outcome) => line.push_str(&outcome.replace('_', " ")),
        None => line.push_str("under way, or its process has died"),
    }
    line.push_str(&format!(
        ", came to step {} (attempt {})",
        word("step"),
        switch["attempt"]
    ));
    if !word("reason").is_empty() {
        line.push_str(&format!(": {}", word("reason")));
    }
    if switch["after_switch_pending"] == true {
        line.push_str("; the hook after_switch is still to be run: `crossfade switch`");
    }
    line
}

fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    HumanDuration(whole).to_string()
}

fn slot_line(status: &Value) -> String {
    let operation = &status["operation"];
    if let Some(why) = operation["slot_lost"]["why"].as_str() {
        return format!("slot        LOST: {why}; start the daemon: it compares what was copied");
    }
    let retained = HumanBytes(status["retained_wal_bytes"].as_u64().unwrap_or(0));
    let mut line = format!("slot        retains {retained} of WAL");
    let slot = &operation["live"]["slot"];
    if let Some(limit) = slot["limit_bytes"].as_u64() {
        line.push_str(&format!(", lost at {}", HumanBytes(limit)));
    }
    if let Some(seconds) = slot["limit_in_seconds"].as_f64() {
        line.push_str(&format!(" (in {} at this rate)", duration(seconds)));
    }
    line
}

/// Speed and estimate, pace, and what was set at run time.
fn operation_lines(operation: &Value) -> Vec<String> {
    let live = &operation["live"];
    let mut lines = Vec::new();
    if let Some(rate) = live["rows_per_second"].as_f64() {
        let mut line = format!("speed       {rate:.0} rows a second");
        let eta = |key: &str| live["eta"][key].as_f64();
        if let (Some(likely), Some(low), Some(high)) = (eta("likely"), eta("low"), eta("high")) {
            line.push_str(&format!(
                ", done in about {} ({} to {})",
                duration(likely),
                duration(low),
                duration(high)
            ));
        }
        lines.push(line);
    }
    let set = operation["settings"].as_object();
    let set: Vec<_> = set
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if !set.is_empty() {
        lines.push(format!("set         {}", set.join(" ")));
    }
    match operation["recoveries"].as_i64().unwrap_or(0) {
        0 => {}
        n => lines.push(format!("recovered   {n} times from a lost slot")),
    }
    lines
}

/// For how long the copy has been held by the same signal.
fn since(status: &Value) -> String {
    let hold = &status["operation"]["live"]["throttle"]["hold"];
    match (hold["reason"].as_str(), hold["seconds"].as_f64()) {
        (Some(reason), Some(seconds))
            if status["waiting"]
                .as_str()
                .is_some_and(|w| w.starts_with(reason)) =>
        {
            format!(", for {}", duration(seconds))
        }
        _ => String::new(),
    }
}

/// The newest errors with what to do.
fn error_lines(errors: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for error in errors.as_array().into_iter().flatten().rev().take(3) {
        let word = |key: &str| error[key].as_str().unwrap_or("-");
        let times = match error["times"].as_u64().unwrap_or(1) {
            1 => String::new(),
            n => format!(", {n} times"),
        };
        let ago = duration(error["seconds"].as_f64().unwrap_or(0.0));
        lines.push(format!("error       {ago} ago{times}: {}", word("message")));
        lines.push(format!("            try: {}", word("remedy")));
    }
    lines
}
