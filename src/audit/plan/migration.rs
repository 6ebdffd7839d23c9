//! One numbered pair of a plan, not written yet.

use std::fmt::Write;

/// Who can live with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The application of today goes on unchanged: apply it at any time.
    Expand,
    /// The application must not need any more what this takes away.
    Contract,
}

/// One way of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// All or nothing.
    Transaction(Vec<String>),
    /// Each statement by itself, for what cannot run in a transaction or would hold its
    /// locks too long there. It resumes at the statement where it stopped.
    Statements(Vec<String>),
    /// Nothing to do, and why.
    Nothing(String),
}

#[derive(Debug, Clone)]
pub struct Migration {
    pub phase: Phase,
    /// Behind the number: `add_orders_customer_id_fkey`.
    pub name: String,
    /// What it does, in a sentence.
    pub about: String,
    /// What can go wrong, or has to be decided.
    pub risks: Vec<String>,
    pub up: Script,
    pub down: Script,
}

impl Script {
    /// The file's text under a comment.
    #[must_use]
    pub fn text(&self, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "-- {line}");
        }
        match self {
            Self::Transaction(statements) => push(&mut text, statements),
            Self::Statements(statements) => {
                text.insert_str(0, "-- no-transaction\n");
                push(&mut text, statements);
            }
            Self::Nothing(why) => {
                let _ = writeln!(text, "-- no-op: {why}");
            }
        }
        text
    }
}

/// What commits together within [`Script::Statements`].
#[must_use]
pub fn together(statements: Vec<String>) -> Vec<String> {
    if statements.len() < 2 {
        return statements;
    }
    let mut block = vec!["begin".to_owned()];
    block.extend(statements);
    block.push("commit".to_owned());
    block
}

fn push(text: &mut String, statements: &[String]) {
    for statement in statements {
        let _ = write!(text, "\n{};\n", statement.trim_end().trim_end_matches(';'));
    }
}
