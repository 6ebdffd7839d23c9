//! What the application asks for, out of `pg_stat_statements`: which tables and columns
//! its statements name, and what they filter by. Statement texts are not kept.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::schema::{Database, Table};
use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};

/// The statements that were called most.
const MOST: i64 = 2_000;

/// Statements of this database, as far as they name its tables.
#[derive(Debug, Clone, Default)]
pub struct Statements {
    pub all: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub struct Statement {
    pub id: i64,
    pub calls: u64,
    pub total_milliseconds: f64,
    /// Rows that a call gives on average; those of an aggregate say nothing of what is read.
    pub mean_rows: Option<f64>,
    /// It changes rows.
    pub writes: bool,
    pub tables: Vec<Use>,
}

/// One table in one statement.
#[derive(Debug, Clone)]
pub struct Use {
    pub table: QualifiedName,
    /// Columns of the table that the statement names anywhere.
    pub columns: BTreeSet<String>,
    /// Columns compared for equality with a parameter.
    pub equal: BTreeSet<String>,
    /// Columns compared otherwise with a parameter.
    pub ranged: BTreeSet<String>,
    /// What only the first rows are taken by: the first column of ORDER BY with a LIMIT.
    pub first_by: Option<String>,
    /// There is a LIMIT.
    pub limited: bool,
}

impl Statements {
    /// Calls of statements that name the column, and how many of these only read.
    #[must_use]
    pub fn calls_naming(&self, table: &QualifiedName, column: &str) -> u64 {
        self.all
            .iter()
            .filter(|s| {
                s.tables
                    .iter()
                    .any(|u| &u.table == table && u.columns.contains(column))
            })
            .map(|s| s.calls)
            .sum()
    }
}

/// Reads the view; `None` where the extension is not there or the role may not see it.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, database: &Database) -> Result<Option<Statements>> {
    let schema = client
        .query_opt(
            "select n.nspname::text from pg_extension e
             join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'
               and pg_has_role(current_user, 'pg_read_all_stats', 'usage')",
            &[],
        )
        .await
        .context("looking for pg_stat_statements")?;
    let Some(schema) = schema else {
        return Ok(None);
    };
    let view = format!("{}.pg_stat_statements", quote(schema.get(0)));
    // Not preloaded, or not granted: an audit does without.
    let Ok(rows) = client
        .query(
            &format!(
                "select coalesce(queryid, 0), query, sum(calls)::int8, sum(total_exec_time)::float8,
                        sum(rows)::float8 / greatest(sum(calls), 1)::float8
                 from {view}
                 where dbid = (select oid from pg_database where datname = current_database())
                 group by 1, 2 order by 3 desc limit $1"
            ),
            &[&MOST],
        )
        .await
    else {
        return Ok(None);
    };
    let mut statements = Statements::default();
    for row in rows {
        let text: String = row.get(1);
        let tables = uses(&text, database);
        if tables.is_empty() {
            continue;
        }
        statements.all.push(Statement {
            id: row.get(0),
            calls: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            total_milliseconds: row.get(3),
            mean_rows: (!aggregates(&text)).then(|| row.get(4)),
            writes: !text.trim_start().to_lowercase().starts_with("select"),
            tables,
        });
    }
    Ok(Some(statements))
}

/// One row may stand for many.
fn aggregates(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "array_agg",
        "jsonb_agg",
        "json_agg",
        "string_agg",
        "group",
        "distinct",
        "bool_or",
        "bool_and",
        "exists",
    ];
    tokens(text)
        .iter()
        .any(|t| matches!(t, Token::Name(n) if WORDS.contains(&n.as_str())))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An identifier as the server reads it: folded, or unquoted.
    Name(String),
    Parameter,
    Symbol(String),
}

