//! The certificate of a clean verification, and the change log that goes with it.
//!
//! Invariant: every key that has not been found equal since it was last applied is in
//! the change log, at a position at or after the certificate's `applied_lsn`; and so
//! for a pass under way (`state::verification`), with the pass's own `applied_lsn`,
//! for the keys of the part that it has verified.
//!
//! Both hold because whatever is applied after a checkpoint T was read carries a
//! position at or after T, and because entries are removed only here, by the one
//! verification that holds `VERIFY_LOCK`:
//!
//! - [`write`] at the end of a pass that began at T. Every key was found equal after
//!   T, so entries below T say nothing. An older certificate that has been moved on
//!   beyond T meanwhile still stands (a difference would have removed it), so the new
//!   one stands where it stood.
//! - [`advance`] to T, after all entries from the certificate's position on, as they
//!   were after T was read, were found equal. An entry below T that it removes was
//!   one of them or lies below the certificate's position, where the key had been
//!   found equal before. So a pass that was interrupted and began below T loses only
//!   entries of keys that were found equal since they were applied, and can go on:
//!   what it has verified is still so, or is in the log.
//!
//! A key that changed at every look was not found equal. It needs no exception: its
//! entry, which the last look read, is of a transaction that was not visible when the
//! look before began, so it was applied after T was read and lies at or after T.
//!
//! A difference removes certificate and pass together: then nothing is claimed.

use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::ChunkTable;
use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;

/// What a certificate was made of: another text of the modules, or other columns,
/// make it void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    pub module_hash: String,
    /// Of name, type and collation of every column of sources and targets.
    pub columns_hash: String,
}

/// What a clean pass found.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// Keys applied before this position have been found equal since.
    pub applied_lsn: Lsn,
    pub basis: Basis,
    /// Of the program that made the pass.
    pub version: String,
    /// Ranges, counts and checksums of the pass.
    pub detail: serde_json::Value,
    /// When the pass began and ended, and when the keys that changed since were last
    /// found equal. As the server prints times.
    pub began_at: Option<String>,
    pub verified_at: String,
    pub moved_at: String,
}

/// What a pass writes.
#[derive(Debug)]
pub struct Passed<'a> {
    pub applied_lsn: Lsn,
    pub basis: &'a Basis,
    /// `migration.switches` when the pass began.
    pub switches: i32,
    pub detail: serde_json::Value,
}

/// The certificate, if there is one, void or not.
///
/// # Errors
/// Connection errors.
pub async fn read<C: GenericClient>(client: &C, migration: i32) -> Result<Option<Certificate>> {
    let row = client
        .query_opt(
            "select applied_lsn, module_hash, columns_hash, version, detail::text,
                    began_at::text, verified_at::text, moved_at::text
             from crossfade.certificate where migration_id = $1",
            &[&migration],
        )
        .await?;
    Ok(row.map(|row| Certificate {
        applied_lsn: row.get::<_, PgLsn>(0).into(),
        basis: Basis {
            module_hash: row.get(1),
            columns_hash: row.get(2),
        },
        version: row.get(3),
        detail: serde_json::from_str(row.get(4)).unwrap_or_default(),
        began_at: row.get(5),
        verified_at: row.get(6),
        moved_at: row.get(7),
    }))
}

