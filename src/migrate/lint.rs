//! What is dangerous about a migration, where, for how long, and what to write instead.
//!
//! squawk's rules about single statements, and our own about what a text does as a
//! whole: locks held through later statements, writes that should come in batches.
//! With a database's [`Facts`] each finding is measured by the table it is about, and
//! what is harmless on this table is only a notice. Pure.

mod advice;

use std::time::Duration;

use super::batch::Batch;
use super::facts::Facts;
use super::lock::{self, Blocks, Lock, Work};
use crate::sql::linter::{self, Violation};
use crate::sql::{self, Name, Operation, Place, Statement};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; harmless on this table.
    Notice,
    /// Dangerous on a large or busy table.
    Warning,
    /// Cannot work, or holds up the application for long on this very table.
    Error,
}

impl Severity {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub rule: String,
    pub severity: Severity,
    pub message: String,
    /// What to write instead; SQL where that can be said.
    pub instead: Option<String>,
    /// The byte in the text, and its place.
    pub at: usize,
    pub place: Place,
    pub lock: Option<Lock>,
    /// For how long the lock is likely to be held, where the table is known.
    pub held: Option<Duration>,
}

/// How a text is run, and on what.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// All statements in one transaction.
    pub in_transaction: bool,
    /// The way back: it takes away what the way up has brought, so that rules about
    /// dropping things say nothing new.
    pub down: bool,
    pub facts: Facts,
}

/// Locks shorter than this disturb nobody.
const SHORT: Duration = Duration::from_millis(500);
/// Locks longer than this are an error.
const LONG: Duration = Duration::from_secs(10);
/// Writes of fewer rows than this need no batches.
const FEW_ROWS: f64 = 20_000.0;

/// squawk's rules that this program answers better itself: the timeouts it sets, the
/// transactions it makes, the dependents it looks up.
const EXCLUDED: &[&str] = &[
    "require-timeout-settings",
    "prefer-robust-stmts",
    "transaction-nesting",
    "ban-uncommitted-transaction",
    "ban-concurrent-index-creation-in-transaction",
    "ban-drop-view",
    "ban-drop-function",
    "ban-drop-type",
    "ban-drop-default",
    "ban-drop-schema",
    "ban-drop-sequence",
    "ban-drop-domain",
    "ban-drop-constraint",
    "ban-drop-not-null",
    "ban-drop-extension",
    "ban-drop-generated-expression",
    "ban-alter-identity",
    "renaming-object",
    "ban-set-schema",
];

/// Of those that stay, the ones about taking things away.
const TAKES_AWAY: &[&str] = &[
    "ban-drop-column",
    "ban-drop-table",
    "renaming-column",
    "renaming-table",
];

/// The rules of our own, with what they are about.
pub const RULES: &[(&str, &str)] = &[
    (
        "held-through",
        "a lock that blocks the application is held while later statements work",
    ),
    (
        "unbatched-write",
        "an UPDATE or DELETE changes many rows in one statement",
    ),
    ("drop-guard", "something still depends on what goes"),
    ("syntax", "the statement cannot be read"),
];

/// Every finding in a text, in the order of their places.
#[must_use]
pub fn lint(text: &str, context: &Context) -> Vec<Finding> {
    let statements = sql::split(text);
    let created = created(&statements);
    let linter = Linter {
        text,
        context,
        statements: &statements,
        created: &created,
    };
    let mut findings = linter.syntax();
    findings.extend(
        linter::violations(text, context.in_transaction, EXCLUDED)
            .into_iter()
            .filter_map(|v| linter.violation(v)),
    );
    findings.extend(linter.held_through());
    findings.extend(linter.unbatched());
    findings.retain(|f| !linter.allowed(f));
    findings.sort_by_key(|f| (f.at, f.rule.clone()));
    findings.dedup_by(|a, b| a.at == b.at && a.rule == b.rule);
    findings
}

/// Tables that the text itself makes: nobody uses them yet.
fn created(statements: &[Statement]) -> Vec<Name> {
    statements
        .iter()
        .flat_map(|s| &s.parts)
        .filter_map(|p| match &p.operation {
            Operation::CreateTable { table, .. } => Some(table.clone()),
            _ => None,
        })
        .collect()
}

struct Linter<'a> {
    text: &'a str,
    context: &'a Context,
    statements: &'a [Statement],
    created: &'a [Name],
}