/// Splits SQL; literals and comments are left out, numbers count as parameters.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        let run = |from: usize, test: fn(char) -> bool| {
            (from..chars.len())
                .find(|j| !test(chars[*j]))
                .unwrap_or(chars.len())
        };
        if c.is_alphabetic() || c == '_' {
            let end = run(i, |c| c.is_alphanumeric() || c == '_' || c == '$');
            let name: String = chars[i..end].iter().collect();
            found.push(Token::Name(name.to_lowercase()));
            i = end;
        } else if c == '"' {
            let mut name = String::new();
            i += 1;
            while i < chars.len() {
                if chars[i] == '"' && chars.get(i + 1) == Some(&'"') {
                    i += 1;
                } else if chars[i] == '"' {
                    break;
                }
                name.push(chars[i]);
                i += 1;
            }
            i += 1;
            found.push(Token::Name(name));
        } else if c == '\'' {
            i = run(i + 1, |c| c != '\'') + 1;
            found.push(Token::Parameter);
        } else if c == '$' || c.is_ascii_digit() {
            i = run(i + 1, |c| c.is_alphanumeric() || c == '.');
            found.push(Token::Parameter);
        } else if c == '-' && chars.get(i + 1) == Some(&'-') {
            i = run(i, |c| c != '\n');
        } else if c == '/' && chars.get(i + 1) == Some(&'*') {
            let end = (i + 2..chars.len()).find(|j| chars[*j] == '/' && chars[*j - 1] == '*');
            i = end.map_or(chars.len(), |e| e + 1);
        } else if c.is_whitespace() {
            i += 1;
        } else if "<>=!~".contains(c) {
            let end = run(i, |c| "<>=!~".contains(c));
            found.push(Token::Symbol(chars[i..end].iter().collect()));
            i = end;
        } else {
            found.push(Token::Symbol(c.to_string()));
            i += 1;
        }
    }
    found
}

/// The tables of a statement, by alias, and what it does with their columns. It reads
/// words, not grammar: what it cannot place, it leaves out.
fn uses(text: &str, database: &Database) -> Vec<Use> {
    let tokens = tokens(text);
    let mut aliases: BTreeMap<String, usize> = BTreeMap::new();
    let mut found: Vec<(Use, &Table)> = Vec::new();
    let name = |i: usize| match tokens.get(i) {
        Some(Token::Name(n)) => Some(n.as_str()),
        _ => None,
    };
    let symbol = |i: usize, s: &str| matches!(tokens.get(i), Some(Token::Symbol(x)) if x == s);
    for i in 0..tokens.len() {
        let introduces = matches!(name(i), Some("from" | "join" | "update" | "into"))
            || symbol(i, ",") && !found.is_empty();
        if !introduces {
            continue;
        }
        let mut at = i + 1;
        if name(at) == Some("only") {
            at += 1;
        }
        let Some(first) = name(at) else { continue };
        let (schema, table, next) = match name(at + 2).filter(|_| symbol(at + 1, ".")) {
            Some(table) => (Some(first), table, at + 3),
            None => (None, first, at + 1),
        };
        let known = database
            .tables
            .iter()
            .find(|t| t.name.name == table && schema.is_none_or(|s| t.name.schema == s));
        let Some(known) = known else { continue };
        let alias = match name(next) {
            Some("as") => name(next + 1),
            Some(word) if !is_keyword(word) => Some(word),
            _ => None,
        };
        let place = found.len();
        aliases.insert(alias.unwrap_or(table).to_owned(), place);
        found.push((
            Use {
                table: known.name.clone(),
                columns: BTreeSet::new(),
                equal: BTreeSet::new(),
                ranged: BTreeSet::new(),
                first_by: None,
                limited: false,
            },
            known,
        ));
    }
    let limited = (0..tokens.len()).any(|i| {
        name(i) == Some("limit") || name(i) == Some("fetch") && name(i + 1) == Some("first")
    });
    found.iter_mut().for_each(|(u, _)| u.limited = limited);
    // Up to the comma: what comes after the first column sorts only what is equal in it.
    let mut sorting = false;
    for i in 0..tokens.len() {
        if symbol(i, ",") {
            sorting = false;
        }
        let Some(word) = name(i) else { continue };
        match word {
            "order" if name(i + 1) == Some("by") => sorting = true,
            "limit" | "offset" | "where" | "for" | "union" | "over" => sorting = false,
            _ => {}
        }
        if symbol(i + 1, ".") || symbol(i + 1, "(") {
            continue;
        }
        // `alias.column`, or a column that only one of the tables has.
        let place = if i >= 2 && symbol(i - 1, ".") {
            name(i - 2).and_then(|a| aliases.get(a).copied())
        } else {
            let mut owners = (0..found.len()).filter(|p| found[*p].1.column(word).is_some());
            owners.next().filter(|_| owners.next().is_none())
        };
        let Some(place) = place.filter(|p| found[*p].1.column(word).is_some()) else {
            continue;
        };
        let used = &mut found[place].0;
        used.columns.insert(word.to_owned());
        if sorting && limited && used.first_by.is_none() {
            used.first_by = Some(word.to_owned());
        }
        let plain = |i: usize| matches!(tokens.get(i), Some(Token::Parameter));
        // A moment that moves on is as good as a parameter; `date $1` and `lower($1)` are
        // some as well.
        let parameter = |i: usize| {
            let wrapped = plain(i + 1) || symbol(i + 1, "(") && plain(i + 2);
            plain(i)
                || name(i).is_some() && wrapped
                || matches!(name(i), Some("now" | "current_date" | "current_timestamp"))
        };
        let assigned = (0..i).rev().find_map(|j| match name(j) {
            Some("set") => Some(true),
            Some("where" | "on" | "and") => Some(false),
            _ => None,
        });
        if symbol(i + 1, "=")
            && (parameter(i + 2) || name(i + 2) == Some("any"))
            && assigned == Some(false)
            || name(i + 1) == Some("in") && symbol(i + 2, "(") && parameter(i + 3)
        {
            used.equal.insert(word.to_owned());
        } else if ["<", ">", "<=", ">="].iter().any(|s| symbol(i + 1, s)) && parameter(i + 2)
            || name(i + 1) == Some("between")
        {
            used.ranged.insert(word.to_owned());
        }
    }
    found.into_iter().map(|(u, _)| u).collect()
}

