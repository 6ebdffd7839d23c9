//! One direction of a migration: its text, how it is run, and the steps it is run in.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::batch::Batch;
use super::lock;
use crate::error::{Error, Kind, Result};
use crate::sql::{self, Operation, Statement, SyntaxError};

/// Marks a file whose statements each commit on their own.
pub const NO_TRANSACTION: &str = "no-transaction";
/// Marks a migration without a way back; needs a reason.
pub const IRREVERSIBLE: &str = "irreversible";
/// Marks a way back that has nothing to do; needs a reason.
pub const NO_OP: &str = "no-op";

/// What commits together where the file as a whole does not.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    One(Statement),
    /// What stands between BEGIN and COMMIT.
    Block(Vec<Statement>),
    /// Run over and over, each time for the next range of keys.
    Batch(Statement, Batch),
}

impl Step {
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        match self {
            Self::One(statement) | Self::Batch(statement, _) => std::slice::from_ref(statement),
            Self::Block(statements) => statements,
        }
    }

    /// Tells two texts of a step apart; white space at the ends does not count.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut texts: Vec<&str> = self.statements().iter().map(|s| s.text.trim()).collect();
        // A walk that goes on must go along the same keys; its pace may change.
        let walk = match self {
            Self::Batch(_, batch) => format!("{} by {}", batch.table, batch.key.join(", ")),
            _ => String::new(),
        };
        texts.push(&walk);
        checksum(&texts.join(";\n"))
    }

    #[must_use]
    pub fn headline(&self) -> String {
        match self {
            Self::One(statement) => statement.headline(),
            Self::Batch(statement, batch) => {
                format!(
                    "{} (in batches of {} rows)",
                    statement.headline(),
                    batch.rows
                )
            }
            Self::Block(statements) => {
                let first = statements.first().map(Statement::headline);
                format!(
                    "{} (and {} more in one transaction)",
                    first.unwrap_or_default(),
                    statements.len().saturating_sub(1)
                )
            }
        }
    }
}

/// One direction of a migration.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// The file, as a person would name it.
    pub file: String,
    /// The whole text of its section; line numbers are the file's.
    pub text: String,
    /// All in one transaction, or each step in one of its own.
    pub in_transaction: bool,
    pub steps: Vec<Step>,
    /// Statements that could not be read; a server may know better.
    pub doubts: Vec<SyntaxError>,
}

