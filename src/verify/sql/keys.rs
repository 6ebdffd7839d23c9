//! Statements over single keys.

use super::{DIGEST, Scope, Statements, equal, key_object, lacks};
use crate::pg::ident::literal;
use crate::pg::quote;
use crate::transform::Target;
use crate::transform::sql::compare;

impl Statements<'_> {
    /// For each key (parameters from 1 on) and pair the digests of both sides:
    /// `(n, pair, module's, target's)`. Keys in quarantine give no rows.
    #[must_use]
    pub fn key_digests(&self) -> String {
        let mut parts = vec![self.set_aside(), self.keys(), self.source(Scope::Keys)];
        let mut sides = Vec::new();
        for (i, t) in self.plan.targets.iter().enumerate() {
            if t.is_lookup() {
                let keys: Vec<_> = self
                    .source_keys()
                    .iter()
                    .enumerate()
                    .map(|(i, k)| format!("{k} as k{i}"))
                    .collect();
                let names = self.k("").join(", ");
                parts.push(format!(
                    "verify_m{i} as (select {names}, {DIGEST} from (select {}, ''::text as r from {} where {}) x group by {names})",
                    keys.join(", "),
                    self.per_source_row(t),
                    lacks(t, "q.")
                ));
                sides.push(format!(
                    "select k.n, {i}, m.d, null::text[] from verify_keys k left join verify_m{i} m on {}",
                    equal(&self.k("m."), &self.k("k."))
                ));
                continue;
            }
            parts.push(format!(
                "verify_m{i} as ({})",
                self.by_key(t, &self.module_rows(t))
            ));
            parts.push(format!(
                "verify_t{i} as ({})",
                self.by_key(t, &self.target_rows(t, Scope::Keys))
            ));
            sides.push(self.both_digests(i));
        }
        if let Some((n, reverse)) = self.reverse() {
            let [old, rebuilt] = self.reverse_rows(reverse, Scope::Keys);
            for (side, rows) in [("m", old), ("t", rebuilt)] {
                parts.push(format!(
                    "verify_{side}{n} as ({})",
                    self.reverse_by_key(reverse, &rows)
                ));
            }
            sides.push(self.both_digests(n));
        }
        format!(
            "with {}\n{}",
            parts.join(",\n"),
            sides.join("\nunion all\n")
        )
    }

    fn both_digests(&self, pair: usize) -> String {
        format!(
            "select k.n, {pair}, m.d, t.d from verify_keys k left join verify_m{pair} m on {} left join verify_t{pair} t on {}",
            equal(&self.k("m."), &self.k("k.")),
            equal(&self.k("t."), &self.k("k.")),
        )
    }

    /// The change log's transaction for each key (parameters from 1 on): `(n, xid)`.
    #[must_use]
    pub fn logged(&self) -> String {
        format!(
            "select k.n, c.xid::text from ({}) k join {} c on {}",
            self.numbered_keys(),
            self.chunks.change_log(),
            equal(&self.k("c."), &self.k("k."))
        )
    }

    /// Up to `limit` keys of the change log that were applied from a position (`$1`)
    /// on, in key order, above the key in the parameters that follow if `above`.
    #[must_use]
    pub fn changed(&self, above: bool, limit: usize) -> String {
        let texts: Vec<_> = self.k("c.").iter().map(|k| format!("{k}::text")).collect();
        let next = if above {
            let bound: Vec<_> = (0..self.width())
                .map(|i| self.key_cast(i, &format!("${}::text", i + 2)))
                .collect();
            format!(" and {}", compare(&self.k("c."), ">", &bound))
        } else {
            String::new()
        };
        format!(
            "select {} from {} c where c.lsn >= $1{next} order by {} limit {limit}",
            texts.join(", "),
            self.chunks.change_log(),
            self.k("c.").join(", ")
        )
    }

    /// The differing rows of one pair for keys in parameters from 1 on:
    /// `(n, kind, key, columns, rows of this n)`. The first of every key come first.
    #[must_use]
    pub fn details(&self, pair: usize, limit: usize) -> String {
        let mut parts = vec![self.set_aside(), self.keys(), self.source(Scope::Keys)];
        let found = match self.reverse().filter(|(n, _)| *n == pair) {
            Some((_, reverse)) => {
                let (both, found) = self.reverse_details(reverse);
                parts.extend(both);
                found
            }
            None => self.target_details(&self.plan.targets[pair], &mut parts),
        };
        format!(
            "with {},\nverify_found as materialized ({found})
             select n, verify_kind, verify_key::text, verify_columns, total from (
               select f.*, count(*) over (partition by n) as total,
                      row_number() over (partition by n order by verify_kind, verify_key::text) as place
               from verify_found f) x
             order by place, n limit {limit}",
            parts.join(",\n")
        )
    }

    fn target_details(&self, t: &Target, parts: &mut Vec<String>) -> String {
        if t.is_lookup() {
            return format!(
                "select k.n, 'missing' as verify_kind, {} as verify_key, array[]::text[] as verify_columns from {} join verify_keys k on {} where {}",
                key_object(t, |c| format!("q.{}", quote(c))),
                self.per_source_row(t),
                equal(&self.source_keys(), &self.k("k.")),
                lacks(t, "q.")
            );
        }
        parts.push(format!(
            "verify_m as (select true as verify_here, m.* from ({}) m)",
            self.module_rows(t)
        ));
        parts.push(format!(
            "verify_t as (select true as verify_here, t.* from ({}) t)",
            self.target_rows(t, Scope::Keys)
        ));
        self.differing_rows(t)
    }

    /// Both sides of a row target joined by the arbiter, what differs.
    fn differing_rows(&self, t: &Target) -> String {
        let on: Vec<_> = t
            .arbiter
            .iter()
            .map(|c| format!("m.{0} = t.{0}", quote(c)))
            .collect();
        let changed: Vec<_> = t
            .columns
            .iter()
            .map(|c| {
                format!(
                    "case when row(m.{0})::text is distinct from row(t.{0})::text then {1} end",
                    quote(c),
                    literal(c)
                )
            })
            .collect();
        let both = |c: &str| format!("coalesce(m.{0}, t.{0})", quote(c));
        let carried: Vec<_> = t
            .key
            .iter()
            .map(|c| format!("{} as {}", both(c), quote(c)))
            .collect();
        format!(
            "select k.n, r.verify_kind, r.verify_key, r.verify_columns from (
               select {carried},
                      case when t.verify_here is null then 'missing'
                           when m.verify_here is null then 'extra' else 'changed' end as verify_kind,
                      {object} as verify_key,
                      case when t.verify_here and m.verify_here
                           then array_remove(array[{changed}]::text[], null)
                           else array[]::text[] end as verify_columns
               from verify_m m full join verify_t t on {on}
               where t.verify_here is null or m.verify_here is null
                  or row({m_row})::text is distinct from row({t_row})::text) r
             join verify_keys k on {matches}",
            carried = carried.join(", "),
            object = key_object(t, both),
            changed = changed.join(", "),
            on = on.join(" and "),
            m_row = t.column_list("m."),
            t_row = t.column_list("t."),
            matches = equal(&self.target_keys(t, "r."), &self.k("k.")),
        )
    }
}
