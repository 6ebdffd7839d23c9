//! The SQL of verification: digests of the module's rows and of the target's own.
//!
//! A row's text is `row(…)::text`: each column by its type's output function, NULL
//! as nothing, the empty string as `""`, separators quoted. So two rows have one
//! text exactly if they print alike, and types without equality (json, xml, point)
//! are no exception. It was also the fastest of seven ways measured.
//!
//! The digest of a set of rows is its count and the sums of two 64-bit hashes of
//! the texts: sums, because XOR would cancel pairs of equal rows.

mod keys;
mod ranges;
mod reverse;

pub use reverse::pairs;

use std::collections::BTreeSet;

use crate::pg::catalog::Column;
use crate::pg::ident::literal;
use crate::pg::quote;
use crate::state::ChunkTable;
use crate::transform::sql::compare;
use crate::transform::{Plan, Target};

/// Builds the statements of one source.
pub struct Statements<'a> {
    plan: &'a Plan,
    chunks: &'a ChunkTable,
}

/// Which rows `source` and the targets are read for.
#[derive(Clone, Copy)]
enum Scope {
    Range((bool, bool)),
    /// Those of the relation `verify_keys`.
    Keys,
}

impl<'a> Statements<'a> {
    #[must_use]
    pub fn new(plan: &'a Plan, chunks: &'a ChunkTable) -> Self {
        Self { plan, chunks }
    }

    fn width(&self) -> usize {
        self.plan.key.len()
    }

    /// `k0, k1, …` behind a prefix.
    fn k(&self, prefix: &str) -> Vec<String> {
        (0..self.width()).map(|i| format!("{prefix}k{i}")).collect()
    }

    /// An expression as key column `i`. All integers as the widest: a target's key
    /// may be wider than the source's and hold what the source's cannot.
    fn key_cast(&self, i: usize, expression: &str) -> String {
        let column = &self.plan.source.columns[self.plan.key[i]];
        if is_integer(column) {
            format!("({expression})::bigint")
        } else {
            column.cast_whole(expression)
        }
    }

    fn source_keys(&self) -> Vec<String> {
        self.plan.key_list("s.")
    }

    /// The target's key columns so that they compare with the source's key; as they
    /// stand where the server can compare them, for the sake of their index.
    fn target_keys(&self, target: &Target, prefix: &str) -> Vec<String> {
        self.plan
            .key_columns()
            .zip(&target.key)
            .map(|(source, name)| {
                let raw = format!("{prefix}{}", quote(name));
                if alike(source, target.column(name)) {
                    raw
                } else {
                    source.cast_whole(&raw)
                }
            })
            .collect()
    }

    /// `left` within a range of this shape, bounds from parameter 1 on.
    fn in_range(&self, left: &[String], (lo, hi): (bool, bool)) -> String {
        let bound = |from: usize| -> Vec<String> {
            (0..self.width())
                .map(|i| self.key_cast(i, &format!("${}::text", from + i)))
                .collect()
        };
        let mut parts = Vec::new();
        if lo {
            parts.push(compare(left, ">", &bound(1)));
        }
        if hi {
            let first = if lo { 1 + self.width() } else { 1 };
            parts.push(compare(left, "<=", &bound(first)));
        }
        if parts.is_empty() {
            "true".to_owned()
        } else {
            parts.join(" and ")
        }
    }

    /// The keys in quarantine. `NOT IN` over it is a hashed subplan; keys are never
    /// NULL.
    fn set_aside(&self) -> String {
        let keys: Vec<_> = (0..self.width())
            .map(|i| {
                format!(
                    "{} as k{i}",
                    self.key_cast(i, &format!("(q.key)[{}]", i + 1))
                )
            })
            .collect();
        format!(
            "verify_set_aside as materialized (select {} from crossfade.quarantine q where q.source_id = {})",
            keys.join(", "),
            self.chunks.source_id
        )
    }

    /// Neither in quarantine nor NULL in part, which an open range would not exclude.
    fn comparable(&self, left: &[String]) -> String {
        let present: Vec<_> = left.iter().map(|k| format!("{k} is not null")).collect();
        format!(
            "({}) not in (select {} from verify_set_aside) and {}",
            left.join(", "),
            self.k("").join(", "),
            present.join(" and ")
        )
    }

    /// `verify_keys`: the keys in `text[]` parameters from 1 on, numbered from 1,
    /// without those in quarantine.
    fn keys(&self) -> String {
        let all = self.numbered_keys();
        format!(
            "verify_keys as materialized (select * from ({all}) s where {})",
            self.comparable(&self.k("s."))
        )
    }

    fn numbered_keys(&self) -> String {
        let casts: Vec<_> = (0..self.width())
            .map(|i| format!("{} as k{i}", self.key_cast(i, &format!("u.k{i}"))))
            .collect();
        let arrays: Vec<_> = (1..=self.width())
            .map(|n| format!("${n}::text[]"))
            .collect();
        format!(
            "select {}, u.n from unnest({}) with ordinality as u({}, n)",
            casts.join(", "),
            arrays.join(", "),
            self.k("").join(", ")
        )
    }

