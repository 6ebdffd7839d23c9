//! Expressions as the server prints them in a plan.
//!
//! The server puts parentheses around every operation and, in a verbose plan, an alias
//! before every column. So a lexer and a sense for parentheses are enough to take a
//! condition apart, and what is not understood stays a text.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword: unquoted ones in lower case, quoted ones without quotes.
    Word {
        text: String,
        quoted: bool,
    },
    Number,
    /// A string constant.
    Text,
    /// `$1`.
    Parameter,
    Operator(String),
    /// `(`, `)`, `[`, `]`, `,`, `.`.
    Mark(char),
    /// `::`.
    Cast,
}

/// A token and where it stands.
pub type Spanned = (Token, Range<usize>);

/// Splits a text into tokens. A character that fits nowhere is left out.
#[must_use]
pub fn tokens(text: &str) -> Vec<Spanned> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let token = match bytes[at] {
            b'\'' => {
                at = end_of_string(bytes, at, false);
                Some(Token::Text)
            }
            b'E' | b'e' | b'B' | b'b' | b'X' | b'x' if bytes.get(at + 1) == Some(&b'\'') => {
                at = end_of_string(bytes, at + 1, bytes[at].eq_ignore_ascii_case(&b'e'));
                Some(Token::Text)
            }
            b'"' => {
                at = end_of_quoted(bytes, at);
                let inner = text[start + 1..at.max(start + 2) - 1].replace("\"\"", "\"");
                Some(Token::Word {
                    text: inner,
                    quoted: true,
                })
            }
            b'$' => {
                at += 1 + bytes[at + 1..]
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                Some(Token::Parameter)
            }
            b if b.is_ascii_digit() => {
                let number = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'.';
                at += bytes[at..].iter().take_while(number).count();
                Some(Token::Number)
            }
            b if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 => {
                let part = |b: &&u8| {
                    b.is_ascii_alphanumeric() || **b == b'_' || **b == b'$' || **b >= 0x80
                };
                at += bytes[at..].iter().take_while(part).count();
                let text = text[start..at].to_lowercase();
                Some(Token::Word {
                    text,
                    quoted: false,
                })
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                at += 2;
                Some(Token::Cast)
            }
            b if b"()[],.".contains(&b) => {
                at += 1;
                Some(Token::Mark(char::from(b)))
            }
            b if b"+-*/<>=~!@#%^&|`?".contains(&b) => {
                let part = |b: &&u8| b"+-*/<>=~!@#%^&|`?".contains(b);
                at += bytes[at..].iter().take_while(part).count();
                Some(Token::Operator(text[start..at].to_owned()))
            }
            _ => {
                at += 1;
                None
            }
        };
        if let Some(token) = token {
            found.push((token, start..at));
        }
    }
    found
}

