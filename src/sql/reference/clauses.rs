//! The clauses of a statement, as far as they say which names are relations.

use std::collections::BTreeSet;

use crate::sql::token::Token;

/// What a statement calls the table, and what it calls others.
#[derive(Default)]
pub(super) struct Relations {
    pub at: usize,
    pub names: BTreeSet<String>,
    pub others: BTreeSet<String>,
    pub by_position: bool,
    pub type_of: bool,
}

/// Where in a statement a name is one of a relation.
#[derive(Default)]
pub(super) struct Clauses {
    pub expected: bool,
    pub writes: bool,
    pub in_from: bool,
    /// The relation is one that `COPY` reads or writes.
    pub copies: bool,
    outer: Vec<bool>,
}

impl Clauses {
    /// True if the last of these tokens begins a command whose relation follows it at once;
    /// elsewhere these words are names as others are.
    pub fn command(&mut self, text: &str, until: &[Token]) -> bool {
        let Some((last, before)) = until.split_last() else {
            return false;
        };
        let (copies, truncates) = (last.is_word(text, "copy"), last.is_word(text, "truncate"));
        let begins = before.last().is_none_or(|b| {
            ["begin", "then", "else", "loop"]
                .iter()
                .any(|w| b.is_word(text, w))
        });
        if !begins || !(copies || truncates) {
            return false;
        }
        // `truncate a, b` has a list, as FROM has.
        (self.expected, self.writes, self.in_from) = (true, true, truncates);
        self.copies = copies;
        true
    }

    /// True if the word is a keyword that says what follows.
    pub fn keyword(&mut self, word: &str) -> bool {
        match word {
            "from" | "join" => (self.expected, self.in_from) = (true, true),
            "using" => self.expected = true,
            "update" | "into" | "table" => (self.expected, self.writes) = (true, true),
            "only" | "lateral" => {}
            "where" | "set" | "on" | "group" | "order" | "having" | "limit" | "returning"
            | "values" | "select" | "union" | "loop" => {
                (self.expected, self.in_from) = (false, false);
            }
            _ => return false,
        }
        true
    }

    pub fn punctuation(&mut self, text: &str, token: &Token) {
        self.copies = false;
        if token.is(text, '(') {
            self.outer.push(self.in_from);
            // `from (a join b)`: what is expected stays so.
            self.in_from = false;
        } else if token.is(text, ')') {
            self.in_from = self.outer.pop().unwrap_or(false);
            self.expected = false;
        } else if token.is(text, ',') {
            self.expected = self.in_from;
        }
    }
}

/// Words after a relation that are no alias.
pub(super) const AFTER_RELATION: &[&str] = &[
    "where",
    "join",
    "left",
    "right",
    "full",
    "inner",
    "cross",
    "natural",
    "on",
    "using",
    "set",
    "group",
    "order",
    "limit",
    "offset",
    "having",
    "union",
    "except",
    "intersect",
    "values",
    "select",
    "default",
    "returning",
    "for",
    "window",
    "loop",
    "then",
    "tablesample",
    "with",
    "fetch",
    "when",
    "into",
    "end",
];