/// Seconds since the certificate's pass ended.
///
/// # Errors
/// Connection errors.
pub async fn age<C: GenericClient>(client: &C, migration: i32) -> Result<Option<f64>> {
    let row = client
        .query_opt(
            "select extract(epoch from clock_timestamp() - verified_at)::float8
             from crossfade.certificate where migration_id = $1",
            &[&migration],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// What makes two rows of a column comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// A column that was dropped and made again has another number, and other values.
    pub number: i16,
    pub name: String,
    pub type_sql: String,
    pub collation: Option<String>,
}

/// The columns of each of these tables as the catalog has them now, in order.
/// Written like `pg::catalog`, so that the two can be compared.
///
/// # Errors
/// Connection errors.
pub async fn columns<C: GenericClient>(client: &C, tables: &[u32]) -> Result<Vec<Vec<Column>>> {
    let rows = client
        .query(
            "select t.n, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod),
                    case when a.attcollation <> 0
                         then quote_ident(cn.nspname) || '.' || quote_ident(co.collname) end
             from unnest($1::oid[]) with ordinality as t(oid, n)
             join pg_catalog.pg_attribute a on a.attrelid = t.oid
             left join pg_catalog.pg_collation co on co.oid = a.attcollation
             left join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
             where a.attnum > 0 and not a.attisdropped
             order by t.n, a.attnum",
            &[&tables],
        )
        .await?;
    let mut found = vec![Vec::new(); tables.len()];
    for row in &rows {
        let n = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        if let Some(columns) = found.get_mut(n) {
            columns.push(Column {
                number: row.get(1),
                name: row.get(2),
                type_sql: row.get(3),
                collation: row.get(4),
            });
        }
    }
    Ok(found)
}

/// Writes the certificate, forgets what changed before it and ends the pass, in one
/// transaction.
///
/// # Errors
/// [`Kind::Phase`] when the migration was switched meanwhile; connection errors.
pub async fn write(
    client: &mut Client,
    migration: i32,
    passed: &Passed<'_>,
    logs: &[ChunkTable],
) -> Result<()> {
    let tx = client.transaction().await?;
    same_names(&tx, migration, passed.switches).await?;
    let row = tx
        .query_one(
            "insert into crossfade.certificate as c
                 (migration_id, applied_lsn, module_hash, columns_hash, version, began_at, detail)
             values ($1, $2, $3, $4, $5,
                     (select began_at from crossfade.verification where migration_id = $1),
                     $6::text::jsonb)
             on conflict (migration_id) do update
             set verified_at = clock_timestamp(), moved_at = clock_timestamp(),
                 applied_lsn = case
                     when c.module_hash = excluded.module_hash and c.columns_hash = excluded.columns_hash
                     then greatest(c.applied_lsn, excluded.applied_lsn)
                     else excluded.applied_lsn end,
                 module_hash = excluded.module_hash, columns_hash = excluded.columns_hash,
                 version = excluded.version, began_at = excluded.began_at,
                 detail = excluded.detail
             returning applied_lsn",
            &[
                &migration,
                &PgLsn::from(passed.applied_lsn),
                &passed.basis.module_hash,
                &passed.basis.columns_hash,
                &env!("CARGO_PKG_VERSION"),
                &passed.detail.to_string(),
            ],
        )
        .await?;
    let from: PgLsn = row.get(0);
    forget(&tx, from.into(), logs).await?;
    tx.execute(
        "delete from crossfade.verification where migration_id = $1",
        &[&migration],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Makes sure that the names still are those of the tables that were compared, until
/// the transaction ends: a switch has locked this row since before it writes anything.
async fn same_names<C: GenericClient>(client: &C, migration: i32, switches: i32) -> Result<()> {
    let same = client
        .query_opt(
            "select from crossfade.migration where id = $1 and switches = $2 for share",
            &[&migration, &switches],
        )
        .await?;
    if same.is_none() {
        return Err(Error::new(
            Kind::Phase,
            "the migration was switched while it was being verified",
        )
        .remedy("verify again"));
    }
    Ok(())
}

/// How far a certificate is moved.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    pub to: Lsn,
    /// `migration.switches` when the keys were compared.
    pub switches: i32,
}

/// Moves the certificate on: every key changed since has been compared too, and
/// what is applied from `to` on is in the log.
///
/// # Errors
/// [`Kind::Phase`] when the migration was switched meanwhile; connection errors.
pub async fn advance(
    client: &mut Client,
    migration: i32,
    Advance { to, switches }: Advance,
    logs: &[ChunkTable],
) -> Result<()> {
    let tx = client.transaction().await?;
    same_names(&tx, migration, switches).await?;
    let moved = tx
        .execute(
            "update crossfade.certificate set applied_lsn = $2, moved_at = clock_timestamp()
             where migration_id = $1 and applied_lsn <= $2",
            &[&migration, &PgLsn::from(to)],
        )
        .await?;
    if moved == 1 {
        forget(&tx, to, logs).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Moves the certificate to where a switch hands the checkpoint over, in its own
/// transaction: every key that changed before has been compared under the lock.
///
/// # Errors
/// Connection errors.
pub async fn hand_over<C: GenericClient>(client: &C, migration: i32, to: Lsn) -> Result<()> {
    client
        .execute(
            "update crossfade.certificate set applied_lsn = $2, moved_at = clock_timestamp()
             where migration_id = $1",
            &[&migration, &PgLsn::from(to)],
        )
        .await?;
    Ok(())
}

/// Entries that the applier is writing at this moment are skipped: it may wait for
/// this transaction but never the other way round. They get a newer position.
async fn forget(tx: &Transaction<'_>, below: Lsn, logs: &[ChunkTable]) -> Result<()> {
    for log in logs {
        let sql = format!(
            "delete from {0} c using (select ctid from {0} where lsn < $1 for update skip locked) old
             where c.ctid = old.ctid and c.lsn < $1",
            log.change_log()
        );
        tx.execute(&sql, &[&PgLsn::from(below)]).await?;
    }
    Ok(())
}

/// Removes the certificate, and the pass under way with it: there is a difference, so
/// neither holds, and the last outcome is that from the same moment on.
///
/// # Errors
/// [`Kind::Phase`] when the migration was switched since `switches` was read: what
/// looked like a difference was between other tables. Connection errors.
pub async fn remove(client: &Client, migration: i32, switches: i32) -> Result<()> {
    // One statement, so that no switch comes in between: one that is under way is
    // waited for, and then the row is looked at again.
    let row = client
        .query_one(
            "with same as (select id from crossfade.migration
                           where id = $1 and switches = $2 for share),
                  pass as (delete from crossfade.verification v using same
                           where v.migration_id = same.id),
                  gone as (delete from crossfade.certificate c using same
                           where c.migration_id = same.id),
                  -- Which rows differ is told at the end; that some do, from now on.
                  said as (insert into crossfade.verified (migration_id, outcome, differences)
                           select id, 'different', '{}' from same
                           on conflict (migration_id) do update
                           set ended_at = clock_timestamp(), outcome = excluded.outcome,
                               differences = excluded.differences
                           where crossfade.verified.outcome <> 'different')
             select exists(select from same)",
            &[&migration, &switches],
        )
        .await?;
    if row.get(0) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Phase,
        "the migration was switched while it was being verified",
    )
    .remedy("verify again"))
}

/// Up to `limit` keys of one log that are not verified from a position on.
///
/// # Errors
/// Connection errors.
pub async fn unverified<C: GenericClient>(
    client: &C,
    source_id: i32,
    since: Lsn,
    limit: i64,
) -> Result<i64> {
    let sql = format!(
        "select count(*) from (select from {} where lsn >= $1 limit $2) x",
        ChunkTable::names(source_id).1
    );
    let row = client
        .query_one(&sql, &[&PgLsn::from(since), &limit])
        .await?;
    Ok(row.get(0))
}
