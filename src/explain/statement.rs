//! The query under examination: one statement, and values for its parameters.
//!
//! Invariant: it is sent by the extended protocol only, which takes one command a
//! message, inside a transaction that is read-only unless its user allowed writes, and
//! that is always rolled back. So no text, whatever is in it, leaves anything behind.

use std::error::Error as StdError;

use bytes::BytesMut;
use postgres_types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{GenericClient, Row, SimpleQueryMessage};

use super::plan::Plan;
use crate::error::{Context, Error, Kind, Result};
use crate::sql;

/// One statement with its parameters' values.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Without a semicolon at its end.
    pub text: String,
    /// As many as it has, or none where no values are known.
    pub values: Vec<Value>,
    /// How many parameters it has.
    pub parameters: usize,
    /// INSERT, UPDATE, DELETE or MERGE, at the top or in a WITH; or it locks rows.
    pub writes: bool,
}

/// How a plan is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Run, with the time of every node.
    Timed,
    /// Run, without the cost of looking at the clock for every row.
    Run,
    /// Not run: what the planner expects.
    Estimated,
}

impl Statement {
    /// Reads a text that must hold one query.
    ///
    /// # Errors
    /// [`Kind::Config`] for more or less than one statement, for one that is no query,
    /// for too few values, and for one that writes where that was not allowed.
    pub fn read(text: &str, values: &[String], allow_writes: bool) -> Result<Self> {
        let mut found = sql::split(text);
        let only = found.pop().filter(|_| found.is_empty()).ok_or_else(|| {
            Error::new(Kind::Config, "one statement is wanted, no more and no less")
                .remedy("give one query; to explain several, run the command for each")
        })?;
        let words: Vec<String> = words(&only.text);
        let first = words.first().map_or("", String::as_str);
        if first == "explain" {
            return Err(Error::new(Kind::Config, "this is an EXPLAIN already")
                .remedy("give the query itself; a stored plan is read with --plan FILE"));
        }
        let query = [
            "select", "with", "values", "table", "insert", "update", "delete", "merge",
        ];
        if !query.contains(&first) {
            return Err(Error::new(
                Kind::Config,
                format!("{} is no query", only.command),
            )
            .remedy("explain takes SELECT, and with --allow-writes INSERT, UPDATE, DELETE and MERGE"));
        }
        let writes = writes(&words);
        if writes && !allow_writes {
            return Err(Error::new(Kind::Config, "this query writes or locks rows")
                .remedy("with --allow-writes it is run and rolled back; its locks are held meanwhile, and sequences and triggers' outside effects are not taken back"));
        }
        let parameters = parameters(&only.text);
        if !values.is_empty() && values.len() != parameters {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "the query has {parameters} parameters, {} values were given",
                    values.len()
                ),
            )
            .remedy("give one --param for each of $1, $2, … in this order"));
        }
        Ok(Self {
            text: only.text,
            values: values.iter().map(|v| Value(Some(v.clone()))).collect(),
            parameters,
            writes,
        })
    }

    /// The same query in other words, with the same values.
    #[must_use]
    pub fn rewritten(&self, text: String) -> Self {
        Self {
            text,
            ..self.clone()
        }
    }

    /// False where it has parameters and no values for them: then only a generic plan
    /// can be had.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.values.len() == self.parameters
    }

    /// Explains it in the current transaction.
    ///
    /// # Errors
    /// What the server says; 57014 when a run exceeds `statement_timeout`.
    pub async fn explain(&self, client: &impl GenericClient, mode: Mode) -> Result<Plan> {
        if !self.can_run() {
            return self.generic(client).await;
        }
        let options = match mode {
            Mode::Timed => "ANALYZE, BUFFERS, SETTINGS, VERBOSE, FORMAT JSON",
            Mode::Run => "ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON",
            Mode::Estimated => "SETTINGS, VERBOSE, FORMAT JSON",
        };
        let rows = client
            .query(
                &format!("EXPLAIN ({options}) {}", self.text),
                &self.arguments(),
            )
            .await
            .context("explaining the query")?;
        Plan::parse(&text(&rows)?)
    }

    /// The plan for any values: what a prepared statement ends with.
    async fn generic(&self, client: &impl GenericClient) -> Result<Plan> {
        let version: i32 = client
            .query_one("select current_setting('server_version_num')::int", &[])
            .await?
            .get(0);
        client
            .batch_execute("set local plan_cache_mode = force_generic_plan")
            .await?;
        // One message, one command: see the invariant above.
        let what = "preparing the query, whose parameters have no values";
        client
            .execute(&format!("PREPARE crossfade_generic AS {}", self.text), &[])
            .await
            .context(what)?;
        let text = if version >= 160_000 {
            // Parameters stay parameters here only where no protocol asks for their values.
            // PREPARE has just found one command in this text.
            let sql = format!(
                "EXPLAIN (GENERIC_PLAN, SETTINGS, VERBOSE, FORMAT JSON) {}",
                self.text
            );
            let messages = client.simple_query(&sql).await.context(what)?;
            messages
                .iter()
                .find_map(|m| match m {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
                .unwrap_or_default()
        } else {
            // Partitions would be left out by the NULLs that stand for the values.
            client
                .batch_execute("set local enable_partition_pruning = off")
                .await?;
            let nulls = vec!["NULL"; self.parameters].join(", ");
            let sql = format!(
                "EXPLAIN (SETTINGS, VERBOSE, FORMAT JSON) EXECUTE crossfade_generic({nulls})"
            );
            text(&client.query(&sql, &[]).await.context(what)?)?
        };
        client.batch_execute("deallocate crossfade_generic").await?;
        Plan::parse(&text)
    }

    /// Its values as arguments of a statement.
    #[must_use]
    pub fn arguments(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|v| v as _).collect()
    }
}

