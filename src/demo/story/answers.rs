//! What crossfade's commands print with `--output json`, as far as the story
//! needs it. Fields that are missing or unknown are no error.

use std::path::PathBuf;

use serde::Deserialize;

/// `crossfade status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub phase: String,
    pub rows_copied: u64,
    pub rows_estimated: u64,
    pub chunks_pending: u64,
    pub rows_applied: u64,
    pub lag_seconds: Option<f64>,
    pub lag_bytes: Option<u64>,
    pub quarantined: u64,
    pub copy_seconds: Option<f64>,
    /// Why the copy is waiting, if it is.
    pub waiting: Option<String>,
}

impl Status {
    /// Two equal values some time apart mean that nothing went on.
    #[must_use]
    pub fn progress(&self) -> (String, u64, u64) {
        (self.phase.clone(), self.rows_copied, self.rows_applied)
    }
}

/// `crossfade verify`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Verification {
    /// `identical`, `different` or `undecided`.
    pub result: String,
    pub seconds: f64,
    pub sources: Vec<VerifiedSource>,
    pub targets: Vec<VerifiedTarget>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VerifiedSource {
    pub rows: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VerifiedTarget {
    pub table: String,
    pub rows: u64,
    pub differences: u64,
}

/// `crossfade switch`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// `switched`, `not_switched` or `unknown`.
    pub outcome: String,
    pub reason: Option<String>,
    /// Measured by crossfade: from asking for the lock to the COMMIT's answer.
    pub write_stall_ms: Option<f64>,
    pub steps: Vec<SwitchStep>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SwitchStep {
    pub step: String,
    pub ms: f64,
}

/// `crossfade finish`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Finish {
    /// The migrations that drop moved columns.
    pub contracts: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_nulls_missing_and_unknown_fields_are_read() {
        let status: Status = serde_json::from_str(
            r#"{"name":"x","phase":"copying","daemon":true,"rows_copied":5,"lag_seconds":0.5,
                "copy_seconds":null,"waiting":null,"novelty":[1]}"#,
        )
        .unwrap();
        assert_eq!(status.progress(), ("copying".to_owned(), 5, 0));
        assert_eq!((status.copy_seconds, status.waiting), (None, None));
        let switch: Switch = serde_json::from_str(r#"{"outcome":"switched"}"#).unwrap();
        assert!(switch.outcome == "switched" && switch.steps.is_empty());
    }
}
