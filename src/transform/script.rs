//! What a file of SQL statements begins its statements with, as far as needed to
//! keep transaction control out of a file that runs inside a transaction.

/// Statements that begin or end a transaction.
const CONTROL: &[&str] = &[
    "begin", "start", "commit", "end", "rollback", "abort", "prepare",
];

/// The first statement of `sql` that would begin or end a transaction (a rollback to
/// a savepoint does not).
#[must_use]
pub fn transaction_control(sql: &str) -> Option<String> {
    statements(sql).into_iter().find(|s| {
        let words: Vec<&str> = s.split_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        let to = words.contains(&"to");
        CONTROL.contains(&first)
            && !(first == "rollback" && to)
            && (first != "prepare" || words.get(1) == Some(&"transaction"))
    })
}

/// The statements in lower case, with strings, quoted names, dollar-quoted bodies and
/// comments left out.
fn statements(sql: &str) -> Vec<String> {
    let mut list = vec![String::new()];
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |i| i + 2),
            '\'' | '"' => rest[1..].find(c).map_or(rest.len(), |i| i + 2),
            '$' => dollar(rest),
            _ => 0,
        };
        if skipped > 0 {
            rest = &rest[skipped..];
            push(&mut list, ' ');
            continue;
        }
        if c == ';' {
            list.push(String::new());
        } else {
            c.to_lowercase().for_each(|c| push(&mut list, c));
        }
        rest = &rest[c.len_utf8()..];
    }
    list
}

fn push(list: &mut [String], c: char) {
    if let Some(last) = list.last_mut() {
        last.push(c);
    }
}

/// The length of a dollar-quoted string at the start of `text`, 0 where there is none.
fn dollar(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else {
        return 0;
    };
    let tag = &text[..end + 2];
    if !tag[1..=end]
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_')
    {
        return 0;
    }
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |i| i + 2 * tag.len())
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
        ] {
            assert!(transaction_control(sql).is_none(), "{sql}");
        }
    }
}