    /// `source` for a scope, without the keys in quarantine. Where there is a way back,
    /// also `verify_old`, which has the columns that it rebuilds too: they must not be
    /// in `source`, where a SELECT could find a name ambiguous.
    fn source(&self, scope: Scope) -> String {
        let used = self.plan.used.iter();
        let rebuilt = self.plan.reverse.iter().flat_map(|r| &r.columns);
        let all: BTreeSet<usize> = used.chain(rebuilt).copied().collect();
        let columns: Vec<_> = all
            .iter()
            .map(|&i| format!("s.{}", self.plan.source.columns[i].quoted()))
            .collect();
        let keys = self.source_keys();
        let (from, condition) = match scope {
            Scope::Range(shape) => (
                format!("{} s", self.plan.source.from_sql()),
                format!(
                    "{} and {}",
                    self.in_range(&keys, shape),
                    self.comparable(&keys)
                ),
            ),
            Scope::Keys => (
                format!(
                    "verify_keys k join {} s on true",
                    self.plan.source.from_sql()
                ),
                equal(&keys, &self.k("k.")),
            ),
        };
        let rows = format!(
            "materialized (select {} from {from} where {condition})",
            columns.join(", ")
        );
        if self.plan.reverse.is_none() {
            return format!("source as {rows}");
        }
        let used: Vec<_> = self.plan.used_columns().map(Column::quoted).collect();
        format!(
            "verify_old as {rows},\nsource as not materialized (select {} from verify_old)",
            used.join(", ")
        )
    }

    /// The module's rows for one target as the target would hold them: each column
    /// in the column's exact type.
    fn module_rows(&self, target: &Target) -> String {
        let columns: Vec<_> = target
            .columns
            .iter()
            .map(|c| {
                format!(
                    "{} as {}",
                    target.column(c).hold(&format!("q.{}", quote(c))),
                    quote(c)
                )
            })
            .collect();
        format!("select {} from ({}\n) q", columns.join(", "), target.select)
    }

    /// The target's own rows for a scope.
    fn target_rows(&self, target: &Target, scope: Scope) -> String {
        let keys = self.target_keys(target, "t.");
        match scope {
            Scope::Range(shape) => format!(
                "select {} from {} t where {} and {}",
                target.column_list("t."),
                target.table.name.sql(),
                self.in_range(&keys, shape),
                self.comparable(&keys)
            ),
            Scope::Keys => format!(
                "select {} from verify_keys k join {} t on {}",
                target.column_list("t."),
                target.table.name.sql(),
                self.carries_key(target)
            ),
        }
    }

    /// `t`'s key equals `k`'s. Neither side is cast where they compare as they stand:
    /// a cast to the other's type modifier could make different keys equal.
    fn carries_key(&self, target: &Target) -> String {
        equal(&self.target_keys(target, "t."), &self.k("k."))
    }

    /// Rows of a lookup target that the module makes of each row of `source`, one
    /// source row at a time: a looked-up row does not carry the source's key.
    fn per_source_row(&self, target: &Target) -> String {
        let columns: Vec<_> = self
            .plan
            .used_columns()
            .map(|c| format!("s.{}", c.quoted()))
            .collect();
        format!(
            "source s cross join lateral (with source as (select {}) {}) q",
            columns.join(", "),
            self.module_rows(target)
        )
    }

    /// Rows of a target grouped by key, with the digest of each group.
    fn by_key(&self, target: &Target, rows: &str) -> String {
        let keys = self.target_keys(target, "r.");
        let named: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(i, k)| format!("{k} as k{i}"))
            .collect();
        let names = self.k("").join(", ");
        format!(
            "select {names}, {DIGEST} from (select {}, row({})::text as r from ({rows}) r offset 0) x group by {names}",
            named.join(", "),
            target.column_list("r.")
        )
    }

    /// `LOCK TABLE` on everything that is read. It takes no snapshot, so that no
    /// rewrite and no TRUNCATE comes between snapshot and read.
    #[must_use]
    pub fn lock(&self) -> String {
        let mut tables = vec![self.plan.source.name.sql()];
        tables.extend(self.plan.targets.iter().map(|t| t.table.name.sql()));
        format!("lock table {} in access share mode", tables.join(", "))
    }
}

/// `sum(bigint)` is numeric, from a 128-bit state: no overflow.
const DIGEST: &str = "array[count(*)::text, coalesce(sum(hashtextextended(x.r, 0)), 0)::text, coalesce(sum(hashtextextended(x.r, 1)), 0)::text] as d";

fn equal(left: &[String], right: &[String]) -> String {
    let parts: Vec<_> = left
        .iter()
        .zip(right)
        .map(|(l, r)| format!("{l} = {r}"))
        .collect();
    parts.join(" and ")
}

/// The lookup has no row of this key.
fn lacks(target: &Target, prefix: &str) -> String {
    let same: Vec<_> = target
        .key
        .iter()
        .map(|k| format!("x.{0} = {prefix}{0}", quote(k)))
        .collect();
    format!(
        "not exists (select from {} x where {})",
        target.table.name.sql(),
        same.join(" and ")
    )
}

/// The arbiter's columns as a JSON object.
fn key_object(target: &Target, value: impl Fn(&str) -> String) -> String {
    let parts: Vec<_> = target
        .arbiter
        .iter()
        .map(|c| format!("{}, {}", literal(c), value(c)))
        .collect();
    format!("json_build_object({})", parts.join(", "))
}

fn is_integer(column: &Column) -> bool {
    matches!(column.type_oid, 20 | 21 | 23)
}

/// Whether the server compares the two as they stand, under one order.
fn alike(source: &Column, target: &Column) -> bool {
    let text = |c: &Column| matches!(c.type_oid, 25 | 1043);
    (is_integer(source) && is_integer(target))
        || (source.collation == target.collation
            && (source.type_oid == target.type_oid || text(source) && text(target)))
}
