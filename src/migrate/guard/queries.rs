//! What applications ask: `pg_stat_statements`, and what sessions run at this moment.

use tokio_postgres::Client;

use super::Loss;
use crate::error::{Error, Result};
use crate::sql::reference::{self, How, Reading};
use crate::sql::token::{self, Kind};

/// A query that somebody has run.
#[derive(Debug)]
pub(super) struct Query {
    id: i64,
    text: String,
    users: Vec<String>,
    calls: i64,
    /// Since when calls are counted; as text.
    since: Option<String>,
    /// Seconds since a connected session has begun it last.
    last: Option<f64>,
}

/// Statements of schema changes and backups are history, not somebody's need.
const STATEMENTS: &str = r"
select s.queryid, min(s.query), array_agg(distinct coalesce(r.rolname, '?')::text), sum(s.calls)::bigint,
       to_char(coalesce(min((to_jsonb(s) ->> 'stats_since')::timestamptz),
                        (select stats_reset from EXTENSION.pg_stat_statements_info)) at time zone 'UTC',
               'YYYY-MM-DD HH24:MI'),
       (select extract(epoch from clock_timestamp() - max(a.query_start))::float8
        from pg_catalog.pg_stat_activity a
        where a.query_id = s.queryid and a.datname = current_database())
from EXTENSION.pg_stat_statements s
left join pg_catalog.pg_roles r on r.oid = s.userid
where s.dbid = (select oid from pg_catalog.pg_database where datname = current_database())
  and s.queryid is not null
  and s.query ~* '^[\s(]*(/\*.*?\*/|--[^\n]*\n|[\s(])*(select|insert|update|delete|merge|with|prepare|declare|call|copy|table|values)\M'
group by s.queryid
order by sum(s.calls) desc";

pub(super) async fn read(client: &Client, blind: &mut Vec<String>) -> Result<Vec<Query>> {
    let extension = client
        .query_opt(
            "select quote_ident(n.nspname) from pg_catalog.pg_extension e
             join pg_catalog.pg_namespace n on n.oid = e.extnamespace
             where e.extname = 'pg_stat_statements'",
            &[],
        )
        .await?;
    let Some(schema) = extension.map(|row| row.get::<_, String>(0)) else {
        blind.push(
            "pg_stat_statements is not installed in this database: what applications ask was not looked at".to_owned(),
        );
        return Ok(Vec::new());
    };
    let rows = match client
        .query(&STATEMENTS.replace("EXTENSION", &schema), &[])
        .await
    {
        Ok(rows) => rows,
        Err(e) => {
            let error = Error::from(e);
            // 55000: not in shared_preload_libraries; 42501: not permitted.
            if error.is_sqlstate("55000") || error.is_sqlstate("42501") {
                blind.push(format!(
                    "pg_stat_statements cannot be read ({}): what applications ask was not looked at",
                    error.message
                ));
                return Ok(Vec::new());
            }
            return Err(error);
        }
    };
    Ok(rows
        .iter()
        .map(|row| Query {
            id: row.get(0),
            text: row.get(1),
            users: row.get(2),
            calls: row.get(3),
            since: row.get(4),
            last: row.get(5),
        })
        .collect())
}

impl Query {
    pub(super) fn depends(&self, loss: &Loss, visible: &[String]) -> Option<(String, String)> {
        if self.is_backup() || !loss.target.may_stand_in(&self.text) {
            return None;
        }
        let reading = Reading {
            visible,
            trigger: false,
        };
        let mention = reference::mention(&self.text, &loss.target, reading)?;
        let positional = if mention.how == How::Positional {
            " by position"
        } else {
            ""
        };
        let users = self.users.join(", ");
        let since = self
            .since
            .as_ref()
            .map(|s| format!(" since {s}"))
            .unwrap_or_default();
        let last = match self.last {
            Some(seconds) => format!("; last seen {seconds:.0} s ago"),
            None => "; not the last query of any session that is connected now".to_owned(),
        };
        let times = if self.calls == 1 { "once" } else { "times" };
        let calls = if self.calls == 1 {
            times.to_owned()
        } else {
            format!("{} {times}", self.calls)
        };
        Some((
            format!("query:{}", self.id),
            format!(
                "uses it{positional}, run {calls} by {users}{since}{last}: {}",
                shown(&self.text)
            ),
        ))
    }

    /// pg_dump reads whatever columns there are.
    fn is_backup(&self) -> bool {
        let text = self.text.trim_start().to_lowercase();
        text.starts_with("copy") && !text.contains("from")
    }
}

/// The query in one line, constants left out: they may be somebody's data.
fn shown(query: &str) -> String {
    let mut words = String::new();
    let mut end = 0;
    for token in token::tokens(query) {
        if token.kind == Kind::Comment {
            continue;
        }
        if token.range.start > end && !words.is_empty() {
            words.push(' ');
        }
        words.push_str(match token.kind {
            Kind::String | Kind::Number => "?",
            _ => token.text(query),
        });
        end = token.range.end;
    }
    if words.chars().count() > 100 {
        let short: String = words.chars().take(99).collect();
        return format!("{short}…");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_shown_in_one_line_without_constants() {
        assert_eq!(
            shown("select a\n  from t -- all\n where b='secret' and c = 42"),
            "select a from t where b=? and c = ?"
        );
    }
}
