//! The SQL of changes: what makes the targets of touched keys equal to what the
//! module makes of their rows.

use super::plan::{Plan, Target};
use super::sql::in_range;
use crate::pg::quote;

impl Plan {
    /// Makes the targets of touched keys what the module makes of the images: rows
    /// no longer produced go (children first), the others are upserted (parents
    /// first), rows that stay the same to the byte are not written.
    ///
    /// The images are those of the touched keys that still exist. A statement that gives
    /// a row has made a stray one: see [`Plan::strays`].
    #[must_use]
    pub fn merge(&self, active: &[usize]) -> Vec<String> {
        let (source, touched) = (self.source_images(), self.touched_keys());
        self.merge_ending(&source, &touched, active, |stage| self.strays(stage))
    }

    /// The same for any definitions of `source` and of `touched`, which has the keys as
    /// `k0, k1, …`. Its statements end in `select 1`.
    #[must_use]
    pub fn merge_bound(&self, source: &str, touched: &str, active: &[usize]) -> Vec<String> {
        self.merge_ending(source, touched, active, |_| "select 1".to_owned())
    }

    fn merge_ending(
        &self,
        source: &str,
        touched: &str,
        active: &[usize],
        end: impl Fn(&[usize]) -> String,
    ) -> Vec<String> {
        let stages = self.active_stages(active);
        if let [stage] = stages.as_slice() {
            let mut parts = vec![source.to_owned(), touched.to_owned()];
            parts.extend(stage.iter().map(|&i| self.new_rows(i)));
            parts.extend(stage.iter().rev().map(|&i| self.delete_vanished(i)));
            parts.extend(stage.iter().map(|&i| self.upsert(i)));
            return vec![format!("with {}\n{}", parts.join(",\n"), end(stage))];
        }
        // A later stage reads what an earlier one holds, so each stage is finished,
        // rows that vanish too, before the next is computed. Where one vanishes, the
        // later stages' rows of its key go with it and are written anew: they may
        // reference it.
        stages
            .iter()
            .enumerate()
            .map(|(n, stage)| {
                let mut parts = vec![source.to_owned(), touched.to_owned()];
                parts.extend(stage.iter().map(|&i| self.new_rows(i)));
                let later: Vec<usize> = stages[n + 1..].concat();
                if !later.is_empty() {
                    parts.push(self.losing_keys(stage));
                    parts.extend(later.iter().rev().map(|&i| self.delete_of("losing", i)));
                }
                parts.extend(stage.iter().rev().map(|&i| self.delete_vanished(i)));
                parts.extend(stage.iter().map(|&i| self.upsert(i)));
                format!("with {}\n{}", parts.join(",\n"), end(stage))
            })
            .collect()
    }

    /// A row if one of the new rows of these targets carries a key that was not touched: it
    /// would take the place of another source row's, whose own rows would go with the next
    /// change of that key. So a `source_key` that is not the source's key, or a SELECT that
    /// reads the table instead of `source`, comes to an end here.
    fn strays(&self, stage: &[usize]) -> String {
        let any: Vec<_> = stage
            .iter()
            .map(|&i| {
                let t = &self.targets[i];
                let held = |at: usize, value: &str| t.column(&t.key[at]).cast(value);
                let new: Vec<_> = (0..t.key.len())
                    .map(|n| held(n, &format!("n.{}", quote(&t.key[n]))))
                    .collect();
                let touched: Vec<_> = (0..t.key.len())
                    .map(|n| held(n, &format!("k.k{n}")))
                    .collect();
                format!(
                    "select from n{i} n where ({}) not in (select {} from touched k)",
                    new.join(", "),
                    touched.join(", ")
                )
            })
            .collect();
        format!("{} limit 1", any.join("\nunion all\n"))
    }

    /// Deletes every target row of the touched keys, children first.
    #[must_use]
    pub fn delete_touched(&self, active: &[usize]) -> String {
        self.delete_bound(&self.touched_keys(), active)
    }

    /// The same for any definition of `touched`.
    #[must_use]
    pub fn delete_bound(&self, touched: &str, active: &[usize]) -> String {
        let mut parts = vec![touched.to_owned()];
        for (i, _) in self.row_targets().filter(|(i, _)| active.contains(i)) {
            parts.insert(1, self.delete_of("touched", i));
        }
        format!("with {}\nselect 1", parts.join(",\n"))
    }

