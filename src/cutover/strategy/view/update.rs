//! An UPDATE of the view's row, as changes of the targets.
//!
//! The new tables can hold more than the old row shows: fractions of a second, a text
//! longer than the old column, numbers of lines. So the new row is not simply written
//! out. What the module makes of the row before and after is compared, a target whose
//! rows are the same both times is left alone, and in the others a value that is the
//! same both times keeps what the table holds.
//!
//! That needs the table's rows to be those that the module makes of the row before, by
//! their keys. Where they are not (lines with a gap in their numbers), a target that
//! changes is written out as a whole.
//!
//! What goes has gone before anything comes, so that a line can take over what
//! another one had: the upsert asks for the number of rows deleted, and so waits.

use super::kept::alike;
use super::unique::Further;
use super::value;
use crate::pg::quote;
use crate::transform::Plan;
use crate::transform::plan::Target;

/// Where the row comes from and whose it is.
pub struct Row<'a> {
    /// Definitions of `source`, as the row was and as it is to be.
    pub before: &'a str,
    pub after: &'a str,
    /// The key's values, cast to the source's types.
    pub key: &'a [String],
}

/// A definition of `source` as one record.
pub fn source(plan: &Plan, record: &str) -> String {
    let values: Vec<_> = plan
        .used_columns()
        .map(|c| format!("{} as {}", value(c, record), c.quoted()))
        .collect();
    format!("source as materialized (select {})", values.join(", "))
}

/// One statement; only for plans whose targets do not read one another. `further` has
/// one entry a target.
#[must_use]
pub fn merge(plan: &Plan, row: &Row<'_>, further: &[Further]) -> String {
    let mut parts = vec![row.after.to_owned()];
    let targets: Vec<(usize, &Target)> = plan.row_targets().collect();
    for (i, t) in &targets {
        parts.push(made(*i, t, row.before));
        parts.push(compared(*i, t, row.key));
    }
    for (i, t) in targets.iter().rev() {
        parts.push(delete(*i, t, row.key, &further[*i]));
    }
    for (i, t) in &targets {
        parts.push(upsert(*i, t));
    }
    format!("with {}\nselect 1", parts.join(",\n"))
}

/// The target's rows of the key.
pub fn carried(t: &Target, key: &[String]) -> String {
    let parts: Vec<_> = t
        .key
        .iter()
        .zip(key)
        .map(|(k, v)| format!("t.{} = {}", quote(k), t.column(k).cast(v)))
        .collect();
    parts.join(" and ")
}

/// `a.c = b.c` for every column of the arbiter.
pub fn matched(t: &Target, a: &str, b: &str) -> String {
    let parts: Vec<_> = t
        .arbiter
        .iter()
        .map(|c| {
            let cast = |record: &str| t.column(c).cast(&format!("{record}.{}", quote(c)));
            format!("{} = {}", cast(a), cast(b))
        })
        .collect();
    parts.join(" and ")
}

/// What the module makes of the row after (`f`) and before (`o`).
fn made(i: usize, t: &Target, before: &str) -> String {
    let select = format!("select {} from ({}\n) q", t.column_list("q."), t.select);
    format!(
        "f{i} as materialized ({select}),
o{i} as materialized (with {before} {select})"
    )
}

/// Whether the target changes, whether its rows are those of before, and which values
/// of which row stay the same. `*=` compares images: not every type has an equality.
fn compared(i: usize, t: &Target, key: &[String]) -> String {
    let table = t.table.name.sql();
    let carried = carried(t, key);
    let same: Vec<_> = t
        .columns
        .iter()
        .enumerate()
        .map(|(n, c)| {
            format!(
                "row(f.{0})::record operator(pg_catalog.*=) row(o.{0})::record as same{n}",
                quote(c)
            )
        })
        .collect();
    format!(
        "s{i} as materialized (select
  (select count(*) from f{i}) <> (select count(*) from o{i})
    or exists (select from f{i} f where not exists (select from o{i} o
      where row({after})::record operator(pg_catalog.*=) row({before})::record)) as changed,
  (select count(*) from {table} t where {carried}) = (select count(*) from o{i})
    and not exists (select from {table} t where {carried} and not exists (select from o{i} o where {of_t})) as kept),
k{i} as materialized (select {keys}, {same} from f{i} f join o{i} o on {of_f}, s{i} s where s.kept)",
        after = t.column_list("f."),
        before = t.column_list("o."),
        of_t = matched(t, "t", "o"),
        of_f = matched(t, "f", "o"),
        keys = t.list(&t.arbiter, "f."),
        same = same.join(", "),
    )
}

/// Rows that are no longer made go, and those that others have to pass.
fn delete(i: usize, t: &Target, key: &[String], further: &Further) -> String {
    let mut goes = vec![format!(
        "not exists (select from f{i} f where {})",
        same_place(t)
    )];
    goes.extend(further.in_the_way(i, t));
    format!(
        "d{i} as (delete from {} t using s{i} s where s.changed and {} and ({}) returning 1)",
        t.table.name.sql(),
        carried(t, key),
        goes.join(" or ")
    )
}

/// Row `t` is where `f` will be. Of types in which equal values can be printed in more
/// than one way the upsert would keep the one that is there.
fn same_place(t: &Target) -> String {
    let mut parts = vec![matched(t, "t", "f")];
    for c in t.arbiter.iter().map(|c| t.column(c)) {
        if !c.text_is_identity {
            let new = c.cast(&format!("f.{}", c.quoted()));
            parts.push(alike(&format!("t.{}", c.quoted()), &new));
        }
    }
    parts.join(" and ")
}

fn upsert(i: usize, t: &Target) -> String {
    let set: Vec<_> = t
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| !t.arbiter.contains(c) && !t.column(c).identity_always)
        .map(|(n, c)| {
            format!(
                "{0} = case when (select k.same{n} from k{i} k where {1}) then t.{0} else excluded.{0} end",
                quote(c),
                matched(t, "k", "excluded")
            )
        })
        .collect();
    let same: Vec<_> = (0..t.columns.len()).map(|n| format!("k.same{n}")).collect();
    let action = if set.is_empty() {
        "do nothing".to_owned()
    } else {
        format!(
            "do update set {} where (select {} from k{i} k where {}) is not true",
            set.join(", "),
            same.join(" and "),
            matched(t, "k", "excluded")
        )
    };
    format!(
        "u{i} as (insert into {} as t ({}) overriding system value select {} from f{i} f, s{i} s where s.changed and (select count(*) from d{i}) >= 0 on conflict ({}) {action})",
        t.table.name.sql(),
        t.column_list(""),
        t.column_list("f."),
        t.list(&t.arbiter, "")
    )
}
