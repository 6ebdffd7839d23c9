//! The applied LSN, moved by compare-and-swap in the transaction of the rows.

use std::time::SystemTime;

use tokio_postgres::GenericClient;
use tokio_postgres::types::PgLsn;

use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;

/// Which stream moves the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// From the old schema into the new one.
    Forward,
    /// From the new schema back into the old one, after the switch.
    Reverse,
}

impl Leg {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }
}

/// What one batch adds to the checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Advance {
    /// End of the newest commit record that the batch covers.
    pub to: Lsn,
    pub commit_time: Option<SystemTime>,
    pub rows: i64,
    pub transactions: i64,
}

/// # Errors
/// Connection errors.
pub async fn create<C: GenericClient>(client: &C, migration: i32, lsn: Lsn) -> Result<()> {
    client
        .execute(
            "insert into crossfade.checkpoint (migration_id, applied_lsn) values ($1, $2)
             on conflict (migration_id) do update set applied_lsn = excluded.applied_lsn",
            &[&migration, &PgLsn::from(lsn)],
        )
        .await?;
    Ok(())
}

/// # Errors
/// Connection errors; no checkpoint stored.
pub async fn read<C: GenericClient>(client: &C, migration: i32) -> Result<Lsn> {
    let row = client
        .query_opt(
            "select applied_lsn from crossfade.checkpoint where migration_id = $1",
            &[&migration],
        )
        .await?
        .ok_or_else(|| Error::new(Kind::Phase, "the migration has no checkpoint"))?;
    Ok(row.get::<_, PgLsn>(0).into())
}

/// Where a stream of this leg has to begin.
///
/// # Errors
/// [`Kind::Ownership`] where a switch has handed the checkpoint to the other leg.
pub async fn begin<C: GenericClient>(client: &C, migration: i32, leg: Leg) -> Result<Lsn> {
    let row = client
        .query_opt(
            "select applied_lsn from crossfade.checkpoint
             where migration_id = $1 and (leg = $2 or $3)",
            &[&migration, &leg.name(), &crate::failpoint::omitted("leg")],
        )
        .await?
        .ok_or_else(|| handed_over(leg))?;
    Ok(row.get::<_, PgLsn>(0).into())
}

/// Whose the checkpoint is.
///
/// # Errors
/// Connection errors; no checkpoint stored.
pub async fn leg<C: GenericClient>(client: &C, migration: i32) -> Result<Leg> {
    let row = client
        .query_opt(
            "select leg from crossfade.checkpoint where migration_id = $1",
            &[&migration],
        )
        .await?
        .ok_or_else(|| Error::new(Kind::Phase, "the migration has no checkpoint"))?;
    Ok(if row.get::<_, &str>(0) == Leg::Reverse.name() {
        Leg::Reverse
    } else {
        Leg::Forward
    })
}

/// Hands the checkpoint over to the other leg, in the transaction of a switch, and
/// returns where that leg begins.
///
/// Invariant: nobody who could write its tables can commit between the position and
/// the switch. The row is locked before the position is read, so every commit of the
/// leg before lies below it; whatever the application commits to the tables of the
/// leg after comes after the switch's own commit, hence above it. So each leg's slot
/// starts behind all that the other leg wrote, and no change goes round in a loop.
///
/// # Errors
/// [`Kind::Ownership`] where it is not `from`'s to give.
pub async fn hand_over<C: GenericClient>(
    client: &C,
    migration: i32,
    from: Leg,
    to: Leg,
) -> Result<Lsn> {
    let own = client
        .query_opt(
            "select from crossfade.checkpoint where migration_id = $1 and leg = $2 for update",
            &[&migration, &from.name()],
        )
        .await?;
    if own.is_none() {
        return Err(handed_over(from));
    }
    let row = client
        .query_one(
            "update crossfade.checkpoint
             set leg = $2, applied_lsn = pg_catalog.pg_current_wal_insert_lsn()
             where migration_id = $1 returning applied_lsn",
            &[&migration, &to.name()],
        )
        .await?;
    Ok(row.get::<_, PgLsn>(0).into())
}

fn handed_over(leg: Leg) -> Error {
    Error::new(
        Kind::Ownership,
        format!("the checkpoint is no longer the {} stream's", leg.name()),
    )
    .remedy("a switch has handed it over: the daemon starts over by itself")
}

/// Moves the checkpoint from `from`. Invariant: exactly one transaction moves it
/// away from any value, so a predecessor that is not quite dead cannot commit the
/// same changes a second time, nor older ones on top of newer.
///
/// # Errors
/// [`Kind::Ownership`] where somebody else has moved it.
pub async fn advance<C: GenericClient>(
    client: &C,
    migration: i32,
    leg: Leg,
    from: Lsn,
    by: &Advance,
) -> Result<()> {
    let condition = if crate::failpoint::omitted("checkpoint_swap") {
        "$3::pg_lsn is not null"
    } else {
        "applied_lsn = $3"
    };
    let sql = format!(
        "update crossfade.checkpoint
         set applied_lsn = $2, commit_time = coalesce($4, commit_time),
             rows_applied = rows_applied + $5, transactions = transactions + $6
         where migration_id = $1 and (leg = $7 or $8) and {condition}"
    );
    let moved = client
        .execute(
            &sql,
            &[
                &migration,
                &PgLsn::from(by.to),
                &PgLsn::from(from),
                &by.commit_time,
                &by.rows,
                &by.transactions,
                &leg.name(),
                &crate::failpoint::omitted("leg"),
            ],
        )
        .await?;
    if moved == 1 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Ownership,
        format!("another process has moved the checkpoint away from {from}"),
    )
    .remedy("one daemon per migration: this one starts over from the stored checkpoint"))
}
