//! Tokens as PostgreSQL's scanner sees them: enough to split statements, to find
//! names, and to leave strings and comments alone. It never fails: what does not end
//! ends with the text.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an identifier without quotes; both look alike here.
    Word,
    /// `"…"`, also `U&"…"`.
    Quoted,
    /// `'…'` with any prefix, and `$tag$…$tag$`.
    String,
    Number,
    /// `$1`.
    Parameter,
    /// `-- …` and `/* … */`.
    Comment,
    /// One character of anything else.
    Punctuation,
}

/// A token and the bytes it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

impl Token {
    #[must_use]
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.range.clone()]
    }

    /// Whether this is the keyword `word` (given in lower case).
    #[must_use]
    pub fn is_word(&self, sql: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(sql).eq_ignore_ascii_case(word)
    }

    #[must_use]
    pub fn is(&self, sql: &str, punctuation: char) -> bool {
        self.kind == Kind::Punctuation && self.text(sql).starts_with(punctuation)
    }

    /// What a string holds, as far as no backslash or prefix says otherwise.
    #[must_use]
    pub fn content(&self, sql: &str) -> Option<String> {
        let text = self.text(sql);
        if self.kind != Kind::String {
            return None;
        }
        if let Some(rest) = text.strip_prefix('$') {
            let tag = &text[..rest.find('$')? + 2];
            let inner = &text[tag.len()..];
            return Some(inner.strip_suffix(tag).unwrap_or(inner).to_owned());
        }
        let inner = &text[text.find('\'')? + 1..];
        let inner = inner.strip_suffix('\'').unwrap_or(inner);
        Some(inner.replace("''", "'"))
    }

    /// The identifier it stands for: folded to lower case, or unquoted.
    #[must_use]
    pub fn identifier(&self, sql: &str) -> Option<String> {
        let text = self.text(sql);
        match self.kind {
            Kind::Word => Some(text.to_lowercase()),
            Kind::Quoted => {
                let inner = text.get(text.find('"')? + 1..)?;
                let inner = inner.strip_suffix('"').unwrap_or(inner);
                Some(inner.replace("\"\"", "\""))
            }
            _ => None,
        }
    }
}

/// Every token of a text but white space.
#[must_use]
pub fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = next(&sql[at..], c);
        found.push(Token {
            kind,
            range: at..at + length,
        });
        at += length;
    }
    found
}

/// The token that begins with `first`, and its length in bytes (at least one character).
fn next(rest: &str, first: char) -> (Kind, usize) {
    if rest.starts_with("--") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if first == '\'' {
        return (Kind::String, quoted(rest, 0, '\'', false));
    }
    if first == '"' {
        return (Kind::Quoted, quoted(rest, 0, '"', false));
    }
    if let Some(found) = prefixed(rest) {
        return found;
    }
    if first == '$' {
        return dollar(rest);
    }
    if first.is_ascii_digit() {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .unwrap_or(rest.len());
        // `1..10` of a PL/pgSQL loop is two numbers.
        let end = rest[..end].find("..").unwrap_or(end);
        return (Kind::Number, end);
    }
    if is_word_start(first) {
        let end = rest
            .find(|c: char| !(is_word_start(c) || c.is_ascii_digit() || c == '$'))
            .unwrap_or(rest.len());
        return (Kind::Word, end);
    }
    (Kind::Punctuation, first.len_utf8())
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// Strings and identifiers with a prefix: `E'…'` knows backslashes, the others do not.
fn prefixed(rest: &str) -> Option<(Kind, usize)> {
    let bytes = rest.as_bytes();
    let letter = bytes.first()?.to_ascii_lowercase();
    if letter == b'u' && bytes.get(1) == Some(&b'&') {
        return match bytes.get(2)? {
            b'\'' => Some((Kind::String, quoted(rest, 2, '\'', false))),
            b'"' => Some((Kind::Quoted, quoted(rest, 2, '"', false))),
            _ => None,
        };
    }
    if b"ebxn".contains(&letter) && bytes.get(1) == Some(&b'\'') {
        return Some((Kind::String, quoted(rest, 1, '\'', letter == b'e')));
    }
    None
}

/// Length of what is quoted from byte `open` on; a doubled quote does not end it.
fn quoted(rest: &str, open: usize, quote: char, backslashes: bool) -> usize {
    let mut characters = rest[open + 1..].char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if backslashes && c == '\\' {
            characters.next();
        } else if c == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return open + 1 + at + 1;
            }
        }
    }
    rest.len()
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `$tag$…$tag$`, `$1`, or a lone `$`.
fn dollar(rest: &str) -> (Kind, usize) {
    let tag_end = rest[1..]
        .find(|c: char| !(is_word_start(c) || c.is_ascii_digit()))
        .map_or(rest.len(), |end| end + 1);
    let digits = rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if digits {
        let end = rest[1..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |end| end + 1);
        return (Kind::Parameter, end);
    }
    if !rest[tag_end..].starts_with('$') {
        return (Kind::Punctuation, 1);
    }
    let tag = &rest[..=tag_end];
    let body = tag.len();
    let end = rest[body..]
        .find(tag)
        .map_or(rest.len(), |at| body + at + tag.len());
    (Kind::String, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> Vec<(Kind, &str)> {
        tokens(sql)
            .into_iter()
            .map(|t| (t.kind, &sql[t.range]))
            .collect()
    }

    #[test]
    fn strings_of_every_kind_are_one_token() {
        use Kind::{Parameter, Punctuation, String, Word};
        for text in [
            "'it''s; fine'",
            r"E'it\'s; fine'",
            r"'back\'",
            "$$a;b$$",
            "$tag$ $$ ; $tag $tag$",
            "$é$;$é$",
            "U&'d\\0061t'",
            "B'0101'",
        ] {
            assert_eq!(shown(text), [(String, text)], "{text}");
        }
        assert_eq!(
            shown("a$1+$2"),
            [(Word, "a$1"), (Punctuation, "+"), (Parameter, "$2"),]
        );
    }

    #[test]
    fn comments_nest_and_end() {
        assert_eq!(
            shown("/* a /* b */ ; */ x -- y;\nz"),
            [
                (Kind::Comment, "/* a /* b */ ; */"),
                (Kind::Word, "x"),
                (Kind::Comment, "-- y;"),
                (Kind::Word, "z"),
            ]
        );
    }

    #[test]
    fn identifiers_are_folded_or_unquoted() {
        let sql = r#"Legacy."Order ""Items"" ÄÖ" 1..10"#;
        let found = tokens(sql);
        assert_eq!(found[0].identifier(sql).unwrap(), "legacy");
        assert_eq!(found[2].identifier(sql).unwrap(), "Order \"Items\" ÄÖ");
        assert_eq!(found[3].kind, Kind::Number);
        assert_eq!(found[3].text(sql), "1");
    }

    #[test]
    fn what_does_not_end_ends_with_the_text() {
        for text in ["'open", "$x$ open", "/* open /* */", "\"open", "$", "E'\\"] {
            let found = tokens(text);
            assert_eq!(
                found.last().map(|t| t.range.end),
                Some(text.len()),
                "{text}"
            );
        }
    }
}