impl Script {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Kind::Config`], with file, line and caret, for a statement that crossfade must
    /// not run as it stands: transaction control, statements that PostgreSQL refuses in
    /// a transaction, a wrong `-- batch:`.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let statements = sql::split(text);
        let doubts = statements.iter().filter_map(|s| s.error.clone()).collect();
        let batched = statements
            .iter()
            .map(|s| Batch::of(s).map_err(|e| at(file, text, s.range.start, &e)))
            .collect::<Result<Vec<_>>>()?;
        let in_transaction =
            directive(text, NO_TRANSACTION).is_none() && batched.iter().all(Option::is_none);
        let mut reader = Reader {
            file,
            text,
            in_transaction,
            steps: Vec::new(),
            block: None,
        };
        for (statement, batch) in statements.into_iter().zip(batched) {
            reader.take(statement, batch)?;
        }
        if let Some((begin, _)) = &reader.block {
            let message = "BEGIN without a COMMIT";
            return Err(at(file, text, begin.range.start, message));
        }
        Ok(Self {
            file: file.to_owned(),
            text: text.to_owned(),
            in_transaction,
            steps: reader.steps,
            doubts,
        })
    }

    /// Every statement, in order.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.steps.iter().flat_map(Step::statements)
    }

    /// What history remembers: without the white space around it.
    #[must_use]
    pub fn stored(&self) -> String {
        normal(&self.text)
    }

    #[must_use]
    pub fn checksum(&self) -> String {
        checksum(&self.stored())
    }

    /// The first statement that could not be read, as an error with a caret.
    #[must_use]
    pub fn doubt(&self) -> Option<Error> {
        let doubt = self.doubts.first()?;
        Some(self.error(doubt.at, &format!("syntax error: {}", doubt.message)))
    }

    /// An error at a byte of the text.
    #[must_use]
    pub fn error(&self, byte: usize, message: &str) -> Error {
        at(&self.file, &self.text, byte, message)
    }
}

/// An error that shows file, line and caret.
pub(super) fn at(file: &str, text: &str, byte: usize, message: &str) -> Error {
    Error::new(
        Kind::Config,
        sql::show(file, text, byte, message).trim_end(),
    )
    .remedy("correct the file at that place")
}

/// Line ends are those of Unix, and nothing stands around it.
fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

/// SHA-256, in hexadecimal.
#[must_use]
pub fn checksum(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(normal(text).as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The text after `-- word` or `-- word:` on a line of its own; empty where nothing
/// follows.
#[must_use]
pub fn directive(text: &str, word: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let comment = line.trim().strip_prefix("--")?.trim();
        let plain = |s: &str| s.to_lowercase().replace([' ', '_'], "-");
        let (head, rest) = comment.split_once(':').unwrap_or((comment, ""));
        (plain(head.trim()) == word).then(|| rest.trim().to_owned())
    })
}

/// Puts statements together to steps, and refuses what must not be run.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    in_transaction: bool,
    steps: Vec<Step>,
    /// The BEGIN of an open block and what it holds so far.
    block: Option<(Statement, Vec<Statement>)>,
}

impl Reader<'_> {
    fn refuse(&self, statement: &Statement, message: &str) -> Error {
        at(self.file, self.text, statement.range.start, message)
    }

    fn take(&mut self, statement: Statement, batch: Option<Batch>) -> Result<()> {
        if let Some(what) = transaction(&statement) {
            return self.control(statement, what);
        }
        let alone = lock::needs_no_transaction(&statement);
        if alone && self.in_transaction {
            let message = format!("{} cannot run in a transaction", statement.command);
            return Err(self.refuse(&statement, &message).remedy(format!(
                "put `-- {NO_TRANSACTION}` at the top of the file: each statement then commits on its own"
            )));
        }
        let inside = self.block.is_some();
        if inside && (alone || batch.is_some()) {
            let message = "this cannot stand between BEGIN and COMMIT";
            return Err(self.refuse(&statement, message));
        }
        match (&mut self.block, batch) {
            (Some((_, block)), _) => block.push(statement),
            (None, Some(batch)) => self.steps.push(Step::Batch(statement, batch)),
            (None, None) => self.steps.push(Step::One(statement)),
        }
        Ok(())
    }

    /// BEGIN and COMMIT put statements together in a file without a transaction.
    fn control(&mut self, statement: Statement, what: &str) -> Result<()> {
        if self.in_transaction {
            let message = format!("{what} in a file that runs in one transaction");
            return Err(self.refuse(&statement, &message).remedy(format!(
                "take it out: the file is one transaction; or put `-- {NO_TRANSACTION}` at the top"
            )));
        }
        match (what, self.block.take()) {
            ("BEGIN", None) => self.block = Some((statement, Vec::new())),
            ("COMMIT", Some((_, block))) if !block.is_empty() => {
                self.steps.push(Step::Block(block));
            }
            ("COMMIT", Some(_)) => return Err(self.refuse(&statement, "an empty transaction")),
            _ => {
                let message = format!("{what} does not fit here");
                return Err(self.refuse(&statement, &message).remedy(
                    "only BEGIN … COMMIT around statements that commit together is allowed",
                ));
            }
        }
        Ok(())
    }
}

fn transaction(statement: &Statement) -> Option<&'static str> {
    statement.parts.iter().find_map(|p| match p.operation {
        Operation::Transaction(what) => Some(what),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_transaction_unless_it_says_otherwise() {
        let script = Script::parse("f", "create table t (); drop table t;").unwrap();
        assert!(script.in_transaction);
        assert_eq!(script.steps.len(), 2);
        let text = "-- no-transaction\ncreate index concurrently i on t (a);\n\
                    begin; alter table t rename a to b; drop table u; commit;\n\
                    -- batch: t by id, 100 rows\nupdate t set a = 1 where id between $1 and $2;";
        let script = Script::parse("f", text).unwrap();
        assert!(!script.in_transaction);
        assert!(matches!(&script.steps[1], Step::Block(block) if block.len() == 2));
        assert!(matches!(&script.steps[2], Step::Batch(_, batch) if batch.rows == 100));
    }

    #[test]
    fn what_must_not_run_is_refused_with_its_place() {
        for (text, message) in [
            ("select 1;\n commit;", "f:2:2: COMMIT"),
            (
                "create index concurrently i on t (a);",
                "f:1:1: CREATE INDEX cannot",
            ),
            (
                "-- no-transaction\nbegin; select 1;",
                "f:2:1: BEGIN without",
            ),
            ("-- no-transaction\nrollback;", "f:2:1: ROLLBACK does not"),
            (
                "-- no-transaction\nbegin; vacuum t; commit;",
                "f:2:8: this cannot",
            ),
            ("-- batch: t by id\nupdate t set a = 1;", "f:2:1: "),
        ] {
            let error = Script::parse("f", text).unwrap_err();
            assert!(error.to_string().starts_with(message), "{text}: {error}");
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains('^'), "{error}");
        }
    }

    #[test]
    fn directives_are_read_however_they_are_written() {
        for text in [
            "-- no-transaction",
            "select 1;\n  --No Transaction\n",
            "-- no_transaction",
        ] {
            assert_eq!(
                directive(text, NO_TRANSACTION).as_deref(),
                Some(""),
                "{text}"
            );
        }
        assert_eq!(
            directive("-- irreversible: the old data is gone", IRREVERSIBLE).unwrap(),
            "the old data is gone"
        );
        assert!(directive("-- there is no transaction here", NO_TRANSACTION).is_none());
    }

    #[test]
    fn line_ends_and_outer_blanks_do_not_change_a_checksum() {
        assert_eq!(
            checksum("select 1;\nselect 2;\n"),
            checksum("\nselect 1;\r\nselect 2;")
        );
        assert_ne!(checksum("select 1;"), checksum("select  1;"));
    }
}