fn text(rows: &[Row]) -> Result<String> {
    let text: Json = rows
        .first()
        .ok_or_else(|| Error::new(Kind::Server, "EXPLAIN returned nothing"))?
        .try_get(0)?;
    Ok(text.0)
}

/// Keywords and names outside of strings, comments and double quotes.
fn words(text: &str) -> Vec<String> {
    sql::token::tokens(text)
        .iter()
        .filter(|t| t.kind == sql::token::Kind::Word)
        .map(|t| t.text(text).to_lowercase())
        .collect()
}

/// A guess on the safe side: `update` may be a column's name, but a query that writes is
/// never missed. The read-only transaction holds all the same.
fn writes(words: &[String]) -> bool {
    let changes = |w: &str| matches!(w, "insert" | "delete" | "merge");
    let first = words.first().map_or("", String::as_str);
    if changes(first) || first == "update" {
        return true;
    }
    let with = first == "with";
    words
        .windows(2)
        .any(|pair| match (pair[0].as_str(), pair[1].as_str()) {
            ("for", "update" | "share" | "no" | "key") => true,
            ("insert" | "merge", "into") | ("delete", "from") => with,
            ("as" | "materialized", "update") => with,
            ("select", "into") => true,
            _ => false,
        })
        || with && words.iter().any(|w| w == "update")
}

/// The highest number of a `$n`.
fn parameters(text: &str) -> usize {
    sql::token::tokens(text)
        .iter()
        .filter(|t| t.kind == sql::token::Kind::Parameter)
        .filter_map(|t| t.text(text).strip_prefix('$')?.parse().ok())
        .max()
        .unwrap_or(0)
}

/// A parameter's value as text; the server reads it as whatever type it inferred.
#[derive(Debug, Clone)]
pub struct Value(pub Option<String>);

impl ToSql for Value {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A column of type json, as its text.
struct Json(String);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::Statement;

    #[test]
    fn one_query_is_taken_and_nothing_else() {
        for text in [
            "",
            "select 1; select 2",
            "drop table t",
            "explain select 1",
            "vacuum t",
            "do $$ begin end $$",
        ] {
            let e = Statement::read(text, &[], true).unwrap_err();
            assert_eq!(e.exit_code(), 2, "{text}");
        }
        let one = Statement::read("-- why\nselect 'a;b' from t;\n", &[], false).unwrap();
        assert_eq!(one.text, "select 'a;b' from t");
    }

    #[test]
    fn what_writes_needs_a_word_of_its_own() {
        for text in [
            "delete from t",
            "with gone as (delete from t returning *) select * from gone",
            "with x as (update t set a = 1 returning a) select * from x",
            "select * from t for update",
            "select * from t for no key update",
            "select * into u from t",
        ] {
            let e = Statement::read(text, &[], false).unwrap_err();
            assert!(e.what_to_do().contains("--allow-writes"), "{text}");
            assert!(Statement::read(text, &[], true).unwrap().writes, "{text}");
        }
        for text in [
            "select 'delete from t'",
            "select \"update\" from t -- for update",
            "table t",
        ] {
            assert!(!Statement::read(text, &[], false).unwrap().writes, "{text}");
        }
    }

    #[test]
    fn parameters_are_counted_outside_of_strings() {
        let text = "select * from t where a = $2 and b = '$9' and c = $1";
        let generic = Statement::read(text, &[], false).unwrap();
        assert!(generic.parameters == 2 && !generic.can_run());
        let values = ["1".to_owned(), "x".to_owned()];
        assert!(Statement::read(text, &values, false).unwrap().can_run());
        assert!(Statement::read(text, &values[..1], false).is_err());
    }
}
