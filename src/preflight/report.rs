//! The list of checks and what it amounts to.

use crate::error::{Error, Kind, Result};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// It works, with a consequence that somebody should know of.
    Warning,
    /// It cannot work; the kind is that of the error with which `run` refuses.
    Failed(Kind),
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a check found that does not stand in the way.
#[derive(Debug)]
pub enum Finding {
    Ok(String),
    Warning { found: String, remedy: String },
}

impl Finding {
    pub fn ok(found: impl Into<String>) -> Self {
        Self::Ok(found.into())
    }

    pub fn warning(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warning {
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

/// One precondition.
#[derive(Debug, Clone)]
pub struct Check {
    /// Stable, for machines. A check of an object occurs once an object.
    pub name: &'static str,
    pub outcome: Outcome,
    pub found: String,
    /// What to do; an SQL or shell line where there is one. `None` if nothing.
    pub remedy: Option<String>,
}

#[derive(Debug, Default)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// Enters what a check found; an error is a failure.
    pub fn add(&mut self, name: &'static str, finding: Result<Finding>) {
        let check = match finding {
            Ok(Finding::Ok(found)) => Check {
                name,
                outcome: Outcome::Ok,
                found,
                remedy: None,
            },
            Ok(Finding::Warning { found, remedy }) => Check {
                name,
                outcome: Outcome::Warning,
                found,
                remedy: Some(remedy),
            },
            Err(e) => Check {
                name,
                outcome: Outcome::Failed(e.kind),
                remedy: Some(remedy(&e)),
                found: e.message,
            },
        };
        self.checks.push(check);
    }

    pub fn append(&mut self, other: Self) {
        self.checks.extend(other.checks);
    }

    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        let failed = |c: &&Check| matches!(c.outcome, Outcome::Failed(_));
        self.checks.iter().filter(failed)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Check> {
        let warning = |c: &&Check| c.outcome == Outcome::Warning;
        self.checks.iter().filter(warning)
    }

    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Whether the session broke: whatever is asked next fails for that alone.
    #[must_use]
    pub fn connection_lost(&self) -> bool {
        let lost = Outcome::Failed(Kind::Connection);
        self.checks.iter().any(|c| c.outcome == lost)
    }

    /// The failures as one error: the first, and how many more there are.
    ///
    /// # Errors
    /// When any check failed.
    pub fn refuse(&self) -> Result<()> {
        let mut failed = self.failed();
        let Some(first) = failed.next() else {
            return Ok(());
        };
        let kind = match first.outcome {
            Outcome::Failed(kind) => kind,
            Outcome::Ok | Outcome::Warning => Kind::Precondition,
        };
        let more = failed.count();
        let message = if more == 0 {
            first.found.clone()
        } else {
            format!(
                "{} (and {more} more: see `crossfade preflight`)",
                first.found
            )
        };
        let error = Error::new(kind, message);
        Err(match &first.remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        })
    }
}

/// A remedy of the general kind must not send the reader here again.
fn remedy(e: &Error) -> String {
    match (&e.remedy, e.kind) {
        (Some(remedy), _) => remedy.clone(),
        (None, Kind::Privilege) => "check user, password and grants".to_owned(),
        (None, Kind::Precondition) => "see the server's documentation of what is named".to_owned(),
        (None, _) => e.what_to_do().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_refuses_with_its_first_failure_and_counts_the_others() {
        let mut report = Report::default();
        report.add("a", Ok(Finding::ok("fine")));
        report.add("b", Ok(Finding::warning("hm", "look")));
        assert!(report.is_ok() && report.refuse().is_ok());
        let bad = |m: &str| Err(Error::new(Kind::Privilege, m).remedy("grant it"));
        report.add("c", bad("first"));
        report.add("d", bad("second"));
        let error = report.refuse().unwrap_err();
        assert_eq!(error.kind, Kind::Privilege);
        assert!(error.message.starts_with("first (and 1 more"), "{error}");
        assert_eq!(error.what_to_do(), "grant it");
    }

    #[test]
    fn no_failure_of_preflight_advises_to_run_preflight() {
        for row in crate::error::TABLE {
            let mut report = Report::default();
            report.add("x", Err(Error::new(row.kind, "broken")));
            let remedy = report.checks[0].remedy.clone().unwrap();
            assert!(!remedy.contains("preflight"), "{remedy}");
        }
    }
}
