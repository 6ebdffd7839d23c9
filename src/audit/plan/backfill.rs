//! Filling a column in short transactions.

use super::super::schema::{Table, TableKind};
use super::name::{ident, list, table};
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

/// Rows a transaction.
const ROWS: u32 = 5000;
/// Pages a transaction, where there is no key.
const PAGES: u32 = 64;

/// `update … set … where …` over a whole table, a range of its key at a time.
pub struct Backfill<'a> {
    pub of: &'a Table,
    /// `a = f(b)`; names are the table's own columns.
    pub set: String,
    /// Rows that still need it: running it again goes on where it stopped.
    pub pending: String,
}

/// A batch along a key: the comment that asks for it, and what its statement says of the row
/// (`t.` or nothing before its columns).
#[must_use]
pub fn range(of: &QualifiedName, key: &[String], row: &str) -> (String, String) {
    let columns: Vec<_> = key.iter().map(|c| format!("{row}{}", ident(c))).collect();
    let numbers = |from: usize| -> Vec<String> {
        (from..from + key.len()).map(|n| format!("${n}")).collect()
    };
    let tuple = |parts: &[String]| match parts {
        [only] => only.clone(),
        several => format!("({})", several.join(", ")),
    };
    let by: Vec<_> = key.iter().map(|c| ident(c)).collect();
    (
        format!("-- batch: {} by {}, {ROWS} rows", table(of), tuple(&by)),
        format!(
            "{} between {} and {}",
            tuple(&columns),
            tuple(&numbers(1)),
            tuple(&numbers(1 + key.len()))
        ),
    )
}

impl Backfill<'_> {
    /// A statement for a file without a transaction. Without a key a partitioned table has
    /// nothing to go along, and it is one statement for all rows.
    #[must_use]
    pub fn sql(&self) -> String {
        let own = table(&self.of.name);
        let keys = || self.of.keys().filter(|k| k.not_null);
        if let Some(key) = keys().find(|k| k.columns.len() == 1) {
            let column = list(&key.columns);
            return format!(
                "-- batch: {own} by {column}, {ROWS} rows\nupdate {own}\nset {}\nwhere {column} between $1 and $2\n  and ({})",
                self.set, self.pending
            );
        }
        match keys().next() {
            Some(key) => self.walk(&key.columns),
            None if self.of.kind == TableKind::Plain => self.by_pages(),
            None => format!("update {own}\nset {}\nwhere {}", self.set, self.pending),
        }
    }

    /// Without a key the pages are walked: a row that is written again goes to another page as
    /// one that needs nothing any more.
    fn by_pages(&self) -> String {
        let own = table(&self.of.name);
        format!(
            "do $backfill$\ndeclare\n    page bigint := 0;\n    \
             pages bigint := pg_relation_size({}) / current_setting('block_size')::bigint;\n\
             begin\n    while page <= pages loop\n        \
             update {own}\n        set {}\n        \
             where ctid >= format('(%s,0)', page)::tid and ctid < format('(%s,0)', page + {PAGES})::tid\n          \
             and ({});\n        \
             commit;\n        page := page + {PAGES};\n    end loop;\nend\n$backfill$",
            literal(&own),
            self.set,
            self.pending,
        )
    }

    /// A batch goes along one column; a key of several is walked by the server. A block that
    /// commits: not inside of a transaction.
    #[must_use]
    pub fn walk(&self, key: &[String]) -> String {
        let own = table(&self.of.name);
        let columns = list(key);
        let variables = |prefix: &str| {
            let names: Vec<_> = (1..=key.len()).map(|n| format!("{prefix}{n}")).collect();
            names.join(", ")
        };
        let declared: Vec<_> = key
            .iter()
            .enumerate()
            .flat_map(|(n, c)| {
                ["after", "upto"]
                    .map(|prefix| format!("    {prefix}{} {own}.{}%type;", n + 1, ident(c)))
            })
            .collect();
        let descending: Vec<_> = key.iter().map(|c| format!("{} desc", ident(c))).collect();
        let (after, upto) = (variables("after"), variables("upto"));
        format!(
            "do $backfill$\ndeclare\n{declared}\nbegin\n    loop\n        \
             select {columns} into {upto} from (\n            \
             select {columns} from {own}\n            \
             where after1 is null or ({columns}) > ({after})\n            \
             order by {columns} limit {ROWS}\n        \
             ) batch order by {order} limit 1;\n        \
             exit when not found;\n        \
             update {own}\n        set {set}\n        \
             where (after1 is null or ({columns}) > ({after}))\n          \
             and ({columns}) <= ({upto})\n          and ({pending});\n        \
             commit;\n        \
             select {upto} into {after};\n    end loop;\nend\n$backfill$",
            declared = declared.join("\n"),
            order = descending.join(", "),
            set = self.set,
            pending = self.pending,
        )
    }
}
