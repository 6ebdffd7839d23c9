//! Identifiers: always quoted on the way out, parsed as SQL does on the way in.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// An identifier as SQL text, always in double quotes.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as an SQL literal, whatever `standard_conforming_strings` says.
/// For the few places that take no parameters (SET, replication commands).
#[must_use]
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// `schema.table`, both parts unquoted here and quoted by [`QualifiedName::sql`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct QualifiedName {
    pub schema: String,
    pub name: String,
}

impl QualifiedName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Parses `table`, `schema.table` or `"Schema"."Table ""x"""` the way SQL
    /// reads them: unquoted parts are folded to lower case; the schema defaults
    /// to `public`.
    ///
    /// # Errors
    /// [`Kind::Config`] when the text is not one or two identifiers.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(Kind::Config, format!("`{text}` is not a table name"))
                .remedy("write schema.table, with double quotes around a part that needs them")
        };
        let mut parts = Vec::new();
        let mut chars = text.trim().chars().peekable();
        loop {
            let mut part = String::new();
            if chars.peek() == Some(&'"') {
                chars.next();
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            part.push('"');
                        }
                        Some('"') => break,
                        Some(c) => part.push(c),
                        None => return Err(bad()),
                    }
                }
            } else {
                while let Some(&c) = chars.peek() {
                    if !(c.is_alphanumeric() || c == '_' || c == '$') {
                        break;
                    }
                    part.extend(c.to_lowercase());
                    chars.next();
                }
            }
            if part.is_empty() {
                return Err(bad());
            }
            parts.push(part);
            match chars.next() {
                None => break,
                Some('.') => {}
                Some(_) => return Err(bad()),
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), None, _) => Ok(Self::new("public", name)),
            (Some(schema), Some(name), None) => Ok(Self::new(schema, name)),
            _ => Err(bad()),
        }
    }

    /// The name as SQL text.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

impl fmt::Display for QualifiedName {
    /// For people: quoted only where SQL would need it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |s: &str| {
            let plain = s
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                && !s.starts_with(|c: char| c.is_ascii_digit());
            if plain { s.to_owned() } else { quote(s) }
        };
        write!(f, "{}.{}", part(&self.schema), part(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them_and_always_quoted() {
        let name = QualifiedName::parse(r#""Shop"."Order ""Items"" ÄÖ""#).unwrap();
        assert_eq!(name.schema, "Shop");
        assert_eq!(name.name, "Order \"Items\" ÄÖ");
        assert_eq!(name.sql(), r#""Shop"."Order ""Items"" ÄÖ""#);
        assert_eq!(
            QualifiedName::parse("Legacy.Orders").unwrap().to_string(),
            "legacy.orders"
        );
        assert_eq!(
            QualifiedName::parse("orders").unwrap().sql(),
            r#""public"."orders""#
        );
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in ["", ".", "a.", "a.b.c", "\"open", "a b", "a;drop"] {
            assert!(QualifiedName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
    }
}
