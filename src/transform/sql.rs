//! The SQL of a plan: one definition of the rows, bound to different relations
//! named `source` (the binding) and used in different ways.
//!
//! Parameters are always `text[]` or `text` and cast in the statement, so that a
//! value keeps the form in which the server printed it.

use super::plan::{Plan, Target};
use crate::pg::catalog::Column;
use crate::pg::quote;

/// A range of the key space, `(lo, hi]`; a side that is open has no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// One text per key column.
    pub lo: Option<Vec<String>>,
    pub hi: Option<Vec<String>>,
}

impl Range {
    /// The bounds as parameters: those of `lo`, then those of `hi`.
    #[must_use]
    pub fn parameters(&self) -> Vec<&str> {
        self.lo
            .iter()
            .chain(&self.hi)
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// Which sides are bounded: the shape a statement is prepared for.
    #[must_use]
    pub fn shape(&self) -> (bool, bool) {
        (self.lo.is_some(), self.hi.is_some())
    }
}

/// `(a, b) op (x, y)`, or `a op x` for one column, which every index can serve.
#[must_use]
pub fn compare(left: &[String], op: &str, right: &[String]) -> String {
    match (left, right) {
        ([l], [r]) => format!("{l} {op} {r}"),
        _ => format!("({}) {op} ({})", left.join(", "), right.join(", ")),
    }
}

/// The condition that columns `left` lie in a range of the given shape, its bounds
/// being parameters from number `first` on, cast to the types of `columns`.
/// `true` for the range that is open at both ends.
#[must_use]
pub fn in_range(left: &[String], columns: &[&Column], shape: (bool, bool), first: usize) -> String {
    let bound = |from: usize| -> Vec<String> {
        columns
            .iter()
            .enumerate()
            .map(|(i, c)| c.parse(&format!("${}::text", from + i)))
            .collect()
    };
    let mut parts = Vec::new();
    let mut next = first;
    if shape.0 {
        parts.push(compare(left, ">", &bound(next)));
        next += columns.len();
    }
    if shape.1 {
        parts.push(compare(left, "<=", &bound(next)));
    }
    if parts.is_empty() {
        "true".to_owned()
    } else {
        parts.join(" and ")
    }
}

impl Plan {
    fn used_list(&self, prefix: &str) -> String {
        let names: Vec<_> = self
            .used_columns()
            .map(|c| format!("{prefix}{}", c.quoted()))
            .collect();
        names.join(", ")
    }

    /// The key columns as `prefix."name"`.
    #[must_use]
    pub fn key_list(&self, prefix: &str) -> Vec<String> {
        self.key_columns()
            .map(|c| format!("{prefix}{}", c.quoted()))
            .collect()
    }

    /// `source` as the table's rows of one key range; bounds from parameter 1 on.
    #[must_use]
    pub fn source_range(&self, shape: (bool, bool)) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        format!(
            "source as materialized (select {} from {} s where {})",
            self.used_list("s."),
            self.source.from_sql(),
            in_range(&self.key_list("s."), &columns, shape, 1)
        )
    }

