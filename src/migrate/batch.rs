//! `-- batch: table by key, 5000 rows, pause 50 ms, lag 5 s`: a statement that is run for one
//! range of keys after the other, each in a short transaction. A key of several columns
//! stands in parentheses: `by (tenant, id)`.

use std::collections::BTreeSet;

use crate::pg::{QualifiedName, quote};
use crate::sql::Statement;
use crate::sql::token::{self, Kind};

/// Keys of one transaction where nothing is said.
const ROWS: u32 = 5000;

/// What the comment before a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table whose keys are walked.
    pub table: QualifiedName,
    /// Its columns, at least one. The statement has a parameter for each of them twice: for
    /// the first key of a range, `$1` and so on, then for the last one.
    pub key: Vec<String>,
    /// Rows of the table in one range.
    pub rows: u32,
    /// Between two ranges.
    pub pause_ms: u64,
    /// How far a standby may be behind before the next range waits for it.
    pub lag_seconds: Option<u32>,
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
            format!("`-- batch:{asked}` is not `-- batch: table by key, 5000 rows, pause 50 ms, lag 5 s`")
        })?;
        let present: BTreeSet<String> = token::tokens(&statement.text)
            .into_iter()
            .filter(|t| t.kind == Kind::Parameter)
            .map(|t| statement.text[t.range].to_owned())
            .collect();
        let wanted = (1..=2 * batch.key.len()).map(|n| format!("${n}")).collect();
        if present != wanted {
            return Err(format!(
                "a batch needs `where {}`, and no other parameters: the first and the last key of a range",
                batch.condition()
            ));
        }
        Ok(Some(batch))
    }

    /// What the statement's WHERE has to say.
    fn condition(&self) -> String {
        let columns = self.key.iter().map(|c| quote(c));
        let count = self.key.len();
        let numbers = |from: usize| (from..from + count).map(|n| format!("${n}"));
        let (first, last) = (row(numbers(1)), row(numbers(1 + count)));
        format!("{} between {first} and {last}", row(columns))
    }

    fn parse(text: &str) -> Option<Self> {
        let (table, rest) = text.split_once(" by ")?;
        let (columns, pace) = match rest.trim_start().strip_prefix('(') {
            Some(rest) => {
                let (columns, pace) = cut(rest, ')');
                (parts(columns), pace?.trim_start())
            }
            None => {
                let (column, _) = cut(rest, ',');
                (vec![column], &rest[column.len()..])
            }
        };
        let pace = match pace.strip_prefix(',') {
            Some(pace) => parts(pace),
            None if pace.is_empty() => Vec::new(),
            None => return None,
        };
        let key: Option<Vec<String>> = columns
            .into_iter()
            .map(|column| QualifiedName::parse(column).ok().map(|c| c.name))
            .collect();
        let mut batch = Self {
            table: QualifiedName::parse(table.trim()).ok()?,
            key: key?,
            rows: ROWS,
            pause_ms: 0,
            lag_seconds: None,
        };
        for part in pace {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words[..] {
                [count, "rows" | "row"] => batch.rows = count.parse().ok().filter(|n| *n > 0)?,
                ["pause", ms, "ms"] => batch.pause_ms = ms.parse().ok()?,
                ["lag", seconds, "s"] => {
                    batch.lag_seconds = Some(seconds.parse().ok().filter(|n| *n > 0)?);
                }
                _ => return None,
            }
        }
        Some(batch)
    }
}

/// `a`, or `(a, b)`.
fn row(parts: impl Iterator<Item = String>) -> String {
    match &parts.collect::<Vec<_>>()[..] {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

/// What stands before the first such character outside of double quotes, and what after.
fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == at && !quoted
    });
    match end {
        Some(end) => (&text[..end], Some(&text[end + at.len_utf8()..])),
        None => (text, None),
    }
}

/// The parts between commas outside of double quotes.
fn parts(text: &str) -> Vec<&str> {
    let mut rest = Some(text);
    std::iter::from_fn(|| {
        let (part, after) = cut(rest?, ',');
        rest = after;
        Some(part)
    })
    .collect()
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
        let found = batch(r#"batch: shop."Or ders" by "Id", 200 rows, pause 5 ms, lag 7 s"#)
            .unwrap()
            .unwrap();
        assert_eq!(found.table.name, "Or ders");
        assert_eq!(
            (found.key, found.rows, found.pause_ms, found.lag_seconds),
            (vec!["Id".to_owned()], 200, 5, Some(7))
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
            "batch: t by id,",
            "batch: t by id, lag 0 s",
            "batch: t by id, a",
            "batch: t by (id",
            "batch: t by id)",
            "batch: t by (id) 5 rows",
            "batch: t by ()",
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

    #[test]
    fn a_key_of_several_columns_has_a_parameter_for_each_of_them_twice() {
        let of = |columns: &str, condition: &str| {
            let text =
                format!("-- batch: t by {columns}, 9 rows\nupdate t set a = 1 where {condition}");
            Batch::of(&split(&text)[0])
        };
        let found = of(
            r#"("Ten, ant)", id)"#,
            "(tenant, id) between ($1, $2) and ($3, $4)",
        );
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.key, found.rows),
            (vec!["Ten, ant)".to_owned(), "id".to_owned()], 9)
        );
        assert_eq!(
            of("(id)", "id between $1 and $2").unwrap().unwrap().key,
            ["id"]
        );
        for missing in [
            "id between $1 and $2",
            "(tenant, id) between ($1, $2) and ($3, $5)",
        ] {
            let refused = of("(tenant, id)", missing).unwrap_err();
            let wanted = r#"("tenant", "id") between ($1, $2) and ($3, $4)"#;
            assert!(refused.contains(wanted), "{refused}");
        }
    }
}
