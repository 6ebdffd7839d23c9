//! The SQL for a range whose target rows may be wrong: compared whole, and where they
//! differ made what the module makes of the source.

use super::plan::{Plan, Target};
use super::sql::in_range;
use crate::pg::catalog::Column;
use crate::pg::quote;

/// Types whose values an explicit cast leaves as an assignment would: it rounds alike
/// and cuts nothing off. bool, bytea, integers, text, json, floats, date, time,
/// timestamps, interval, timetz, numeric, uuid, jsonb.
const CAST: &[u32] = &[
    16, 17, 20, 21, 23, 25, 114, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950, 3802,
];

impl Plan {
    /// Whether the row targets hold no row of a range, and whether they hold exactly the
    /// module's rows. Bounds from parameter 1 on. Equal is certain; different may be
    /// only in form, where a value had to be compared as it stands.
    #[must_use]
    pub fn compare_range(&self, shape: (bool, bool)) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        let (mut parts, mut none, mut same) = (vec![self.source_range(shape)], vec![], vec![]);
        for (i, t) in self.row_targets() {
            let made: Vec<_> = t.columns.iter().map(|c| comparable(t, c)).collect();
            parts.push(format!(
                "m{i} as (select {DIGEST} from (select row({})::text as r from ({}\n) q offset 0) x)",
                made.join(", "),
                t.select
            ));
            parts.push(format!(
                "t{i} as (select {DIGEST} from (select row({})::text as r from {} t where {} offset 0) x)",
                t.column_list("t."),
                t.table.name.sql(),
                in_range(&self.key_in(t), &columns, shape, 1)
            ));
            none.push(format!("(select n from t{i}) = 0"));
            same.push(format!("(select m from m{i} m) = (select t from t{i} t)"));
        }
        let all = |parts: Vec<String>| match parts.is_empty() {
            true => "true".to_owned(),
            false => parts.join(" and "),
        };
        format!(
            "with {}\nselect {}, {}",
            parts.join(",\n"),
            all(none),
            all(same)
        )
    }

    /// Makes the targets of a range what the module makes of it: rows that it no longer
    /// makes go, those of vanished source rows too. Bounds from parameter 1 on.
    #[must_use]
    pub fn merge_range(&self, shape: (bool, bool)) -> Vec<String> {
        let all: Vec<usize> = (0..self.targets.len()).collect();
        self.merge_bound(&self.source_range(shape), &self.touched_range(shape), &all)
    }

    /// `touched` as every key of a range that the source or a row target has.
    fn touched_range(&self, shape: (bool, bool)) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        let named = |keys: &[String]| -> String {
            let keys: Vec<_> = keys
                .iter()
                .zip(&columns)
                .enumerate()
                .map(|(i, (k, c))| format!("{} as k{i}", c.cast(k)))
                .collect();
            keys.join(", ")
        };
        let mut parts = vec![format!(
            "select {} from source o",
            named(&self.key_list("o."))
        )];
        for (_, t) in self.row_targets() {
            let keys = self.key_in(t);
            parts.push(format!(
                "select {} from {} t where {}",
                named(&keys),
                t.table.name.sql(),
                in_range(&keys, &columns, shape, 1)
            ));
        }
        format!("touched as materialized ({})", parts.join(" union "))
    }
}

/// Of the texts of a set of rows: their number and sums of two independent hashes.
/// `sum(bigint)` is numeric: no overflow.
const DIGEST: &str = "count(*) as n, coalesce(sum(hashtextextended(x.r, 0)), 0) as a, \
                      coalesce(sum(hashtextextended(x.r, 1)), 0) as b";

/// The module's value of a column as the target would print it. An explicit cast to
/// `varchar(3)` would cut off what an assignment refuses, and a row that is to be
/// refused must not look like the one that is there: other types are compared as they
/// stand.
fn comparable(t: &Target, name: &str) -> String {
    let column: &Column = t.column(name);
    let value = format!("q.{}", quote(name));
    if CAST.contains(&column.type_oid) {
        column.cast(&value)
    } else {
        value
    }
}
