//! `-- batch: table by key, 5000 rows, pause 50 ms`: a statement that is run for one
//! range of keys after the other, each in a short transaction.

use crate::pg::QualifiedName;
use crate::sql::Statement;
use crate::sql::token::{self, Kind};

/// Keys of one transaction where nothing is said.
const ROWS: u32 = 5000;

/// What the comment before a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table whose keys are walked.
    pub table: QualifiedName,
    /// Its column; the statement has `$1` for the first and `$2` for the last of a range.
    pub key: String,
    /// Rows of the table in one range.
    pub rows: u32,
    /// Between two ranges.
    pub pause_ms: u64,
}

impl Batch {
    /// The batch that a statement's comments ask for, if they do.
    ///
    /// # Errors
    /// What is wrong with the comment or with the statement, in words.
    pub fn of(statement: &Statement) -> Result<Option<Self>, String> {
        let Some(asked) = statement.comments.iter().rev().find_map(|c| {
            let text = c.strip_prefix("--")?.trim();
            text.strip_prefix("batch:")
        }) else {
            return Ok(None);
        };
        let batch = Self::parse(asked).ok_or_else(|| {
            format!("`-- batch:{asked}` is not `-- batch: table by key, 5000 rows, pause 50 ms`")
        })?;
        let parameters: Vec<&str> = token::tokens(&statement.text)
            .into_iter()
            .filter(|t| t.kind == Kind::Parameter)
            .map(|t| &statement.text[t.range])
            .collect();
        let fits = parameters.contains(&"$1") && parameters.contains(&"$2");
        if !fits || parameters.iter().any(|p| !matches!(*p, "$1" | "$2")) {
            return Err(format!(
                "a batch needs `where {} between $1 and $2`: the first and the last key of a range",
                batch.key
            ));
        }
        Ok(Some(batch))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim);
        let (table, key) = parts.next()?.split_once(" by ")?;
        let key = QualifiedName::parse(key.trim()).ok()?;
        let mut batch = Self {
            table: QualifiedName::parse(table.trim()).ok()?,
            key: key.name,
            rows: ROWS,
            pause_ms: 0,
        };
        for part in parts {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words[..] {
                [count, "rows" | "row"] => batch.rows = count.parse().ok().filter(|n| *n > 0)?,
                ["pause", ms, "ms"] => batch.pause_ms = ms.parse().ok()?,
                _ => return None,
            }
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    fn batch(comment: &str) -> Result<Option<Batch>, String> {
        let text = format!("-- {comment}\nupdate t set a = 1 where id between $1 and $2");
        Batch::of(&split(&text)[0])
    }

    #[test]
    fn the_comment_says_what_is_walked_and_how() {
        let found = batch(r#"batch: shop."Or ders" by "Id", 200 rows, pause 5 ms"#)
            .unwrap()
            .unwrap();
        assert_eq!(found.table.name, "Or ders");
        assert_eq!(
            (found.key.as_str(), found.rows, found.pause_ms),
            ("Id", 200, 5)
        );
        assert_eq!(batch("batch: t by id").unwrap().unwrap().rows, 5000);
        assert_eq!(batch("a batch of something").unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error_not_a_comment() {
        for wrong in [
            "batch: t",
            "batch: t by id, many rows",
            "batch: t by id, 0 rows",
        ] {
            assert!(batch(wrong).is_err(), "{wrong}");
        }
        let text = "-- batch: t by id\nupdate t set a = 1 where id > $1";
        assert!(
            Batch::of(&split(text)[0])
                .unwrap_err()
                .contains("between $1 and $2")
        );
    }
}