fn end_of_string(bytes: &[u8], quote: usize, escapes: bool) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\'' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn end_of_quoted(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' if bytes.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The text without the parentheses that enclose all of it.
#[must_use]
pub fn bare(text: &str) -> &str {
    let mut text = text.trim();
    while text.starts_with('(') && closes_at_end(text) {
        text = text[1..text.len() - 1].trim();
    }
    text
}

fn closes_at_end(text: &str) -> bool {
    let mut depth = 0;
    for (token, range) in tokens(text) {
        match token {
            Token::Mark('(' | '[') => depth += 1,
            Token::Mark(')' | ']') => {
                depth -= 1;
                if depth == 0 {
                    return range.end == text.len();
                }
            }
            _ => {}
        }
    }
    false
}

/// The parts that a word outside of all parentheses separates.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let text = bare(text);
    let mut parts = Vec::new();
    let (mut depth, mut from, mut between) = (0, 0, false);
    for (token, range) in tokens(text) {
        match token {
            Token::Mark('(' | '[') => depth += 1,
            Token::Mark(')' | ']') => depth -= 1,
            Token::Word {
                text: found,
                quoted: false,
            } if depth == 0 => {
                if found == "between" {
                    between = true;
                } else if found == word {
                    // The AND of a BETWEEN separates nothing.
                    if !(word == "and" && std::mem::take(&mut between)) {
                        parts.push(text[from..range.start].trim());
                        from = range.end;
                    }
                }
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// What AND joins, down to the conditions themselves.
#[must_use]
pub fn conjuncts(text: &str) -> Vec<&str> {
    deep(text, "and")
}

/// What OR joins.
#[must_use]
pub fn disjuncts(text: &str) -> Vec<&str> {
    deep(text, "or")
}

fn deep<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let parts = split(text, word);
    if parts.len() == 1 {
        return parts;
    }
    parts
        .into_iter()
        .flat_map(|part| deep(part, word))
        .collect()
}

/// `left operator right`, each side without its outer parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison<'a> {
    pub left: &'a str,
    pub operator: &'a str,
    pub right: &'a str,
}

impl<'a> Comparison<'a> {
    /// The operation at the top of a condition; `None` where it is no binary operator.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = bare(text);
        let mut depth = 0;
        for (token, range) in tokens(text) {
            match token {
                Token::Mark('(' | '[') => depth += 1,
                Token::Mark(')' | ']') => depth -= 1,
                Token::Operator(_) if depth == 0 && range.start > 0 => {
                    return Some(Self {
                        left: bare(&text[..range.start]),
                        operator: &text[range.clone()],
                        right: bare(&text[range.end..]),
                    });
                }
                _ => {}
            }
        }
        None
    }
}

/// A column with the alias of its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column {
    pub alias: String,
    pub name: String,
}

/// The columns that an expression names, in order, each once.
#[must_use]
pub fn columns(text: &str) -> Vec<Column> {
    let tokens = tokens(text);
    let mut found: Vec<Column> = Vec::new();
    for (i, window) in tokens.windows(3).enumerate() {
        let [
            (Token::Word { text: alias, .. }, _),
            (Token::Mark('.'), _),
            (Token::Word { text: name, .. }, _),
        ] = window
        else {
            continue;
        };
        // `schema.function(` and what follows a cast are no columns.
        let called = matches!(tokens.get(i + 3), Some((Token::Mark('('), _)));
        let before = i.checked_sub(1).map(|b| &tokens[b].0);
        if called || matches!(before, Some(Token::Cast | Token::Mark('.'))) {
            continue;
        }
        let column = Column {
            alias: alias.clone(),
            name: name.clone(),
        };
        if !found.contains(&column) {
            found.push(column);
        }
    }
    found
}

/// The column that this is and nothing else.
#[must_use]
pub fn column(text: &str) -> Option<Column> {
    let text = bare(text);
    let only = tokens(text).len() == 3;
    columns(text).into_iter().next().filter(|_| only)
}

/// `(column)::type`: the column and the type, when that is all there is.
#[must_use]
pub fn cast_column(text: &str) -> Option<(Column, &str)> {
    let text = bare(text);
    let at = tokens(text)
        .into_iter()
        .rev()
        .find(|(token, _)| *token == Token::Cast)?
        .1;
    Some((column(&text[..at.start])?, text[at.end..].trim()))
}

/// True for a text that names no column and no sub-plan: a constant, or what a
/// parameter gives.
#[must_use]
pub fn is_constant(text: &str) -> bool {
    columns(text).is_empty() && !mentions_subplan(text)
}

/// Whether a sub-plan's result is in it.
#[must_use]
pub fn mentions_subplan(text: &str) -> bool {
    tokens(text).iter().any(|(token, _)| {
        matches!(token, Token::Word { text, quoted: false } if text == "subplan" || text == "initplan")
    })
}

