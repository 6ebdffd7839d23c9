//! The SQL of the way back: rows of the source rebuilt from the targets.

use super::{Reverse, Touch};
use crate::pg::quote;
use crate::transform::Plan;
use crate::transform::sql::{in_range, names};

impl Reverse {
    /// The SELECT as a relation, for use before its view exists.
    #[must_use]
    pub fn inline(&self) -> String {
        format!("({}\n)", self.select)
    }

    /// The rebuilt columns, each quoted behind `prefix`.
    #[must_use]
    pub fn column_list(&self, plan: &Plan, prefix: &str) -> String {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|&i| format!("{prefix}{}", plan.source.columns[i].quoted()))
            .collect();
        names.join(", ")
    }
}

impl Plan {
    /// `rebuilt` as what the reverse (`back`, a relation) gives for the keys of the
    /// relation `touched`. LATERAL, so that each key's condition goes down into the
    /// SELECT whatever it groups by.
    fn rebuilt(&self, reverse: &Reverse, back: &str) -> String {
        let on: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| format!("b.{} = k.k{i}", c.quoted()))
            .collect();
        format!(
            "rebuilt as materialized (select b.* from touched k cross join lateral
               (select {} from {back} b where {}) b)",
            reverse.column_list(self, "b."),
            on.join(" and ")
        )
    }

    fn touched_first(&self) -> String {
        format!("touched as materialized ({})", self.keys_relation(1))
    }

    /// `t.key = k.key` of the source, for relations `t` and `touched k`.
    fn source_carries_key(&self) -> String {
        let on: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(i, c)| format!("t.{} = k.k{i}", c.quoted()))
            .collect();
        on.join(" and ")
    }

    /// Makes the source's rows of touched keys (`text[]` parameters from 1 on) what
    /// the reverse makes of the targets' present rows: rows that are no longer rebuilt
    /// go, the others are upserted, rows that stay the same to the byte are not
    /// written. With `moved` columns only these are updated, of rows that are there.
    #[must_use]
    pub fn restore(&self, reverse: &Reverse, back: &str) -> String {
        let mut parts = vec![self.touched_first(), self.rebuilt(reverse, back)];
        if self.module.moved.is_empty() {
            // Mostly none. Looked for among the keys: beside the table's rows a plan
            // from when the server thought the table empty would compare each of
            // them with each key.
            parts.push(format!(
                "lost as materialized (select k.* from touched k where ({}) not in (select {} from rebuilt r))",
                names("k.k", self.key.len()),
                self.key_list("r.").join(", ")
            ));
            parts.push(format!(
                "gone as (delete from {} t using lost k where {})",
                self.source.from_sql(),
                self.source_carries_key()
            ));
        }
        parts.push(format!("kept as ({})", self.restore_rows(reverse)));
        format!("with {}\nselect 1", parts.join(",\n"))
    }

    /// The same for keys whose source rows [`Plan::unrestore`] has removed.
    #[must_use]
    pub fn restore_removed(&self, reverse: &Reverse, back: &str) -> String {
        format!(
            "with {},\n{},\nkept as ({})\nselect 1",
            self.touched_first(),
            self.rebuilt(reverse, back),
            self.restore_rows(reverse)
        )
    }

    /// Removes the source's rows of touched keys (parameters from 1 on), so that
    /// unique values can move between them in any order.
    #[must_use]
    pub fn unrestore(&self) -> String {
        format!(
            "with {} delete from {} t using touched k where {}",
            self.touched_first(),
            self.source.from_sql(),
            self.source_carries_key()
        )
    }

    fn restore_rows(&self, reverse: &Reverse) -> String {
        let others: Vec<_> = reverse
            .columns
            .iter()
            .filter(|i| !self.key.contains(i))
            .map(|&i| &self.source.columns[i])
            .collect();
        if !self.module.moved.is_empty() {
            // Assignment casts, as everywhere: what does not fit is an error and not cut.
            let set: Vec<_> = others
                .iter()
                .map(|c| format!("{0} = r.{0}", c.quoted()))
                .collect();
            let differs: Vec<_> = others
                .iter()
                .map(|c| {
                    format!(
                        "row(t.{0})::text is distinct from row({1})::text",
                        c.quoted(),
                        c.hold(&format!("r.{}", c.quoted()))
                    )
                })
                .collect();
            let on: Vec<_> = self
                .key_columns()
                .map(|c| format!("t.{0} = r.{0}", c.quoted()))
                .collect();
            return format!(
                "update {} t set {} from rebuilt r where {} and ({})",
                self.source.from_sql(),
                set.join(", "),
                on.join(" and "),
                differs.join(" or ")
            );
        }
        // The key too: equal to the server it can still be another text.
        let set: Vec<_> = reverse
            .columns
            .iter()
            .map(|&i| &self.source.columns[i])
            .filter(|c| !c.identity_always)
            .map(|c| format!("{0} = excluded.{0}", c.quoted()))
            .collect();
        let action = if set.is_empty() {
            "do nothing".to_owned()
        } else {
            // `*<>` compares images, as in the upsert of targets.
            format!(
                "do update set {} where row({})::record *<> row({})::record",
                set.join(", "),
                reverse.column_list(self, "t."),
                reverse.column_list(self, "excluded.")
            )
        };
        format!(
            "insert into {} as t ({}) overriding system value select {} from rebuilt r on conflict ({}) {action}",
            self.source.name.sql(),
            reverse.column_list(self, ""),
            reverse.column_list(self, "r."),
            self.key_list("").join(", ")
        )
    }

    /// Whether a row target holds rows of a key, whose texts are the parameters from 1 on
    /// and which need not fit the source's types.
    #[must_use]
    pub fn is_carried(&self) -> String {
        let any: Vec<_> = self
            .row_targets()
            .map(|(_, t)| {
                let on: Vec<_> = t
                    .key
                    .iter()
                    .enumerate()
                    .map(|(i, k)| {
                        let value = t.column(k).parse(&format!("${}::text", i + 1));
                        format!("t.{} = {value}", quote(k))
                    })
                    .collect();
                format!(
                    "exists(select from {} t where {})",
                    t.table.name.sql(),
                    on.join(" and ")
                )
            })
            .collect();
        format!("select {}", any.join(" or "))
    }

    /// The next keys of the source as texts, lowest first, above the key in parameters
    /// from 1 on if `above`.
    #[must_use]
    pub fn keys_above(&self, above: bool, limit: usize) -> String {
        let columns: Vec<_> = self.key_columns().collect();
        let texts: Vec<_> = self
            .key_columns()
            .map(|c| c.print(&format!("s.{}", c.quoted())))
            .collect();
        format!(
            "select {} from {} s where {} order by {} limit {limit}",
            texts.join(", "),
            self.source.from_sql(),
            in_range(&self.key_list("s."), &columns, (above, false), 1),
            self.key_list("s.").join(", ")
        )
    }

    /// The source keys, as texts and without repetition, that changes of a lookup
    /// touch: the lookup's identities in `text[]` parameters from 1 on.
    #[must_use]
    pub fn touched_by(&self, touch: &Touch) -> String {
        let target = &self.targets[touch.target];
        let casts: Vec<_> = target
            .key
            .iter()
            .enumerate()
            .map(|(i, k)| {
                format!(
                    "{} as {}",
                    target.column(k).parse(&format!("u.c{i}")),
                    quote(k)
                )
            })
            .collect();
        let arrays: Vec<_> = (1..=target.key.len())
            .map(|n| format!("${n}::text[]"))
            .collect();
        let names: Vec<_> = (0..target.key.len()).map(|i| format!("c{i}")).collect();
        let texts: Vec<_> = self
            .key_columns()
            .map(|c| format!("(q.{})::text", c.quoted()))
            .collect();
        format!(
            "with changed as materialized (select {} from unnest({}) as u({}))
             select distinct {} from ({}\n) q",
            casts.join(", "),
            arrays.join(", "),
            names.join(", "),
            texts.join(", "),
            touch.select
        )
    }
}
