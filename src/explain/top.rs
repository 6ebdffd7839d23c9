//! The queries that take most of a server's time, out of `pg_stat_statements`.

use serde::Serialize;
use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::sql::token;

/// One statement of many runs.
#[derive(Debug, Clone, Serialize)]
pub struct Top {
    pub query: String,
    pub calls: i64,
    pub total_ms: f64,
    pub mean_ms: f64,
    /// Its part of the time of all statements of this database.
    pub part: f64,
}

/// Types that stand before a literal: `interval '1 day'`.
const TYPES: [&str; 16] = [
    "interval",
    "timestamp",
    "timestamptz",
    "date",
    "time",
    "timetz",
    "numeric",
    "uuid",
    "inet",
    "cidr",
    "json",
    "jsonb",
    "text",
    "bytea",
    "bool",
    "regclass",
];

/// A statement as it can be prepared: where a literal was written with its type before
/// it, `pg_stat_statements` leaves `interval $1`, which no server reads again.
#[must_use]
pub fn preparable(query: &str) -> String {
    let tokens = token::tokens(query);
    let mut out = String::with_capacity(query.len());
    let mut from = 0;
    for pair in tokens.windows(2) {
        let (name, parameter) = (&pair[0], &pair[1]);
        let word = name.text(query);
        if name.kind == token::Kind::Word
            && parameter.kind == token::Kind::Parameter
            && TYPES.contains(&word.to_lowercase().as_str())
        {
            out.push_str(&query[from..name.range.start]);
            out.push_str(parameter.text(query));
            out.push_str("::");
            out.push_str(word);
            from = parameter.range.end;
        }
    }
    out.push_str(&query[from..]);
    out
}

/// The statements of this database that took most time, at most `limit`.
///
/// # Errors
/// [`Kind::Precondition`] where the extension is not there; what the server says.
pub async fn read(client: &Client, limit: u32) -> Result<Vec<Top>> {
    let rows = client
        .query(
            "with own as (select query, sum(calls)::int8 as calls, sum(total_exec_time) as total \
                          from pg_stat_statements s join pg_database d on d.oid = s.dbid \
                          where d.datname = current_database() group by queryid, query) \
             select query, calls, total::float8, (total / greatest(calls, 1))::float8, \
                    (total / greatest(sum(total) over (), 0.001))::float8 \
             from own where query ~* '^\\s*(--[^\\n]*\\n\\s*)*\\(?\\s*(select|with|values|table)\\y' and query !~* 'pg_stat_statements|pg_catalog[.]set_config' \
             order by total desc limit $1",
            &[&i64::from(limit)],
        )
        .await
        .map_err(|e| {
            let e = Error::from(e);
            if e.is_sqlstate("42P01") || e.is_sqlstate("55000") {
                Error::new(Kind::Precondition, "pg_stat_statements is not there to be read")
                    .remedy("put it into shared_preload_libraries, restart, and CREATE EXTENSION pg_stat_statements in this database")
            } else {
                e.context("reading pg_stat_statements")
            }
        })?;
    Ok(rows
        .iter()
        .map(|row| Top {
            query: preparable(row.get(0)),
            calls: row.get(1),
            total_ms: row.get(2),
            mean_ms: row.get(3),
            part: row.get(4),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::preparable;

    #[test]
    fn a_type_before_a_parameter_becomes_a_cast() {
        assert_eq!(
            preparable(
                "select a from t where b > timestamptz $1 - INTERVAL $2 and c = $3 and date = $4"
            ),
            "select a from t where b > $1::timestamptz - $2::INTERVAL and c = $3 and date = $4"
        );
        for same in [
            "select 'date $1', \"date\" from t limit $1",
            "select date, $1",
            "",
        ] {
            assert_eq!(preparable(same), same);
        }
    }
}
