//! The pair of the way back: the source's own rows, and what the reverse rebuilds of
//! them out of the targets. Equal for every row means that the way back loses nothing.

use super::{DIGEST, Scope, Statements, equal};
use crate::pg::catalog::Column;
use crate::pg::ident::literal;
use crate::state::ChunkTable;
use crate::transform::{Plan, Reverse};

/// How many pairs of row sets are compared for a source: one a target, and one for
/// the way back.
#[must_use]
pub fn pairs(plan: &Plan) -> usize {
    plan.targets.len() + usize::from(plan.reverse.is_some())
}

impl Statements<'_> {
    /// The pair's position, behind those of the targets.
    pub(super) fn reverse(&self) -> Option<(usize, &Reverse)> {
        let reverse = self.plan.reverse.as_ref()?;
        Some((self.plan.targets.len(), reverse))
    }

    fn rebuilt_columns<'a>(&'a self, reverse: &'a Reverse) -> impl Iterator<Item = &'a Column> {
        reverse
            .columns
            .iter()
            .map(|&i| &self.plan.source.columns[i])
    }

    /// The source's rows of the scope, from the CTE that `source` is cut out of.
    fn old_rows(&self, reverse: &Reverse) -> String {
        format!(
            "select {} from verify_old o",
            reverse.column_list(self.plan, "o.")
        )
    }

    /// What the reverse rebuilds for the scope, in the source's exact types. Columns
    /// that move are rebuilt only for rows that the source has: others are none of
    /// its business, and the targets' own pairs tell of them.
    fn rebuilt_rows(&self, reverse: &Reverse, scope: Scope) -> String {
        let columns: Vec<_> = self
            .rebuilt_columns(reverse)
            .map(|c| format!("{} as {}", c.hold(&format!("b.{}", c.quoted())), c.quoted()))
            .collect();
        let keys = self.plan.key_list("b.");
        let view = ChunkTable::back_view(self.chunks.source_id);
        let there = if self.plan.module.moved.is_empty() {
            String::new()
        } else {
            format!(
                " and ({}) in (select {} from verify_old o)",
                keys.join(", "),
                self.plan.key_list("o.").join(", ")
            )
        };
        match scope {
            Scope::Range(shape) => format!(
                "select {} from {view} b where {} and {}{there}",
                columns.join(", "),
                self.in_range(&keys, shape),
                self.comparable(&keys)
            ),
            // LATERAL: each key's condition goes down into the SELECT.
            Scope::Keys => format!(
                "select {} from verify_keys k cross join lateral (select * from {view} b where {}) b where true{there}",
                columns.join(", "),
                equal(&keys, &self.k("k."))
            ),
        }
    }

    /// Both sides of a scope, the source's first.
    pub(super) fn reverse_rows(&self, reverse: &Reverse, scope: Scope) -> [String; 2] {
        [self.old_rows(reverse), self.rebuilt_rows(reverse, scope)]
    }

    /// `r` as the text of each row.
    pub(super) fn reverse_text(&self, reverse: &Reverse, rows: &str) -> String {
        format!(
            "select row({})::text as r from ({rows}) r",
            reverse.column_list(self.plan, "r.")
        )
    }

    /// Rows grouped by key, with the digest of each group.
    pub(super) fn reverse_by_key(&self, reverse: &Reverse, rows: &str) -> String {
        let names = self.k("").join(", ");
        format!(
            "select {names}, {DIGEST} from (select {}, row({})::text as r from ({rows}) r offset 0) x group by {names}",
            self.named_keys("r."),
            reverse.column_list(self.plan, "r.")
        )
    }

    fn named_keys(&self, prefix: &str) -> String {
        let keys = self.plan.key_list(prefix);
        let named: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(i, k)| format!("{} as k{i}", self.key_cast(i, k)))
            .collect();
        named.join(", ")
    }

    /// The differing rows of keys, as [`Statements::details`] wants them.
    pub(super) fn reverse_details(&self, reverse: &Reverse) -> (Vec<String>, String) {
        let [old, rebuilt] = self.reverse_rows(reverse, Scope::Keys);
        let part = |name: &str, rows: &str| {
            format!(
                "{name} as (select true as verify_here, {}, r.* from ({rows}) r)",
                self.named_keys("r.")
            )
        };
        let changed: Vec<_> = self
            .rebuilt_columns(reverse)
            .map(|c| {
                format!(
                    "case when row(m.{0})::text is distinct from row(t.{0})::text then {1} end",
                    c.quoted(),
                    literal(&c.name)
                )
            })
            .collect();
        let object: Vec<_> = self
            .plan
            .key_columns()
            .map(|c| {
                let both = format!("coalesce(m.{0}, t.{0})", c.quoted());
                format!("{}, {both}", literal(&c.name))
            })
            .collect();
        let keys: Vec<_> = (0..self.width())
            .map(|i| format!("coalesce(m.k{i}, t.k{i})"))
            .collect();
        let found = format!(
            "select k.n,
                    case when t.verify_here is null then 'missing'
                         when m.verify_here is null then 'extra' else 'changed' end as verify_kind,
                    json_build_object({object}) as verify_key,
                    case when t.verify_here and m.verify_here
                         then array_remove(array[{changed}]::text[], null)
                         else array[]::text[] end as verify_columns
             from verify_m m full join verify_t t on {on}
             join verify_keys k on {matches}
             where t.verify_here is null or m.verify_here is null
                or row({m_row})::text is distinct from row({t_row})::text",
            object = object.join(", "),
            changed = changed.join(", "),
            on = equal(&self.k("m."), &self.k("t.")),
            matches = equal(&keys, &self.k("k.")),
            m_row = reverse.column_list(self.plan, "m."),
            t_row = reverse.column_list(self.plan, "t."),
        );
        (
            vec![part("verify_m", &old), part("verify_t", &rebuilt)],
            found,
        )
    }
}