impl Linter<'_> {
    fn finding(&self, rule: &str, severity: Severity, at: usize, message: String) -> Finding {
        Finding {
            rule: rule.to_owned(),
            severity,
            message,
            instead: None,
            place: Place::of(self.text, at),
            at,
            lock: None,
            held: None,
        }
    }

    fn is_new(&self, table: &Name) -> bool {
        self.created.iter().any(|t| {
            t.name == table.name
                && (t.schema == table.schema || t.schema.is_none() || table.schema.is_none())
        })
    }

    /// What is known when the statement begins.
    fn facts_before(&self, statement: &Statement) -> Facts {
        let mut facts = self.context.facts.clone();
        let before = self.statements.iter();
        for earlier in before.take_while(|s| s.range.start < statement.range.start) {
            facts.after(earlier);
        }
        facts
    }

    /// A column that the text itself adds takes its final name.
    fn renames_new_column(&self, statement: &Statement) -> bool {
        let renamed = statement.parts.iter().find_map(|p| match &p.operation {
            Operation::RenameColumn { table, from, .. } => Some((table, from)),
            _ => None,
        });
        renamed.is_some_and(|(table, from)| {
            self.statements.iter().flat_map(|s| &s.parts).any(|p| {
                matches!(&p.operation, Operation::AddColumn { table: t, column }
                    if t == table && column.name == *from)
            })
        })
    }

    fn syntax(&self) -> Vec<Finding> {
        let errors = self.statements.iter().filter_map(|s| s.error.as_ref());
        errors
            .map(|e| self.finding("syntax", Severity::Error, e.at, e.message.clone()))
            .collect()
    }

    /// A rule of squawk's, weighed by the lock and the table it is about.
    fn violation(&self, violation: Violation) -> Option<Finding> {
        let rule = violation.rule.as_str();
        // The way back brings types and names back as they were.
        let takes_away = TAKES_AWAY.contains(&rule);
        if self.context.down && (takes_away || rule.starts_with("prefer-")) {
            return None;
        }
        let at = violation.range.start;
        let statement = self.statements.iter().find(|s| s.range.contains(&at));
        let mut finding = self.finding(rule, Severity::Warning, at, violation.message);
        finding.instead = violation.help;
        let Some(statement) = statement else {
            return Some(finding);
        };
        if rule == "renaming-column" && self.renames_new_column(statement) {
            return None;
        }
        if takes_away && self.context.facts.known {
            // The drop guard has looked for what depends on it.
            finding.severity = Severity::Notice;
        }
        if !about_locks(rule) {
            return Some(finding);
        }
        let locks = lock::locks(statement, &self.facts_before(statement));
        let Some(lock) = locks.into_iter().max_by_key(|l| (l.work, l.mode)) else {
            return Some(finding);
        };
        if self.is_new(&lock.table) {
            return None;
        }
        // The database knows better: the bytes stay, or the proof is there.
        let disproved = matches!(rule, "changing-column-type" | "adding-not-nullable-field");
        if disproved && self.context.facts.known && lock.work == Work::Instant {
            return None;
        }
        finding.instead = advice::instead(statement, at).or(finding.instead);
        self.weigh(&mut finding, lock);
        Some(finding)
    }

    /// Adds the lock, and what it means on this table.
    fn weigh(&self, finding: &mut Finding, lock: Lock) {
        let facts = &self.context.facts;
        let held = facts.held(&lock);
        let blocks = lock.mode.blocks();
        finding.held = held;
        match (facts.find(&lock.table), held) {
            (Some(table), Some(held)) => {
                finding.severity = match held {
                    h if blocks == Blocks::SchemaChanges || h < SHORT => Severity::Notice,
                    h if h < LONG => Severity::Warning,
                    _ => Severity::Error,
                };
                let name = format!("{}.{}", table.schema, table.name);
                finding.message.push_str(&format!(
                    " ({} on {name}, {}: {} wait about {})",
                    lock.mode,
                    table.size(),
                    blocks.words(),
                    seconds(held)
                ));
            }
            _ if facts.known => {
                finding.severity = Severity::Notice;
                finding
                    .message
                    .push_str(&format!(" ({} does not exist here yet)", lock.table));
            }
            _ => finding.message.push_str(&format!(
                " ({} on {}: blocks {}; {})",
                lock.mode,
                lock.table,
                blocks.words(),
                lock.work.words()
            )),
        }
        finding.lock = Some(lock);
    }

    /// In one transaction a lock stays until the end: whoever needs the table waits for
    /// everything that comes after, too.
    fn held_through(&self) -> Vec<Finding> {
        if !self.context.in_transaction {
            return Vec::new();
        }
        let mut findings = Vec::new();
        let mut held: Vec<(Lock, &Statement)> = Vec::new();
        for statement in self.statements {
            let locks = lock::locks(statement, &self.facts_before(statement));
            let work = locks
                .iter()
                .filter(|l| !self.is_new(&l.table))
                .max_by_key(|l| l.work);
            if let (Some(work), Some((first, since))) = (
                work.filter(|l| l.work > Work::Instant),
                held.iter().max_by_key(|(l, _)| l.mode.blocks()),
            ) {
                let message = format!(
                    "{} on {}, taken in line {}, is held while this {}",
                    first.mode,
                    first.table,
                    since.place.line,
                    work.work.words()
                );
                let mut finding = self.finding(
                    "held-through",
                    Severity::Warning,
                    statement.range.start,
                    message,
                );
                finding.instead = Some(
                    "put it in a migration of its own, or put `-- no-transaction` at the top so that each statement commits on its own".to_owned(),
                );
                let lock = Lock {
                    work: work.work,
                    ..first.clone()
                };
                let known = self.context.facts.held(work);
                if let Some(time) = known {
                    finding.severity = severity(time);
                    finding.message.push_str(&format!(
                        ": {} wait about {}",
                        lock.mode.blocks().words(),
                        seconds(time)
                    ));
                }
                finding.held = known;
                finding.lock = Some(lock);
                findings.push(finding);
            }
            held.extend(
                locks
                    .into_iter()
                    .filter(|l| l.mode.blocks() > Blocks::SchemaChanges && !self.is_new(&l.table))
                    .map(|l| (l, statement)),
            );
        }
        findings
    }

    fn unbatched(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for statement in self.statements {
            let batched = matches!(Batch::of(statement), Ok(Some(_)));
            for part in &statement.parts {
                let Operation::Write { table, command, .. } = &part.operation else {
                    continue;
                };
                if batched || *command == "INSERT" || self.is_new(table) {
                    continue;
                }
                let facts = &self.context.facts;
                let known = facts.find(table);
                if known.is_some_and(|t| t.rows >= 0.0 && t.rows < FEW_ROWS)
                    || (facts.known && known.is_none())
                {
                    continue;
                }
                let size = known.map(|t| format!(", {}", t.size())).unwrap_or_default();
                let message = format!(
                    "{command} of many rows of {table}{size} in one statement: their locks, and VACUUM, wait for the last one"
                );
                let mut finding =
                    self.finding("unbatched-write", Severity::Warning, part.at, message);
                finding.instead = Some(advice::batches(table, statement, known));
                findings.push(finding);
            }
        }
        findings
    }

    /// `-- allow RULE: why`, before the statement or before the first.
    fn allowed(&self, finding: &Finding) -> bool {
        let own = self
            .statements
            .iter()
            .find(|s| s.range.contains(&finding.at));
        let comments = self.statements.first().into_iter().chain(own);
        comments.flat_map(|s| &s.comments).any(|comment| {
            let asked = comment
                .trim_start_matches('-')
                .trim()
                .strip_prefix("allow ");
            asked
                .and_then(|a| a.split_once(':'))
                .is_some_and(|(rule, why)| rule.trim() == finding.rule && !why.trim().is_empty())
        })
    }
}

fn severity(held: Duration) -> Severity {
    match held {
        h if h < SHORT => Severity::Notice,
        h if h < LONG => Severity::Warning,
        _ => Severity::Error,
    }
}

/// Rules that are about how long somebody waits; the others are about taste and types.
fn about_locks(rule: &str) -> bool {
    matches!(
        rule,
        "require-concurrent-index-creation"
            | "require-concurrent-index-deletion"
            | "require-concurrent-reindex"
            | "require-concurrent-partition-detach"
            | "constraint-missing-not-valid"
            | "adding-field-with-default"
            | "adding-foreign-key-constraint"
            | "changing-column-type"
            | "adding-not-nullable-field"
            | "adding-serial-primary-key-field"
            | "disallowed-unique-constraint"
            | "prefer-repack"
    )
}

/// `40 ms`, `3 s`, `12 min`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    match s {
        s if s < 0.001 => "no time".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

#[cfg(test)]
mod tests;