fn is_keyword(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "where",
        "join",
        "left",
        "right",
        "inner",
        "outer",
        "full",
        "cross",
        "on",
        "set",
        "values",
        "order",
        "group",
        "limit",
        "offset",
        "having",
        "union",
        "for",
        "using",
        "returning",
        "natural",
        "window",
        "fetch",
        "select",
        "default",
        "tablesample",
    ];
    WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::rule::testing;

    fn database() -> Database {
        testing::database(vec![
            testing::table(
                "orders",
                &[
                    "id int8",
                    "customer_id int8",
                    "status text",
                    "placed_at timestamptz",
                ],
            ),
            testing::table("items", &["id int8", "order_id int8", "sku text"]),
        ])
    }

    #[test]
    fn filters_are_found_by_alias_and_by_name() {
        let found = uses(
            "select o.id, sku from public.orders as o join items i on i.order_id = o.id \
             where o.customer_id = $1 and status in ($2, $3) and placed_at >= $4 -- status = 1",
            &database(),
        );
        let orders = &found[0];
        assert_eq!(orders.table.name, "orders");
        let equal: Vec<_> = orders.equal.iter().map(String::as_str).collect();
        assert_eq!(equal, ["customer_id", "status"]);
        assert_eq!(orders.ranged.iter().collect::<Vec<_>>(), ["placed_at"]);
        assert_eq!(orders.first_by, None);
        assert!(found[1].equal.is_empty());
        assert!(found[1].columns.contains("sku"));
    }

    #[test]
    fn only_the_first_rows_are_taken_in_an_order() {
        let of = |sql: &str| uses(sql, &database()).remove(0);
        let found = of("select id from orders order by placed_at desc, id limit $1");
        assert_eq!(found.first_by.as_deref(), Some("placed_at"));
        assert!(found.limited && found.ranged.is_empty());
        let found = of("select id from orders where placed_at > now() - $1 order by placed_at");
        assert_eq!((found.first_by, found.limited), (None, false));
        assert!(found.ranged.contains("placed_at"));
        let found = of("select id from orders where customer_id = abs($1) and placed_at < date $2");
        assert!(found.equal.contains("customer_id") && found.ranged.contains("placed_at"));
        assert!(
            of("select id from orders where placed_at > lower(status)")
                .ranged
                .is_empty()
        );
        assert!(aggregates("select count(*) from orders"));
        assert!(!aggregates("select id, account from orders"));
    }

    #[test]
    fn what_an_update_assigns_is_no_filter() {
        let found = uses("UPDATE orders SET status = $1 WHERE id = $2", &database());
        assert_eq!(found[0].equal.iter().collect::<Vec<_>>(), ["id"]);
    }

    #[test]
    fn strange_text_is_no_harm() {
        for text in [
            "",
            "'",
            "\"",
            "select 'from orders",
            "/* from orders",
            "from",
            "$",
            "from orders where .",
        ] {
            let _ = uses(text, &database());
        }
    }
}
