//! A text cut into statements, each with its place, its leading comments and what it
//! does.

use std::fmt;
use std::ops::Range;

use squawk_syntax::SourceFile;
use squawk_syntax::ast::AstNode;

use super::operation::Operation;
use super::place::{self, Place};
use super::reading;
use super::token::{self, Kind, Token};
use crate::pg::{QualifiedName, quote};

/// A name as it stands in a statement: unquoted, the schema only where it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

impl Name {
    pub(super) fn of(parts: Vec<String>) -> Option<Self> {
        let mut parts = parts.into_iter().rev();
        let name = parts.next()?;
        Some(Self {
            schema: parts.next(),
            name,
        })
    }

    /// Quoted, as SQL reads it.
    #[must_use]
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }

    /// Whether an object of this schema and name may be meant.
    #[must_use]
    pub fn may_be(&self, schema: &str, name: &str) -> bool {
        self.name == name && self.schema.as_deref().is_none_or(|s| s == schema)
    }
}

/// For people: quoted only where SQL needs it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}", QualifiedName::new(schema, &self.name)),
            None => {
                let text = QualifiedName::new("public", &self.name).to_string();
                f.write_str(text.strip_prefix("public.").unwrap_or(&text))
            }
        }
    }
}

/// Why a text is no SQL, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub message: String,
    pub at: usize,
}

/// What a part of a statement does; `ALTER TABLE` has a part for each action.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The byte of the whole text where it begins.
    pub at: usize,
    pub operation: Operation,
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// From its first token to its last, without the semicolon.
    pub text: String,
    /// The bytes of the whole text that it takes.
    pub range: Range<usize>,
    pub place: Place,
    /// The comments between the statement before and this one, as written.
    pub comments: Vec<String>,
    /// Its kind in capitals, such as `CREATE INDEX`.
    pub command: String,
    /// Empty for a statement that is nothing in particular or could not be read.
    pub parts: Vec<Part>,
    pub error: Option<SyntaxError>,
}

/// Cuts a text into its statements. A text after the last statement that holds only
/// comments is none.
#[must_use]
pub fn split(text: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut comments: Vec<String> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut nesting = Nesting::default();
    for token in token::tokens(text) {
        if token.kind == Kind::Comment {
            if open.is_none() {
                comments.push(token.text(text).to_owned());
            }
            continue;
        }
        if token.is(text, ';') && !nesting.is_open() {
            if let Some((from, to)) = open.take() {
                statements.push(read(text, from..to, std::mem::take(&mut comments)));
            }
            nesting = Nesting::default();
            continue;
        }
        nesting.see(text, &token);
        open = Some((open.map_or(token.range.start, |o| o.0), token.range.end));
    }
    if let Some((from, to)) = open {
        statements.push(read(text, from..to, comments));
    }
    statements
}

/// What hides a semicolon: parentheses (a rule's list of statements), and the body of
/// a routine between BEGIN ATOMIC and its END.
#[derive(Default)]
struct Nesting {
    parentheses: usize,
    /// Words seen so far, up to those that tell a routine's definition.
    words: Vec<String>,
    atomic: bool,
    blocks: usize,
}

impl Nesting {
    fn is_open(&self) -> bool {
        self.parentheses > 0 || self.blocks > 0
    }

    fn see(&mut self, text: &str, token: &Token) {
        if token.is(text, '(') {
            self.parentheses += 1;
        } else if token.is(text, ')') {
            self.parentheses = self.parentheses.saturating_sub(1);
        } else if token.kind == Kind::Word {
            let word = token.text(text).to_lowercase();
            if self.is_routine() {
                match word.as_str() {
                    "atomic" if self.last_is("begin") => {
                        self.atomic = true;
                        self.blocks += 1;
                    }
                    "case" if self.atomic && self.blocks > 0 => self.blocks += 1,
                    "end" => self.blocks = self.blocks.saturating_sub(1),
                    _ => {}
                }
            }
            if self.words.len() >= 6 {
                self.words.remove(5);
            }
            self.words.push(word);
        }
    }

