//! What a rule says: what is wrong, where, how that is known, and what to do.

use std::fmt;

use serde::Serialize;

use super::fix::Fix;
use crate::pg::QualifiedName;

/// What a rule is about; the groups of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    Structure,
    Reference,
    Type,
    Name,
    Index,
}

/// The harm it does, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Taste and tidiness.
    Low,
    /// Costs work or space every day.
    Medium,
    /// Wrong data can get in, or has; or it gets slow as the table grows.
    High,
    /// It stops the application soon, or data is lost.
    Critical,
}

impl Severity {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How sure the rule is, in percent: 100 for what the catalog states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Confidence(u8);

impl Confidence {
    /// The catalog states it, or every row was looked at.
    pub const CERTAIN: Self = Self(100);

    /// A share of 1 as percent; what lies outside is cut.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is within 0 and 100"
    )]
    pub fn share(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 100.0).round() as u8)
    }

    #[must_use]
    pub fn percent(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// What a finding is about. Names are unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Object {
    Table {
        table: QualifiedName,
    },
    Column {
        table: QualifiedName,
        column: String,
    },
    Index {
        table: QualifiedName,
        index: String,
    },
    Constraint {
        table: QualifiedName,
        constraint: String,
    },
    Sequence {
        sequence: QualifiedName,
    },
}

impl Object {
    #[must_use]
    pub fn table(table: &QualifiedName) -> Self {
        Self::Table {
            table: table.clone(),
        }
    }

    #[must_use]
    pub fn column(table: &QualifiedName, column: &str) -> Self {
        Self::Column {
            table: table.clone(),
            column: column.to_owned(),
        }
    }

    #[must_use]
    pub fn index(table: &QualifiedName, index: &str) -> Self {
        Self::Index {
            table: table.clone(),
            index: index.to_owned(),
        }
    }

    #[must_use]
    pub fn constraint(table: &QualifiedName, constraint: &str) -> Self {
        Self::Constraint {
            table: table.clone(),
            constraint: constraint.to_owned(),
        }
    }

    /// The table it is or belongs to.
    #[must_use]
    pub fn of_table(&self) -> Option<&QualifiedName> {
        match self {
            Self::Table { table }
            | Self::Column { table, .. }
            | Self::Index { table, .. }
            | Self::Constraint { table, .. } => Some(table),
            Self::Sequence { .. } => None,
        }
    }
}

impl fmt::Display for Object {
    /// `shop.orders`, `shop.orders.customer_id`: quoted only where SQL needs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { table } => write!(f, "{table}"),
            Self::Column {
                table,
                column: part,
            }
            | Self::Constraint {
                table,
                constraint: part,
            } => write!(f, "{table}.{}", plain(part)),
            Self::Index { table, index } => write!(
                f,
                "{}",
                QualifiedName::new(table.schema.clone(), index.clone())
            ),
            Self::Sequence { sequence } => write!(f, "{sequence}"),
        }
    }
}

/// A name, quoted only where SQL would need it.
#[must_use]
pub fn plain(name: &str) -> String {
    let shown = QualifiedName::new("s", name).to_string();
    shown.strip_prefix("s.").unwrap_or(&shown).to_owned()
}

/// A number that was measured, so that machines need not read the words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// `orphans`, `rows`, `inclusion`: snake case, stable.
    pub name: &'static str,
    pub value: f64,
}

/// One reason to believe the finding: no cell values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
}

/// How much work a remedy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// One statement that holds no lock for long.
    Statement,
    /// Several steps: expand, backfill, contract.
    Migration,
    /// Rows take another shape: a transform module, and the application changes.
    Restructuring,
}

/// What the remedy takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    pub effort: Effort,
    /// Rows that are read or rewritten, by estimate.
    pub rows: u64,
    /// Bytes that are read or rewritten, by estimate.
    pub bytes: u64,
    /// What it locks and what must change with it.
    pub text: String,
}

/// A design problem, with all that is known about it.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `missing-foreign-key`; its page is `docs/rules/<rule>.md`.
    pub rule: &'static str,
    pub category: Category,
    /// One line that names the objects.
    pub title: String,
    pub severity: Severity,
    pub confidence: Confidence,
    /// The first is where it is reported.
    pub objects: Vec<Object>,
    pub evidence: Vec<Evidence>,
    /// Read-only SQL that shows the problem, ready to be run.
    pub proof: String,
    pub remedy: String,
    pub cost: Cost,
    /// What the plan does, in this order; empty where only people can decide.
    pub fixes: Vec<Fix>,
    /// For ranking within a severity: larger is worse. Comparable between rules.
    pub harm: f64,
    /// It lists many objects each of which is a finding of its own, as far as a baseline
    /// is concerned.
    #[serde(skip)]
    pub each: bool,
}

impl Finding {
    /// A certain finding with everything else left to be said.
    #[must_use]
    pub fn new(rule: &'static str, category: Category, severity: Severity, title: String) -> Self {
        Self {
            rule,
            category,
            title,
            severity,
            confidence: Confidence::CERTAIN,
            objects: Vec::new(),
            evidence: Vec::new(),
            proof: String::new(),
            remedy: String::new(),
            cost: Cost {
                effort: Effort::Statement,
                rows: 0,
                bytes: 0,
                text: String::new(),
            },
            fixes: Vec::new(),
            harm: 0.0,
            each: false,
        }
    }

    /// The objects come and go by themselves: see [`Finding::each`].
    #[must_use]
    pub fn each(mut self) -> Self {
        self.each = true;
        self
    }

    #[must_use]
    pub fn on(mut self, object: Object) -> Self {
        self.objects.push(object);
        self
    }

    #[must_use]
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            text: text.into(),
            measures: Vec::new(),
        });
        self
    }

    /// As [`Finding::because`], with the numbers in the text by name.
    #[must_use]
    pub fn measured(mut self, text: impl Into<String>, measures: &[(&'static str, f64)]) -> Self {
        self.evidence.push(Evidence {
            text: text.into(),
            measures: measures
                .iter()
                .map(|(name, value)| Measure {
                    name,
                    value: *value,
                })
                .collect(),
        });
        self
    }

    #[must_use]
    pub fn proof(mut self, sql: impl Into<String>) -> Self {
        self.proof = sql.into();
        self
    }

    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }

    #[must_use]
    pub fn cost(mut self, effort: Effort, rows: u64, bytes: u64, text: impl Into<String>) -> Self {
        self.cost = Cost {
            effort,
            rows,
            bytes,
            text: text.into(),
        };
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
        self
    }

    #[must_use]
    pub fn harm(mut self, harm: f64) -> Self {
        self.harm = harm;
        self
    }

    /// Rule and objects: the same while the flaw is there, whatever its numbers.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let objects: Vec<_> = self.objects.iter().map(ToString::to_string).collect();
        format!("{} {}", self.rule, objects.join(" "))
    }

    /// As [`Finding::fingerprint`], for baselines: one for each object where these come
    /// and go by themselves.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        if !self.each {
            return vec![self.fingerprint()];
        }
        let line = |o: &Object| format!("{} {o}", self.rule);
        self.objects.iter().map(line).collect()
    }
}