    /// Deletes the target rows of one key range (TRUNCATE of the source), children
    /// first. Bounds from parameter 1 on.
    #[must_use]
    pub fn delete_range(&self, shape: (bool, bool)) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        let parts: Vec<_> = self
            .row_targets()
            .map(|(i, t)| {
                let condition = in_range(&self.key_in(t), &columns, shape, 1);
                format!(
                    "d{i} as (delete from {} t where {condition})",
                    t.table.name.sql()
                )
            })
            .rev()
            .collect();
        format!("with {}\nselect 1", parts.join(",\n"))
    }

    fn new_rows(&self, i: usize) -> String {
        let t = &self.targets[i];
        format!(
            "n{i} as materialized (select {} from ({}\n) q)",
            t.column_list("q."),
            t.select
        )
    }

    /// Deletes a target's rows of the keys in relation `keys`.
    fn delete_of(&self, keys: &str, i: usize) -> String {
        let t = &self.targets[i];
        format!(
            "d{i} as (delete from {} t using {keys} k where {})",
            t.table.name.sql(),
            self.carries_key(t)
        )
    }

    fn delete_vanished(&self, i: usize) -> String {
        format!(
            "d{i} as (delete from {} t using touched k where {})",
            self.targets[i].table.name.sql(),
            self.vanished(i)
        )
    }

    /// The touched keys that lose a row in one of these targets.
    fn losing_keys(&self, stage: &[usize]) -> String {
        let any: Vec<_> = stage
            .iter()
            .map(|&i| {
                format!(
                    "exists(select from {} t where {})",
                    self.targets[i].table.name.sql(),
                    self.vanished(i)
                )
            })
            .collect();
        format!(
            "losing as materialized (select k.* from touched k where {})",
            any.join(" or ")
        )
    }

    /// Row `t` carries key `k` and is no longer produced. `NOT IN` over a hashed
    /// subplan: linear, whatever joins the session allows. Exact because binding
    /// refuses nullable arbiter columns.
    fn vanished(&self, i: usize) -> String {
        let t = &self.targets[i];
        let kept: Vec<_> = t
            .arbiter
            .iter()
            .map(|a| t.column(a).cast(&format!("n.{}", quote(a))))
            .collect();
        format!(
            "{} and ({}) not in (select {} from n{i} n)",
            self.carries_key(t),
            t.list(&t.arbiter, "t."),
            kept.join(", ")
        )
    }

    /// `t.source_key = touched key`, compared in the target's type so that its
    /// index serves.
    fn carries_key(&self, t: &Target) -> String {
        let parts: Vec<_> = t
            .key
            .iter()
            .enumerate()
            .map(|(i, k)| format!("t.{} = {}", quote(k), t.column(k).cast(&format!("k.k{i}"))))
            .collect();
        parts.join(" and ")
    }

    /// The source's key as target `t` carries it, comparable with the source's
    /// values: cast back only where its type is another one.
    pub(super) fn key_in(&self, t: &Target) -> Vec<String> {
        t.key
            .iter()
            .zip(self.key_columns())
            .map(|(k, c)| {
                let name = format!("t.{}", quote(k));
                if t.column(k).type_sql == c.type_sql {
                    name
                } else {
                    c.cast(&name)
                }
            })
            .collect()
    }

    fn upsert(&self, i: usize) -> String {
        let t = &self.targets[i];
        let set: Vec<_> = t
            .columns
            .iter()
            .filter(|c| !t.column(c).identity_always)
            .map(|c| format!("{0} = excluded.{0}", quote(c)))
            .collect();
        // `*<>` compares images: numeric 1.0 and 1.00 differ, json needs no
        // equality. The cast keeps ROW() from being compared column by column.
        let action = if set.is_empty() {
            "do nothing".to_owned()
        } else {
            format!(
                "do update set {} where row({})::record *<> row({})::record",
                set.join(", "),
                t.column_list("t."),
                t.column_list("excluded.")
            )
        };
        format!(
            "u{i} as (insert into {} as t ({}) overriding system value select {} from n{i} n on conflict ({}) {action})",
            t.table.name.sql(),
            t.column_list(""),
            t.column_list("n."),
            t.list(&t.arbiter, "")
        )
    }
}