/// Names of functions that are called.
#[must_use]
pub fn functions(text: &str) -> Vec<String> {
    const SYNTAX: &[&str] = &[
        "any", "all", "and", "or", "not", "in", "is", "case", "when", "then", "else", "row",
        "array", "subplan", "initplan", "as", "like", "between",
    ];
    let tokens = tokens(text);
    tokens
        .windows(2)
        .filter_map(|pair| match pair {
            [(Token::Word { text, .. }, word), (Token::Mark('('), mark)]
                if word.end == mark.start && !SYNTAX.contains(&text.as_str()) =>
            {
                Some(text.clone())
            }
            _ => None,
        })
        .collect()
}

/// The text with `alias.` taken off its columns, for use in an index of that table.
#[must_use]
pub fn without_alias(text: &str, alias: &str) -> String {
    let tokens = tokens(text);
    let mut out = String::new();
    let mut from = 0;
    for pair in tokens.windows(2) {
        if let [
            (Token::Word { text: word, .. }, range),
            (Token::Mark('.'), dot),
        ] = pair
            && word == alias
        {
            out.push_str(&text[from..range.start]);
            from = dot.end;
        }
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_split_where_they_are_joined() {
        let text =
            "(((o.status)::text = 'a AND b'::text) AND (o.x > 3) AND ((o.y = 1) OR (o.z = 2)))";
        assert_eq!(
            conjuncts(text),
            [
                "(o.status)::text = 'a AND b'::text",
                "o.x > 3",
                "(o.y = 1) OR (o.z = 2)"
            ]
        );
        assert_eq!(
            disjuncts("((o.y = 1) OR (o.z = 2))"),
            ["o.y = 1", "o.z = 2"]
        );
        assert_eq!(conjuncts("(a.b = 1)"), ["a.b = 1"]);
    }

    #[test]
    fn a_comparison_has_two_sides() {
        let c = Comparison::parse("((o.doc ->> 'k'::text) = 'v'::text)").unwrap();
        assert_eq!(
            (c.left, c.operator, c.right),
            ("o.doc ->> 'k'::text", "=", "'v'::text")
        );
        assert!(Comparison::parse("(o.shipped_at IS NULL)").is_none());
        let c = Comparison::parse("(o.id = ANY ('{1,2}'::bigint[]))").unwrap();
        assert_eq!((c.left, c.right), ("o.id", "ANY ('{1,2}'::bigint[])"));
    }

    #[test]
    fn columns_are_found_whatever_they_are_called() {
        let found = columns(
            r#"(("Order ""Items"" ÄÖ"."Größe" = o.x) AND pg_catalog.lower(o.y) = 'z.z'::pg_catalog.text)"#,
        );
        let names: Vec<_> = found
            .iter()
            .map(|c| (c.alias.as_str(), c.name.as_str()))
            .collect();
        assert_eq!(
            names,
            [("Order \"Items\" ÄÖ", "Größe"), ("o", "x"), ("o", "y")]
        );
        assert_eq!(column("(o.x)").unwrap().name, "x");
        assert_eq!(column("(o.x + 1)"), None);
        let (column, cast) = cast_column("(o.status)::text").unwrap();
        assert_eq!((column.name.as_str(), cast), ("status", "text"));
    }

    #[test]
    fn strings_end_where_the_server_ends_them() {
        for text in ["'it''s (' = x", r"E'a\'(' = x", "'open", "\"open", "$", "E"] {
            let _ = tokens(text);
            let _ = bare(text);
        }
        assert_eq!(bare("('a)')"), "'a)'");
        assert_eq!(bare("(a) = (b)"), "(a) = (b)");
    }

    #[test]
    fn functions_and_aliases() {
        assert_eq!(
            functions("lower((o.email)::text) = ANY ('{a}'::text[])"),
            ["lower"]
        );
        assert_eq!(
            without_alias("lower((o.email)::text)", "o"),
            "lower((email)::text)"
        );
        assert_eq!(without_alias("(\"O x\".\"E\" = 1)", "O x"), "(\"E\" = 1)");
        assert!(is_constant("('now'::text)::date"));
        assert!(!is_constant("(SubPlan 1)"));
    }
}
