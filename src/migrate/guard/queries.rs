//! What applications ask: `pg_stat_statements`, and what sessions run at this moment.

use tokio_postgres::Client;

use super::Loss;
use crate::error::{Error, Result};
use crate::sql::reference::{self, How, Reading};
use crate::sql::token::{self, Kind, Token};

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

/// Statements of schema changes and backups are history, not somebody's need; who locks a table
/// asks something else of it, too.
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
  and s.query ~* '^[\s(]*(/\*.*?\*/|--[^\n]*\n|[\s(])*(select|insert|update|delete|merge|with|prepare|declare|call|copy|table|values|truncate|do)\M'
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
        if self.is_history() || !loss.target.may_stand_in(&self.text) {
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

    /// pg_dump reads whatever columns there are, and a block that changes the schema has done so.
    fn is_history(&self) -> bool {
        let text = &self.text;
        let mut tokens = token::tokens(text);
        tokens.retain(|t| t.kind != Kind::Comment && !t.is(text, ';'));
        let Some(first) = tokens.first() else {
            return true;
        };
        if first.is_word(text, "copy") {
            return is_dump(text, &tokens);
        }
        let body = tokens.iter().find_map(|t| t.content(text));
        first.is_word(text, "do") && body.is_some_and(|body| changes_schema(&body))
    }
}

/// `COPY schema.table (columns) TO stdout` and nothing else: as pg_dump writes it. A job of
/// somebody's own names no schema, or a format, or a file.
fn is_dump(text: &str, tokens: &[Token]) -> bool {
    let qualified = tokens.len() > 4
        && tokens[1].identifier(text).is_some()
        && tokens[2].is(text, '.')
        && tokens[3].identifier(text).is_some();
    let end = tokens.len().saturating_sub(2);
    let to_client = tokens[end..].len() == 2
        && tokens[end].is_word(text, "to")
        && tokens[end + 1].is_word(text, "stdout");
    let between = tokens.get(4..end).unwrap_or_default();
    let listed = match between {
        [] => true,
        [open, .., close] => open.is(text, '(') && close.is(text, ')'),
        _ => false,
    };
    qualified && to_client && listed
}

fn changes_schema(body: &str) -> bool {
    token::tokens(body).iter().any(|t| {
        ["alter", "create", "drop"]
            .iter()
            .any(|w| t.is_word(body, w))
    })
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

    fn is_history(text: &str) -> bool {
        Query {
            id: 1,
            text: text.to_owned(),
            users: Vec::new(),
            calls: 1,
            since: None,
            last: None,
        }
        .is_history()
    }

    #[test]
    fn backups_and_changes_of_the_schema_are_history_and_jobs_are_not() {
        for text in [
            "COPY public.t (id, a) TO stdout",
            "COPY public.\"Q t\"  TO stdout;",
            "do $$ begin if not exists (select 1) then alter table t add column a int; end if; end $$",
        ] {
            assert!(is_history(text), "{text}");
        }
        for text in [
            "copy t (id, a) to stdout",
            "COPY public.t (id, a) TO STDOUT (format csv)",
            "copy public.t (id, a) from stdin",
            "copy public.t to '/tmp/t'",
            "copy (select a from public.t) to stdout",
            "do 'begin perform a from t; end'",
            "copy",
            "select 1",
        ] {
            assert!(!is_history(text), "{text}");
        }
    }

    #[test]
    fn a_query_is_shown_in_one_line_without_constants() {
        assert_eq!(
            shown("select a\n  from t -- all\n where b='secret' and c = 42"),
            "select a from t where b=? and c = ?"
        );
    }
}
