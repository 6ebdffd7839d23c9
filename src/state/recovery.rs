//! The stream begun anew after its slot was lost.
//!
//! Changes between the checkpoint and the new slot's consistent point are in no stream,
//! so what was copied before may be wrong. Nothing is thrown away: every chunk becomes
//! pending again and is compared with its target rows when it is copied
//! (`copy::again`); what is equal stays.
//!
//! The steps are those of a first start, so a crash between any two of them is met by
//! what meets it there:
//! 1. [`begin`]: phase `preparing`, the sources marked as to be looked at again;
//! 2. publication, slot and checkpoint are made anew: phase `gating`;
//! 3. the start gate: from here on every snapshot sees what the new slot does not send;
//! 4. [`reset`]: no chunk counts as copied any more: phase `copying`.
//!
//! A predecessor that is not quite dead can do no harm. Its applier fails on the
//! checkpoint, which step 2 moves. A copier of it that claimed a chunk before step 3 may
//! copy it with a snapshot from before the gate: step 4 waits until nobody holds a claim,
//! and only then takes every copied chunk back; who claims later has a later snapshot.

use tokio_postgres::{GenericClient, Transaction};

use super::{ChunkTable, Migration, migration};
use crate::error::{Error, Kind, Result};
use crate::phase::Phase;
use crate::transform::Plan;

/// What was given up and is to be looked at again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub chunks: i64,
    pub rows: i64,
}

/// Sends a migration that copies or streams back to its beginning, keeping what is in
/// the targets. A certificate says nothing any more, nor does a pass under way.
///
/// # Errors
/// [`Kind::Ownership`] when the migration has moved on meanwhile, to a switch for one.
pub async fn begin(tx: &Transaction<'_>, row: &Migration) -> Result<()> {
    // Nothing is copied before the first tiles are laid.
    if migration::advance(tx, row.id, Phase::Gating, Phase::Preparing).await? {
        return Ok(());
    }
    for phase in [Phase::Copying, Phase::Streaming] {
        if !migration::advance(tx, row.id, phase, Phase::Preparing).await? {
            continue;
        }
        tx.batch_execute(&format!(
            "update crossfade.source set again = true where migration_id = {id};
             update crossfade.migration
             set recoveries = recoveries + 1, copy_finished_at = null where id = {id};
             delete from crossfade.certificate where migration_id = {id};
             delete from crossfade.verification where migration_id = {id};",
            id = row.id
        ))
        .await?;
        return Ok(());
    }
    Err(Error::new(
        Kind::Ownership,
        "another process has moved the migration on",
    ))
}

/// Whether targets of a source may hold rows of chunks that are not copied.
///
/// # Errors
/// Connection errors.
pub async fn is_again<C: GenericClient>(client: &C, source: i32) -> Result<bool> {
    let row = client
        .query_one(
            "select again from crossfade.source where id = $1",
            &[&source],
        )
        .await?;
    Ok(row.get(0))
}

/// Whether the targets of this migration were filled before.
///
/// # Errors
/// Connection errors.
pub async fn has_begun<C: GenericClient>(client: &C, migration: i32) -> Result<bool> {
    let row = client
        .query_one(
            "select exists(select from crossfade.source where migration_id = $1 and again)",
            &[&migration],
        )
        .await?;
    Ok(row.get(0))
}

/// Remembers why the slot is gone, for whoever looks before the next start.
///
/// # Errors
/// Connection errors.
pub async fn lost<C: GenericClient>(client: &C, migration: i32, why: &str) -> Result<()> {
    client
        .execute(
            "update crossfade.migration set slot_lost = $2, slot_lost_at = clock_timestamp()
             where id = $1",
            &[&migration, &why],
        )
        .await?;
    Ok(())
}

