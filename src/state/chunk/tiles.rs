//! Lays the tiles of a key space: the first two, then chunks of some rows each.

use tokio_postgres::{Client, Transaction};

use super::ChunkTable;
use crate::error::Result;
use crate::transform::Plan;
use crate::transform::sql::compare;

impl ChunkTable {
    /// Lays the first tiles: what lies above the highest key counts as copied by
    /// this transaction's snapshot (it holds no rows), so that new rows reach the
    /// targets from the first second; the rest is unplanned.
    ///
    /// `tx` must be REPEATABLE READ, must have begun after the slot was created and
    /// the start gate was passed, and must have locked the source before its
    /// snapshot, so that no rewrite or TRUNCATE comes between snapshot and read.
    ///
    /// # Errors
    /// Connection errors, lock timeout.
    pub async fn seed(&self, tx: &Transaction<'_>, plan: &Plan) -> Result<()> {
        tx.batch_execute(&format!(
            "lock table {} in access share mode",
            plan.source.name.sql()
        ))
        .await?;
        let keys = plan.key_list("s.");
        let down: Vec<_> = keys.iter().map(|k| format!("{k} desc")).collect();
        let top: Vec<_> = (0..self.width)
            .map(|i| format!("{} as k{i}", keys[i]))
            .collect();
        let sql = format!(
            "with top as materialized (select {top} from {source} s order by {down} limit 1),
             below as (insert into {chunk} ({hi}, state) select {k}, 'unplanned' from top)
             insert into {chunk} ({lo}, state, snapshot, high_lsn, rows, copied_at)
             select {k}, 'copied', pg_current_snapshot(), pg_current_wal_insert_lsn(), 0, clock_timestamp()
             from (select) one left join top on true",
            top = top.join(", "),
            source = plan.source.from_sql(),
            down = down.join(", "),
            chunk = self.name(),
            hi = self.columns("hi_").join(", "),
            lo = self.columns("lo_").join(", "),
            k = self.columns("k").join(", "),
        );
        tx.execute(&sql, &[]).await?;
        Ok(())
    }

    /// Splits up to `count` chunks of `rows` rows off the unplanned range, in one
    /// transaction. Returns whether an unplanned range is left.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn plan_more(
        &self,
        client: &mut Client,
        plan: &Plan,
        rows: u32,
        count: u32,
    ) -> Result<bool> {
        let tx = client.transaction().await?;
        // One planner at a time: FOR UPDATE, and the row is read again after it.
        let sql = format!(
            "select id, lo_0 is null from {} where state = 'unplanned' for update",
            self.name()
        );
        let Some(row) = tx.query_opt(&sql, &[]).await? else {
            return Ok(false);
        };
        let (unplanned, open): (i32, bool) = (row.get(0), row.get(1));
        tx.execute(&self.split_sql(plan, open, rows, count), &[&unplanned])
            .await?;
        let sql = format!(
            "select exists(select from {} where state = 'unplanned')",
            self.name()
        );
        let left = tx.query_one(&sql, &[]).await?.get(0);
        tx.commit().await?;
        Ok(left)
    }

    /// Walks the key's index from the unplanned range's lower end, `rows` rows at a
    /// time. When fewer than `count` chunks are found, the rest of the range is the
    /// last chunk; boundaries lie strictly below the range's upper end, so that the
    /// rest is never empty and no two chunks end alike.
    ///
    /// `open` says that the range has no lower end: a condition that leaves that to
    /// the server could not be used on the index.
    fn split_sql(&self, plan: &Plan, open: bool, rows: u32, count: u32) -> String {
        let keys = plan.key_list("s.");
        let order = keys.join(", ");
        let as_k: Vec<_> = (0..self.width)
            .map(|i| format!("{} as k{i}", keys[i]))
            .collect();
        let k = self.columns("k");
        let (lo, hi) = (self.columns("lo_"), self.columns("hi_"));
        let sub = |names: &[String]| -> Vec<String> {
            names
                .iter()
                .map(|n| format!("(select {n} from u)"))
                .collect()
        };
        let of_b: Vec<_> = k.iter().map(|c| format!("b.{c}")).collect();
        let lagged: Vec<_> = (0..self.width)
            .map(|i| format!("case when b.n = 1 then (select lo_{i} from u) else lag(b.k{i}) over (order by b.n) end"))
            .collect();
        let last: Vec<_> = (0..self.width)
            .map(|i| format!("(select k{i} from b order by n desc limit 1)"))
            .collect();
        let offset = rows - 1;
        format!(
            "with recursive u as materialized (select {lo}, {hi} from {chunk} where id = $1),
             b({k}, n) as (
               (select {as_k}, 1 from {source} s
                where {above_lo} and {below_hi}
                order by {order} offset {offset} limit 1)
               union all
               (select x.* from b, lateral (
                 select {as_k}, b.n + 1 from {source} s
                 where {above_b} and {below_hi}
                 order by {order} offset {offset} limit 1) x
                where b.n < {count})
             ),
             made as (insert into {chunk} ({lo}, {hi}, state)
                      select {lagged}, {of_b}, 'pending' from b order by b.n)
             update {chunk} c
             set ({lo}) = (select {new_lo}),
                 state = case when (select count(*) from b) < {count} then 'pending' else 'unplanned' end
             where c.id = $1",
            lo = lo.join(", "),
            hi = hi.join(", "),
            chunk = self.name(),
            k = k.join(", "),
            as_k = as_k.join(", "),
            source = plan.source.from_sql(),
            above_lo = if open { "true".to_owned() } else { compare(&keys, ">", &sub(&lo)) },
            below_hi = compare(&keys, "<", &sub(&hi)),
            above_b = compare(&keys, ">", &of_b),
            lagged = lagged.join(", "),
            of_b = of_b.join(", "),
            new_lo = last
                .iter()
                .enumerate()
                .map(|(i, l)| format!("case when exists(select from b) then {l} else c.lo_{i} end"))
                .collect::<Vec<_>>()
                .join(", "),
        )
    }
}