    fn last_is(&self, word: &str) -> bool {
        self.words.last().is_some_and(|w| w == word)
    }

    /// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
    fn is_routine(&self) -> bool {
        self.words.first().is_some_and(|w| w == "create")
            && self
                .words
                .iter()
                .take(4)
                .any(|w| w == "function" || w == "procedure")
    }
}

fn read(text: &str, range: Range<usize>, comments: Vec<String>) -> Statement {
    let own = &text[range.clone()];
    let parse = SourceFile::parse(own);
    let error = parse.errors().first().map(|e| SyntaxError {
        message: e.message().to_owned(),
        at: range.start + usize::from(e.range().start()),
    });
    let node = parse.tree().syntax().children().next();
    let mut parts = Vec::new();
    let mut command = String::new();
    if let Some(node) = node {
        command = format!("{:?}", node.kind()).replace('_', " ");
        let leading = usize::from(node.text_range().start());
        parts = reading::read(&node)
            .into_iter()
            .map(|(at, operation)| Part {
                at: range.start + at.max(leading),
                operation,
            })
            .collect();
    }
    if command.is_empty() || command == "ERROR" {
        command = own
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_uppercase();
    }
    Statement {
        text: own.to_owned(),
        place: Place::of(text, range.start),
        range,
        comments,
        command,
        parts,
        error,
    }
}

impl Statement {
    /// The first words, for a line of progress.
    #[must_use]
    pub fn headline(&self) -> String {
        let mut words: Vec<&str> = Vec::new();
        let tokens = token::tokens(&self.text);
        let end = tokens
            .iter()
            .filter(|t| t.kind != Kind::Comment)
            .take(12)
            .last()
            .map_or(0, |t| t.range.end);
        words.extend(self.text[..end].split_whitespace());
        let line = words.join(" ");
        if line.chars().count() > 72 {
            let short: String = line.chars().take(71).collect();
            return format!("{short}…");
        }
        if end < self.text.len() {
            return format!("{line} …");
        }
        line
    }
}

/// The place of an error and its line, for a person.
#[must_use]
pub fn show(file: &str, text: &str, at: usize, message: &str) -> String {
    format!(
        "{file}:{}: {message}\n{}",
        Place::of(text, at),
        place::caret(text, at)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        split(sql).into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn a_semicolon_ends_a_statement_only_outside_of_everything() {
        let sql = "-- one; two\nselect ';' /* ; */, $$;$$;\n\n;create rule r as on insert to t \
                   do also (select 1; select 2); select 3";
        assert_eq!(
            texts(sql),
            [
                "select ';' /* ; */, $$;$$",
                "create rule r as on insert to t do also (select 1; select 2)",
                "select 3",
            ]
        );
    }

    #[test]
    fn a_body_begun_with_begin_atomic_is_one_statement() {
        let sql = "create or replace function f(a int) returns int language sql\n\
                   begin atomic; select case when a > 1 then 2 else 3 end; select 4; end;\n\
                   select 1; begin; commit;";
        let sql = &sql.replace("atomic; ", "atomic ");
        let found = texts(sql);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].ends_with("select 4; end"));
        assert_eq!(found[2..], ["begin", "commit"]);
    }

    #[test]
    fn places_and_comments_belong_to_their_statement() {
        let found = split("-- a\nselect 1;\n\n-- b\n/* c */ update t\nset x = 1;\n-- rest\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].comments, ["-- a"]);
        assert_eq!(found[1].comments, ["-- b", "/* c */"]);
        assert_eq!(found[1].place.to_string(), "5:9");
        assert_eq!(found[1].command, "UPDATE");
    }

    #[test]
    fn an_error_names_its_byte_in_the_whole_text() {
        let sql = "select 1;\nselect 2;\nalter tabel t add x int;\n";
        let found = split(sql);
        let error = found[2].error.clone().unwrap();
        assert_eq!(Place::of(sql, error.at).line, 3, "{error:?}");
        assert!(found[1].error.is_none());
    }
}