/// What [`lost`] remembers.
///
/// # Errors
/// Connection errors.
pub async fn why_lost<C: GenericClient>(client: &C, migration: i32) -> Result<Option<String>> {
    let sql = "select slot_lost from crossfade.migration where id = $1";
    let row = client.query_opt(sql, &[&migration]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// A new slot is there.
///
/// # Errors
/// Connection errors.
pub async fn found<C: GenericClient>(client: &C, migration: i32) -> Result<()> {
    client
        .execute(
            "update crossfade.migration set slot_lost = null, slot_lost_at = null where id = $1",
            &[&migration],
        )
        .await?;
    Ok(())
}

impl ChunkTable {
    /// Takes every copied chunk back, and lays the upper tiles anew: what lies above
    /// the source's present highest key counts as copied by this transaction's snapshot,
    /// in which it holds no rows, once the targets hold none there either; what came
    /// above the old one since is to be split like the rest.
    ///
    /// `tx` must be as for [`ChunkTable::seed`], and every claim must have been free
    /// since the start gate was passed.
    ///
    /// # Errors
    /// Connection errors, lock timeout.
    pub async fn reset(&self, tx: &Transaction<'_>, plan: &Plan) -> Result<Taken> {
        let chunk = self.name();
        let (lo, hi, k) = (
            self.columns("lo_").join(", "),
            self.columns("hi_").join(", "),
            self.columns("k").join(", "),
        );
        let taken = tx
            .query_one(
                &format!(
                    "with taken as (
                       update {chunk} set state = 'pending', snapshot = null, high_lsn = null,
                              rows = null, copied_at = null
                       where state = 'copied' and hi_0 is not null returning id)
                     select count(*), (select coalesce(sum(rows), 0)::bigint from {chunk}
                                       where state = 'copied') from taken"
                ),
                &[],
            )
            .await?;
        let keys = plan.key_list("s.");
        let down: Vec<_> = keys.iter().map(|k| format!("{k} desc")).collect();
        let top: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(i, key)| format!("{key} as k{i}"))
            .collect();
        // The open tile's lower end moves up to the highest key, never down: below it
        // are the chunks. Without a row above it nothing is to be split.
        let moved = tx
            .execute(
                &format!(
                    "with t as materialized (select {top} from {source} s order by {down} limit 1),
                     o as materialized (select {lo} from {chunk} where hi_0 is null),
                     above as materialized (select t.* from t, o where o.lo_0 is null or ({tk}) > ({olo})),
                     wider as (update {chunk} c set ({hi}) = (select {k} from above)
                               where c.state = 'unplanned' and exists (select from above) returning c.id),
                     split as (insert into {chunk} ({lo}, {hi}, state)
                               select {olo}, {ak}, 'unplanned' from o, above
                               where not exists (select from {chunk} where state = 'unplanned')
                               returning id)
                     update {chunk} c set ({lo}) = (select {k} from above)
                     where c.hi_0 is null and exists (select from above)",
                    top = top.join(", "),
                    source = plan.source.from_sql(),
                    down = down.join(", "),
                    tk = self.prefixed("t.", "k"),
                    ak = self.prefixed("above.", "k"),
                    olo = self.prefixed("o.", "lo_"),
                ),
                &[],
            )
            .await?;
        debug_assert!(moved <= 1);
        self.empty_top(tx, plan).await?;
        tx.execute(
            &format!(
                "update {chunk} set state = 'copied', snapshot = pg_current_snapshot(),
                        high_lsn = pg_current_wal_insert_lsn(), rows = 0, copied_at = clock_timestamp()
                 where hi_0 is null"
            ),
            &[],
        )
        .await?;
        tx.execute(
            "delete from crossfade.quarantine where source_id = $1 and leg = 'forward'",
            &[&self.source_id],
        )
        .await?;
        Ok(Taken {
            chunks: taken.get(0),
            rows: taken.get(1),
        })
    }

    fn prefixed(&self, prefix: &str, stem: &str) -> String {
        let parts: Vec<_> = self
            .columns(stem)
            .iter()
            .map(|c| format!("{prefix}{c}"))
            .collect();
        parts.join(", ")
    }

    /// Removes target rows of the open tile at the top: their source rows are gone.
    async fn empty_top(&self, tx: &Transaction<'_>, plan: &Plan) -> Result<()> {
        let texts: Vec<_> = self
            .columns("lo_")
            .iter()
            .map(|c| format!("{c}::text"))
            .collect();
        let row = tx
            .query_one(
                &format!(
                    "select {} from {} where hi_0 is null",
                    texts.join(", "),
                    self.name()
                ),
                &[],
            )
            .await?;
        let bounds: Option<Vec<String>> = (0..texts.len()).map(|i| row.get(i)).collect();
        let shape = (bounds.is_some(), false);
        let bounds = bounds.unwrap_or_default();
        let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = bounds
            .iter()
            .map(|b| b as &(dyn tokio_postgres::types::ToSql + Sync))
            .collect();
        // The targets turn others away.
        tx.execute("select set_config('crossfade.session', 'on', true)", &[])
            .await?;
        tx.execute(&plan.delete_range(shape), &parameters).await?;
        Ok(())
    }
}
