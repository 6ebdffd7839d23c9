//! Source rows that could not be written: remembered by key, never lost.

use tokio_postgres::GenericClient;

use super::checkpoint::Leg;
use crate::error::Result;

/// Above this many the run stops: the module is wrong, not the rows.
pub const LIMIT: usize = 10_000;

/// Why a row is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value cannot be converted or violates a constraint; waits for its next
    /// change or for `quarantine retry`.
    Bad,
    /// Another row holds one of its unique values at the moment; tried again.
    Unique,
    /// The source was locked when the row had to be read again; tried again.
    Locked,
}

impl Reason {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Unique => "unique",
            Self::Locked => "locked",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "unique" => Self::Unique,
            "locked" => Self::Locked,
            _ => Self::Bad,
        }
    }
}

/// One row set aside.
#[derive(Debug, Clone)]
pub struct Entry {
    pub source_id: i32,
    /// The stream that set it aside; only that one tries it again.
    pub leg: Leg,
    /// The key as text, one a column.
    pub key: Vec<String>,
    pub reason: Reason,
    pub sqlstate: String,
    pub message: String,
    /// An operator asked for another try.
    pub retry: bool,
}

/// Every row set aside, of all sources of a migration.
///
/// # Errors
/// Connection errors.
pub async fn list<C: GenericClient>(client: &C, migration: i32) -> Result<Vec<Entry>> {
    let rows = client
        .query(
            "select q.source_id, q.key, q.reason, q.sqlstate, q.message, q.retry, q.leg
             from crossfade.quarantine q join crossfade.source s on s.id = q.source_id
             where s.migration_id = $1 order by q.since, q.key limit $2",
            &[&migration, &(i64::try_from(LIMIT).unwrap_or(i64::MAX) + 1)],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|r| Entry {
            source_id: r.get(0),
            key: r.get(1),
            reason: Reason::parse(r.get(2)),
            sqlstate: r.get(3),
            message: r.get(4),
            retry: r.get(5),
            leg: if r.get::<_, &str>(6) == Leg::Reverse.name() {
                Leg::Reverse
            } else {
                Leg::Forward
            },
        })
        .collect())
}

/// Remembers a row, or why it is still there.
///
/// # Errors
/// Connection errors.
pub async fn put<C: GenericClient>(client: &C, entry: &Entry) -> Result<()> {
    client
        .execute(
            "insert into crossfade.quarantine (source_id, key, reason, sqlstate, message, leg)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (source_id, key) do update
             set reason = excluded.reason, leg = excluded.leg, sqlstate = excluded.sqlstate,
                 message = excluded.message, retry = false",
            &[
                &entry.source_id,
                &entry.key,
                &entry.reason.name(),
                &entry.sqlstate,
                &entry.message,
                &entry.leg.name(),
            ],
        )
        .await?;
    Ok(())
}

/// Forgets a row: it has been written, or its source row is gone.
///
/// # Errors
/// Connection errors.
pub async fn clear<C: GenericClient>(client: &C, source_id: i32, key: &[String]) -> Result<()> {
    client
        .execute(
            "delete from crossfade.quarantine where source_id = $1 and key = $2",
            &[&source_id, &key],
        )
        .await?;
    Ok(())
}

/// Asks the daemon to try every row again.
///
/// # Errors
/// Connection errors.
pub async fn retry_all<C: GenericClient>(client: &C, migration: i32) -> Result<u64> {
    Ok(client
        .execute(
            "update crossfade.quarantine q set retry = true from crossfade.source s
             where s.id = q.source_id and s.migration_id = $1",
            &[&migration],
        )
        .await?)
}
