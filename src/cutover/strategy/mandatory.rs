//! What a switch back under `columns` leaves to be done online: NOT NULL on the moved
//! columns, which the switch has restored as a check of new rows only.

use std::time::Duration;

use tokio_postgres::{Client, Transaction};

use crate::error::{Context, Error, Kind, Result};
use crate::pg::{ConnInfo, QualifiedName, SessionLimits, connect_with, quote};
use crate::state::guard;

/// How long the moment's strong lock is asked for, in all.
const PATIENCE: u32 = 30;

/// A column that was NOT NULL before the switch.
struct Column {
    source_id: i32,
    table: QualifiedName,
    name: String,
    check: String,
    /// Whether the check stands on the table.
    checked: bool,
}

impl Column {
    fn place(&self) -> String {
        format!("column {} of {}", quote(&self.name), self.table)
    }
}

/// Makes moved columns NOT NULL again where that is still to be done: reads the table
/// once while writes go on, then takes its strong lock for a moment. Nothing to do is
/// fine, and it can be run again after any interruption. Returns how many columns it
/// has finished.
///
/// # Errors
/// [`Kind::Data`] where a row has no value; [`Kind::Contention`] where the lock is not
/// to be had; connection errors.
pub async fn restore(info: &ConnInfo, migration: i32) -> Result<usize> {
    let limits = SessionLimits {
        // It reads a whole table.
        statement: None,
        ..SessionLimits::default()
    };
    let mut client = connect_with(info, "switch back", limits).await?;
    let columns = pending(&client, migration).await?;
    let mut done = 0;
    for column in &columns {
        if column.checked {
            validate(&client, column).await?;
            harden(&mut client, column).await?;
            done += 1;
        } else {
            let tx = client.transaction().await?;
            forget(&tx, column).await?;
            tx.commit().await?;
        }
    }
    Ok(done)
}

/// What stays behind where columns are never made NOT NULL again, since the migration is
/// given up, and what is to be done by hand then.
///
/// # Errors
/// Connection errors.
pub async fn left_behind(client: &Client, migration: i32) -> Result<Vec<String>> {
    let columns = pending(client, migration).await?;
    Ok(columns
        .iter()
        .filter(|column| column.checked)
        .map(|column| {
            let (table, check) = (column.table.sql(), &column.check);
            format!(
                "constraint {check} of {}, in place of NOT NULL for {}: once every row has a value, \
                 `ALTER TABLE {table} VALIDATE CONSTRAINT {check}`, \
                 `ALTER TABLE {table} ALTER {} SET NOT NULL`, \
                 `ALTER TABLE {table} DROP CONSTRAINT {check}`",
                column.table,
                quote(&column.name),
                quote(&column.name),
            )
        })
        .collect())
}

/// Only of a migration that is not switched: there the columns are to be left out.
async fn pending(client: &Client, migration: i32) -> Result<Vec<Column>> {
    let rows = client
        .query(
            "select m.source_id, n.nspname::text, c.relname::text, m.name,
                    'crossfade_not_null_' || a.attnum,
                    exists(select from pg_constraint k where k.conrelid = c.oid
                           and k.conname = 'crossfade_not_null_' || a.attnum)
             from crossfade.moved_column m
             join crossfade.source s on s.id = m.source_id
             join crossfade.migration g on g.id = s.migration_id
             join pg_class c on c.oid = s.table_oid
             join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname::text = m.name and not a.attisdropped
             where g.id = $1 and g.phase <> 'switched'
             order by m.source_id, m.name",
            &[&migration],
        )
        .await
        .context("looking for columns to make NOT NULL again")?;
    Ok(rows
        .iter()
        .map(|r| Column {
            source_id: r.get(0),
            table: QualifiedName::new(r.get::<_, String>(1), r.get::<_, String>(2)),
            name: r.get(3),
            check: r.get(4),
            checked: r.get(5),
        })
        .collect())
}

/// Keeps no reader and no writer waiting.
async fn validate(client: &Client, column: &Column) -> Result<()> {
    let sql = format!(
        "alter table {} validate constraint {}",
        column.table.sql(),
        column.check
    );
    client.batch_execute(&sql).await.map_err(|e| {
        let error = Error::from(e);
        if error.is_sqlstate("23514") {
            return Error::new(
                Kind::Data,
                format!("{} has rows without a value", column.place()),
            )
            .remedy("give them one, then run `crossfade switch --back` again");
        }
        error.context(format!("reading {}", column.place()))
    })
}

/// The check is what spares SET NOT NULL from reading the table again, so it goes last.
async fn harden(client: &mut Client, column: &Column) -> Result<()> {
    let mut pause = Duration::from_millis(50);
    for _ in 0..PATIENCE {
        let tx = client.transaction().await?;
        let done = guard::gently(
            &tx,
            &column.table,
            &format!(
                "alter table {table} alter column {name} set not null;
                 alter table {table} drop constraint {}",
                column.check,
                table = column.table.sql(),
                name = quote(&column.name),
            ),
        )
        .await;
        match done {
            Ok(()) => {
                forget(&tx, column).await?;
                return Ok(tx.commit().await?);
            }
            Err(e) if e.is_sqlstate("55P03") => tx.rollback().await?,
            Err(e) => return Err(e.context(format!("making {} NOT NULL", column.place()))),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
    Err(Error::new(
        Kind::Contention,
        format!(
            "{} cannot be made NOT NULL: its table is never free",
            column.place()
        ),
    )
    .remedy("run `crossfade switch --back` again when no long transaction is open"))
}

/// A switch forward that came in between remembers the column anew: it locks the
/// migration's row after the table, as this does.
async fn forget(tx: &Transaction<'_>, column: &Column) -> Result<()> {
    let row = tx
        .query_opt(
            "select from crossfade.migration g
             join crossfade.source s on s.migration_id = g.id
             where s.id = $1 and g.phase <> 'switched' for update of g",
            &[&column.source_id],
        )
        .await?;
    if row.is_some() {
        tx.execute(
            "delete from crossfade.moved_column where source_id = $1 and name = $2",
            &[&column.source_id, &column.name],
        )
        .await?;
    }
    Ok(())
}
