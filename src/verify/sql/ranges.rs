//! Statements over ranges of the key space.

use super::{DIGEST, Scope, Statements, equal, key_object, lacks};
use crate::pg::quote;
use crate::transform::Target;
use crate::transform::sql::Range;

impl Statements<'_> {
    /// The digest of each pair of a range, for the module's rows and the target's
    /// own, each as `{count, sum, sum}`, behind the number of source rows. A lookup's
    /// count is that of the module's rows whose key the table lacks. Without
    /// `module` only what the tables hold, for ranges with rows that cannot be
    /// converted.
    #[must_use]
    pub fn range_digests(&self, range: &Range, module: bool) -> String {
        let scope = Scope::Range(range.shape());
        let mut parts = vec![self.set_aside(), self.source(scope)];
        let mut columns = vec!["(select count(*) from source)".to_owned()];
        for (i, t) in self.plan.targets.iter().enumerate() {
            let mut digest = |name: String, rows: Option<String>| {
                if let Some(rows) = rows {
                    parts.push(format!(
                        "{name} as (select {DIGEST} from ({rows} offset 0) x)"
                    ));
                    columns.push(format!("(select d from {name})"));
                } else {
                    columns.push("null::text[]".to_owned());
                }
            };
            let text = |rows: String| {
                format!(
                    "select row({})::text as r from ({rows}) r",
                    t.column_list("r.")
                )
            };
            if t.is_lookup() {
                let absent = format!("select ''::text as r {}", self.absent(t));
                digest(format!("verify_m{i}"), module.then_some(absent));
                digest(format!("verify_t{i}"), None);
            } else {
                let rows = text(self.module_rows(t));
                digest(format!("verify_m{i}"), module.then_some(rows));
                digest(
                    format!("verify_t{i}"),
                    Some(text(self.target_rows(t, scope))),
                );
            }
        }
        if let Some((n, reverse)) = self.reverse() {
            for (side, rows) in ["m", "t"].iter().zip(self.reverse_rows(reverse, scope)) {
                // It may be what cannot be converted.
                if !module {
                    columns.push("null::text[]".to_owned());
                    continue;
                }
                parts.push(format!(
                    "verify_{side}{n} as (select {DIGEST} from ({} offset 0) x)",
                    self.reverse_text(reverse, &rows)
                ));
                columns.push(format!("(select d from verify_{side}{n})"));
            }
        }
        format!("with {}\nselect {}", parts.join(",\n"), columns.join(", "))
    }

    /// The module's rows of a lookup whose key the table lacks.
    fn absent(&self, target: &Target) -> String {
        format!(
            "from ({}) q where {}",
            self.module_rows(target),
            lacks(target, "q.")
        )
    }

    /// Up to `limit` keys of a range, lowest first, whose digests differ in one of
    /// the targets `active`. Texts, one a key column; behind them whether the module has
    /// made a row with a key that no source row of the range has.
    #[must_use]
    pub fn suspects(&self, range: &Range, active: &[usize], limit: usize) -> String {
        let scope = Scope::Range(range.shape());
        let mut parts = vec![self.set_aside(), self.source(scope)];
        let mut sides = Vec::new();
        let mut strays = Vec::new();
        for &i in active {
            if let Some((n, reverse)) = self.reverse().filter(|(n, _)| *n == i) {
                let [old, rebuilt] = self.reverse_rows(reverse, scope);
                for (side, rows) in [("m", old), ("t", rebuilt)] {
                    parts.push(format!(
                        "verify_{side}{n} as ({})",
                        self.reverse_by_key(reverse, &rows)
                    ));
                }
                sides.push(self.unequal_keys(i));
                continue;
            }
            let t = &self.plan.targets[i];
            if t.is_lookup() {
                let keys: Vec<_> = self
                    .source_keys()
                    .iter()
                    .enumerate()
                    .map(|(i, k)| self.key_cast(i, k))
                    .collect();
                sides.push(format!(
                    "select {} from {} where {}",
                    keys.join(", "),
                    self.per_source_row(t),
                    lacks(t, "q.")
                ));
                continue;
            }
            parts.push(format!(
                "verify_m{i} as ({})",
                self.by_key(t, &self.module_rows(t))
            ));
            parts.push(format!(
                "verify_t{i} as ({})",
                self.by_key(t, &self.target_rows(t, scope))
            ));
            sides.push(self.unequal_keys(i));
            strays.push(format!(
                "exists (select from verify_m{i} m where ({}) not in (select {} from source s))",
                self.k("m.").join(", "),
                self.source_keys().join(", ")
            ));
        }
        self.page(&parts, &sides, &strays, limit)
    }

    /// Keys whose two digests differ, or of which one side has none.
    fn unequal_keys(&self, pair: usize) -> String {
        let keys: Vec<_> = (0..self.width())
            .map(|n| self.key_cast(n, &format!("coalesce(m.k{n}, t.k{n})")))
            .collect();
        format!(
            "select {} from verify_m{pair} m full join verify_t{pair} t on {} where m.d is distinct from t.d",
            keys.join(", "),
            equal(&self.k("m."), &self.k("t."))
        )
    }

    /// Up to `limit` keys of a range, lowest first, that the source or a target
    /// holds; the module is not asked.
    #[must_use]
    pub fn all_keys(&self, range: &Range, limit: usize) -> String {
        let shape = range.shape();
        let cast = |keys: &[String]| -> String {
            let casts: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(i, k)| self.key_cast(i, k))
                .collect();
            casts.join(", ")
        };
        let keys = self.source_keys();
        let mut sides = vec![format!(
            "select {} from {} s where {} and {}",
            cast(&keys),
            self.plan.source.from_sql(),
            self.in_range(&keys, shape),
            self.comparable(&keys)
        )];
        for (_, t) in self.plan.row_targets() {
            let keys = self.target_keys(t, "t.");
            sides.push(format!(
                "select {} from {} t where {} and {}",
                cast(&keys),
                t.table.name.sql(),
                self.in_range(&keys, shape),
                self.comparable(&keys)
            ));
        }
        self.page(&[self.set_aside()], &sides, &[], limit)
    }

    fn page(&self, parts: &[String], sides: &[String], strays: &[String], limit: usize) -> String {
        let stray = match strays {
            [] => "false".to_owned(),
            some => some.join(" or "),
        };
        let names = self.k("").join(", ");
        let texts: Vec<_> = self.k("").iter().map(|k| format!("{k}::text")).collect();
        format!(
            "with {},\nverify_found ({names}) as ({})\nselect {}, {stray} from verify_found order by {} limit {limit}",
            parts.join(",\n"),
            sides.join("\nunion\n"),
            texts.join(", "),
            self.k("verify_found.").join(", "),
        )
    }

    /// Rows of a row target that no range can hold: a NULL in their key. `(key, count)`.
    #[must_use]
    pub fn outside(&self, target: &Target, limit: usize) -> String {
        let nulls: Vec<_> = target
            .key
            .iter()
            .map(|k| format!("t.{} is null", quote(k)))
            .collect();
        format!(
            "select {}::text, count(*) over () from {} t where {} limit {limit}",
            key_object(target, |c| format!("t.{}", quote(c))),
            target.table.name.sql(),
            nulls.join(" or ")
        )
    }

    /// The key `rows` rows further up, as texts; none where fewer are left. The key
    /// to go on from is in the parameters, unless it is the first.
    #[must_use]
    pub fn next_bound(&self, above: bool, rows: u32) -> String {
        let keys = self.source_keys();
        let texts: Vec<_> = keys.iter().map(|k| format!("{k}::text")).collect();
        format!(
            "select {} from {} s where {} order by {} offset {} limit 1",
            texts.join(", "),
            self.plan.source.from_sql(),
            self.in_range(&keys, (above, false)),
            keys.join(", "),
            rows.max(1) - 1
        )
    }
}
