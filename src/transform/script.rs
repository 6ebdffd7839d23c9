//! What a file of SQL statements begins its statements with, as far as needed to
//! keep transaction control out of a file that runs inside a transaction.

use crate::sql::token::{Kind, tokens};
use crate::sql::{Statement, split};

/// Statements that begin or end a transaction.
const CONTROL: &[&str] = &[
    "begin", "start", "commit", "end", "rollback", "abort", "prepare",
];

/// The first statement of `sql` that would begin or end a transaction (a rollback to
/// a savepoint does not), as one line.
#[must_use]
pub fn transaction_control(sql: &str) -> Option<String> {
    let found = split(sql).into_iter().find(controls);
    found.map(|statement| statement.headline())
}

fn controls(statement: &Statement) -> bool {
    let text = &statement.text;
    let words: Vec<String> = tokens(text)
        .iter()
        .filter(|t| t.kind == Kind::Word)
        .map(|t| t.text(text).to_lowercase())
        .collect();
    let first = words.first().map_or("", String::as_str);
    let to = words.iter().any(|word| word == "to");
    CONTROL.contains(&first)
        && !(first == "rollback" && to)
        && (first != "prepare" || words.get(1).is_some_and(|word| word == "transaction"))
}

/// A SELECT without the semicolon that ends it, nor what comes after that: comments, if
/// anything. Everything before stays as it is, since it is what a migration is bound to.
#[must_use]
pub fn without_end(sql: &str) -> &str {
    let all = tokens(sql);
    let ends = |at: &usize| {
        let mut rest = all[*at..].iter();
        rest.all(|t| t.kind == Kind::Comment || t.is(sql, ';'))
    };
    let first = (0..all.len()).filter(|&at| all[at].is(sql, ';')).find(ends);
    first.map_or(sql.trim_end(), |at| &sql[..all[at].range.start])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_transaction_is_found_and_what_only_looks_like_it_is_not() {
        for sql in [
            "begin; alter table a rename to b; commit;",
            "alter table a rename to b;\n-- done\nCOMMIT",
            "/* x */ start transaction",
            "select ';' ; end",
            "prepare transaction 'x'",
            "rollback",
        ] {
            assert!(transaction_control(sql).is_some(), "{sql}");
        }
        for sql in [
            "alter table a rename to \"commit\"; select 'a; commit'",
            "do $$ begin perform 1; commit; end $$; create function f() returns int language sql as $x$ select 1; end $x$",
            "savepoint s; rollback to s; -- commit;\nselect 1",
            "prepare p as select 1",
            "create function f() returns int language sql begin atomic select 1; select 2; end",
            "/* a /* nested */ commit; */ select 1",
        ] {
            assert!(transaction_control(sql).is_none(), "{sql}");
        }
    }

    #[test]
    fn what_comes_after_a_select_is_left_out_and_nothing_else() {
        for (sql, left) in [
            ("select 1;\n", "select 1"),
            ("select 1 ; -- the end;\n;", "select 1 "),
            ("select 1 -- one\n;", "select 1 -- one\n"),
            (
                "select ';' /* ; */ from t -- x;\n",
                "select ';' /* ; */ from t -- x;",
            ),
            ("-- first\nselect 1", "-- first\nselect 1"),
            ("select 1; select 2", "select 1; select 2"),
            (" ; ", " "),
        ] {
            assert_eq!(without_end(sql), left, "{sql}");
        }
    }
}
