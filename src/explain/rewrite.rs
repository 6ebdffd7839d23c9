//! Other words for the query, shown only when they are proven to ask the same of this
//! data: both results hashed in one snapshot.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::run::{self, Effort, Equality};
use super::statement::Statement;
use crate::error::Result;
use crate::sql::query::{Rewording, paging, rewordings};

/// A rewording that returned the same rows.
#[derive(Debug, Clone, Serialize)]
pub struct Proven {
    pub rule: &'static str,
    pub what: String,
    pub equal_if: &'static str,
    pub text: String,
    pub rows: i64,
    pub equality: Equality,
    /// Medians, on the given database as it is.
    pub before_ms: f64,
    pub after_ms: f64,
}

impl Proven {
    /// Faster by enough to be worth a change of the application.
    #[must_use]
    pub fn helps(&self) -> bool {
        self.after_ms < self.before_ms * 0.8
    }
}

/// Tries every rewording that is known here. Those that differ, fail or take too long
/// are left out.
///
/// # Errors
/// When the connection breaks.
pub async fn prove(
    client: &mut Client,
    statement: &Statement,
    before_ms: f64,
    effort: Effort,
) -> Result<Vec<Proven>> {
    if statement.writes || !statement.can_run() {
        return Ok(Vec::new());
    }
    let mut all = rewordings(&statement.text);
    all.extend(next_page(client, statement, effort).await?);
    let mut proven = Vec::new();
    // One that takes longer is of no interest, but its hash costs a run too.
    let limit = Duration::from_secs_f64((before_ms * 4.0 + 1000.0) / 1000.0).min(effort.timeout);
    for rewording in all {
        let mut found = one(client, statement, &rewording, before_ms, effort, limit).await;
        if run::may_be_chance(limit) && found.as_ref().is_err_and(|e| e.is_sqlstate("57014")) {
            found = one(client, statement, &rewording, before_ms, effort, limit).await;
        }
        match found {
            Ok(found) => proven.extend(found),
            Err(e) if e.sqlstate.is_some() => {}
            Err(e) => return Err(e),
        }
    }
    proven.sort_by(|a, b| a.after_ms.total_cmp(&b.after_ms));
    Ok(proven)
}

/// The page after the last row that an OFFSET skips.
async fn next_page(
    client: &mut Client,
    statement: &Statement,
    effort: Effort,
) -> Result<Option<Rewording>> {
    let Some(paging) = paging(&statement.text) else {
        return Ok(None);
    };
    let tx = snapshot(client, effort.timeout).await?;
    let boundary = statement.rewritten(paging.boundary.clone());
    let found = tx.query_opt(&boundary.text, &boundary.arguments()).await;
    tx.rollback().await?;
    let Ok(Some(row)) = found else {
        return Ok(None);
    };
    let values: Option<Vec<String>> = (0..row.len())
        .map(|i| row.try_get(i).ok().flatten())
        .collect();
    Ok(values.and_then(|values| paging.after(&values)))
}

async fn one(
    client: &mut Client,
    statement: &Statement,
    rewording: &Rewording,
    before_ms: f64,
    effort: Effort,
    limit: Duration,
) -> Result<Option<Proven>> {
    let other = statement.rewritten(rewording.text.clone());
    let tx = snapshot(client, limit).await?;
    // In one snapshot: what others commit meanwhile is not a difference.
    let mine = run::fingerprint(&tx, statement).await?;
    let its = run::fingerprint(&tx, &other).await?;
    let equality = mine.compare(&its);
    let ordered =
        rewording.rule != "or-condition" && statement.text.to_lowercase().contains("order by");
    let same = match equality {
        Equality::Identical => true,
        Equality::SameRows => !ordered,
        Equality::Different | Equality::NotCompared => false,
    };
    if !same {
        return Ok(None);
    }
    let after = run::measure(&tx, &other, effort).await?;
    tx.rollback().await?;
    Ok(Some(Proven {
        rule: rewording.rule,
        what: rewording.what.clone(),
        equal_if: rewording.equal_if,
        text: rewording.text.clone(),
        rows: mine.rows,
        equality,
        before_ms,
        after_ms: after.median(),
    }))
}

async fn snapshot(client: &mut Client, timeout: Duration) -> Result<Transaction<'_>> {
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    run::limit(&tx, timeout).await?;
    Ok(tx)
}