    /// `source` as the table's row of one key, whose texts are the parameters from 1 on.
    #[must_use]
    pub fn source_row(&self) -> String {
        let key: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| c.parse(&format!("${}::text", i + 1)))
            .collect();
        format!(
            "source as materialized (select {} from {} s where {})",
            self.used_list("s."),
            self.source.from_sql(),
            compare(&self.key_list("s."), "=", &key)
        )
    }

    /// `source` as the row images in parameters `1..=used`, one `text[]` a column.
    #[must_use]
    pub fn source_images(&self) -> String {
        let casts: Vec<_> = self
            .used_columns()
            .enumerate()
            .map(|(i, c)| format!("{} as {}", c.parse(&format!("u.c{i}")), c.quoted()))
            .collect();
        format!(
            "source as materialized (select {} from unnest({}) as u({}))",
            casts.join(", "),
            array_parameters(1, self.used.len()),
            names("c", self.used.len())
        )
    }

    /// `touched` as the keys in the parameters after the images'.
    #[must_use]
    pub fn touched_keys(&self) -> String {
        format!(
            "touched as materialized ({})",
            self.keys_relation(self.used.len() + 1)
        )
    }

    /// A SELECT of typed keys `k0, k1, …` and their ordinal `n` out of `text[]`
    /// parameters from number `first` on.
    #[must_use]
    pub fn keys_relation(&self, first: usize) -> String {
        let count = self.key.len();
        let casts: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| format!("{} as k{i}", c.parse(&format!("u.k{i}"))))
            .collect();
        format!(
            "select {}, u.n from unnest({}) with ordinality as u({}, n)",
            casts.join(", "),
            array_parameters(first, count),
            names("k", count)
        )
    }

    /// Writes the rows of a copied range; also the inserts of [`Plan::replace`].
    /// One statement a stage; `binding` is a definition of `source`. The last
    /// statement ends in `finish`, which may count `source`.
    #[must_use]
    pub fn insert(&self, binding: &str, active: &[usize], finish: &str) -> Vec<String> {
        let stages = self.active_stages(active);
        let last = stages.len().saturating_sub(1);
        stages
            .iter()
            .enumerate()
            .map(|(n, stage)| {
                let writes: Vec<_> = stage
                    .iter()
                    .map(|&i| {
                        let t = &self.targets[i];
                        format!(
                            "w{i} as ({} select {} from ({}\n) q)",
                            t.insert_into(),
                            t.column_list("q."),
                            t.select
                        )
                    })
                    .collect();
                let end = if n == last { finish } else { "select 1" };
                format!("with {binding},\n{}\n{end}", writes.join(",\n"))
            })
            .collect()
    }

    /// Inserts the looked-up rows that are absent, in key order: two sessions that
    /// insert the same ones then meet in the same order and cannot deadlock.
    #[must_use]
    pub fn insert_lookups(&self, binding: &str, active: &[usize]) -> Vec<String> {
        self.targets
            .iter()
            .enumerate()
            .filter(|(i, t)| t.is_lookup() && active.contains(i))
            .map(|(_, t)| {
                let key = t.list(&t.key, "q.");
                format!(
                    "with {binding}\n{} select distinct on ({key}) {} from ({}\n) q order by {key} on conflict ({}) do nothing",
                    t.insert_into(),
                    t.column_list("q."),
                    t.select,
                    t.list(&t.key, "")
                )
            })
            .collect()
    }

    /// Reads the used columns as text behind the key's ordinal, for keys in `text[]`
    /// parameters from 1 on. Keys without a row give none.
    #[must_use]
    pub fn read_keys(&self) -> String {
        let on: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| format!("s.{} = k.k{i}", c.quoted()))
            .collect();
        format!(
            "with k as materialized ({})\nselect k.n, {} from k join {} s on {}",
            self.keys_relation(1),
            self.used_as_text(),
            self.source.from_sql(),
            on.join(" and ")
        )
    }

    /// Reads the used columns as text for one key range.
    #[must_use]
    pub fn read_range(&self, shape: (bool, bool)) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        format!(
            "select {} from {} s where {}",
            self.used_as_text(),
            self.source.from_sql(),
            in_range(&self.key_list("s."), &columns, shape, 1)
        )
    }

    /// Groups equal keys (`text[]` parameters from 1 on): for each ordinal the lowest
    /// ordinal of an equal key. For keys whose equality is not that of their texts.
    #[must_use]
    pub fn group_keys(&self) -> String {
        let k: Vec<_> = (0..self.key.len()).map(|i| format!("k.k{i}")).collect();
        format!(
            "select k.n, min(k.n) over (partition by {}) from ({}) k",
            k.join(", "),
            self.keys_relation(1)
        )
    }

    /// Logs every key of a range that has rows in a target as changed: bounds from
    /// parameter 1 on, then one transaction id and one position. One statement a
    /// row target.
    #[must_use]
    pub fn log_range(&self, log: &str, shape: (bool, bool)) -> Vec<String> {
        let columns: Vec<_> = self.key_columns().collect();
        let bounds = usize::from(shape.0) + usize::from(shape.1);
        let next = bounds * self.key.len() + 1;
        let keys = names("k", self.key.len());
        self.row_targets()
            .map(|(_, t)| {
                let left = self.key_in(t);
                let typed: Vec<_> = left.iter().zip(&columns).map(|(l, c)| c.cast(l)).collect();
                format!(
                    "insert into {log} as c ({keys}, xid, lsn)
                     select distinct {}, ${next}::text::xid8, ${}::text::pg_lsn from {} t where {}
                     on conflict ({keys}) do update set xid = excluded.xid, lsn = excluded.lsn",
                    typed.join(", "),
                    next + 1,
                    t.table.name.sql(),
                    in_range(&left, &columns, shape, 1)
                )
            })
            .collect()
    }

    /// Upserts into the change log: keys in parameters from 1 on, then the arrays of
    /// transaction ids and of positions.
    #[must_use]
    pub fn log_changes(&self, log: &str) -> String {
        let count = self.key.len();
        let casts: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| c.parse(&format!("u.k{i}")))
            .collect();
        format!(
            "insert into {log} as c ({keys}, xid, lsn)
             select {casts}, u.x::xid8, u.l::pg_lsn from unnest({arrays}) as u({keys}, x, l)
             on conflict ({keys}) do update set xid = excluded.xid, lsn = excluded.lsn",
            keys = names("k", count),
            casts = casts.join(", "),
            arrays = array_parameters(1, count + 2),
        )
    }

    fn used_as_text(&self) -> String {
        let texts: Vec<_> = self
            .used_columns()
            .map(|c| c.print(&format!("s.{}", c.quoted())))
            .collect();
        texts.join(", ")
    }

    /// The row stages with only the active targets left in them.
    pub(super) fn active_stages(&self, active: &[usize]) -> Vec<Vec<usize>> {
        let mut stages = self.stages();
        for stage in &mut stages {
            stage.retain(|i| active.contains(i));
        }
        stages.retain(|s| !s.is_empty());
        stages
    }
}

impl Target {
    /// `insert into "s"."t" ("a", "b") overriding system value`: the clause lets
    /// identity columns be copied and is void elsewhere.
    #[must_use]
    pub fn insert_into(&self) -> String {
        format!(
            "insert into {} ({}) overriding system value",
            self.table.name.sql(),
            self.column_list("")
        )
    }

    /// The output columns, each quoted behind `prefix`.
    #[must_use]
    pub fn column_list(&self, prefix: &str) -> String {
        self.list(&self.columns, prefix)
    }

    /// Any column names, each quoted behind `prefix`.
    #[must_use]
    pub fn list(&self, columns: &[String], prefix: &str) -> String {
        let parts: Vec<_> = columns
            .iter()
            .map(|c| format!("{prefix}{}", quote(c)))
            .collect();
        parts.join(", ")
    }
}

fn array_parameters(first: usize, count: usize) -> String {
    let parts: Vec<_> = (first..first + count)
        .map(|n| format!("${n}::text[]"))
        .collect();
    parts.join(", ")
}

pub(super) fn names(stem: &str, count: usize) -> String {
    let parts: Vec<_> = (0..count).map(|n| format!("{stem}{n}")).collect();
    parts.join(", ")
}
