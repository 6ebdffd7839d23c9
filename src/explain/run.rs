//! Runs of a query: how long, how many pages, and what it returns.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::GenericClient;

use super::plan::Plan;
use super::statement::{Mode, Statement};
use crate::error::{Context, Result};

/// What a number of runs showed.
#[derive(Debug, Clone)]
pub struct Measured {
    /// With the time of each node.
    pub plan: Plan,
    /// The first run's milliseconds, with whatever was in memory then.
    pub first_ms: f64,
    /// Milliseconds of the runs after it, sorted.
    pub warm_ms: Vec<f64>,
    /// Pages that a warm run touched, found in shared buffers or not.
    pub pages: f64,
}

impl Measured {
    /// The median of the warm runs.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.warm_ms
            .get(self.warm_ms.len() / 2)
            .copied()
            .unwrap_or(self.first_ms)
    }
}

/// A result without its rows: how many, and two independent 64-bit hashes of all of
/// them, summed (so that order does not matter) and with their places (so that it does).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    pub rows: i64,
    pub any_order: String,
    pub in_order: String,
}

/// How the results of two queries relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Equality {
    /// The same rows in the same order.
    Identical,
    /// The same rows; where the query says nothing about their order, or ties, another.
    SameRows,
    Different,
    /// The query writes, or takes too long, or others have written between the two.
    NotCompared,
}

impl Fingerprint {
    #[must_use]
    pub fn compare(&self, other: &Self) -> Equality {
        if self.rows != other.rows || self.any_order != other.any_order {
            Equality::Different
        } else if self.in_order == other.in_order {
            Equality::Identical
        } else {
            Equality::SameRows
        }
    }
}

/// How much to run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Warm runs, at most.
    pub runs: u32,
    /// `statement_timeout` of each.
    pub timeout: Duration,
}

impl Effort {
    /// Fewer runs of what is slow: its noise is small beside it.
    #[must_use]
    pub fn runs_of(self, ms: f64) -> u32 {
        match ms {
            ms if ms > 10_000.0 => self.runs.min(1),
            ms if ms > 2_000.0 => self.runs.min(2),
            ms if ms > 300.0 => self.runs.min(3),
            ms if ms < 1.0 => self.runs.saturating_mul(6),
            ms if ms < 5.0 => self.runs.saturating_mul(3),
            _ => self.runs,
        }
    }
}

/// Bounds every statement of the current transaction.
///
/// # Errors
/// What the server says.
pub async fn limit(client: &impl GenericClient, timeout: Duration) -> Result<()> {
    let ms = timeout.as_millis().clamp(1, i32::MAX as u128);
    client
        .batch_execute(&format!(
            "set local statement_timeout = {ms}; set local lock_timeout = '2s'"
        ))
        .await
        .context("limiting the session")
}

/// A server that stands still may do so for as long as this.
const MOMENT: Duration = Duration::from_secs(5);

/// Whether what was cut off by this limit may have been cut off by chance, and is worth a
/// second look.
#[must_use]
pub fn may_be_chance(limit: Duration) -> bool {
    limit < MOMENT
}

/// Runs a query in the current transaction: once with every node's time, then again
/// for the median.
///
/// # Errors
/// What the server says; 57014 when it takes longer than allowed.
pub async fn measure(
    client: &impl GenericClient,
    statement: &Statement,
    effort: Effort,
) -> Result<Measured> {
    let first = statement.explain(client, Mode::Run).await?;
    let first_ms = first.total_ms().unwrap_or(0.0);
    let plan = statement.explain(client, Mode::Timed).await?;
    let mut warm = Vec::new();
    let mut pages = 0.0;
    for _ in 0..effort.runs_of(first_ms).max(1) {
        let run = statement.explain(client, Mode::Run).await?;
        warm.push(run.total_ms().unwrap_or(0.0));
        pages = run.root().blocks().map_or(0.0, |(hit, read)| hit + read);
    }
    warm.sort_by(f64::total_cmp);
    Ok(Measured {
        plan,
        first_ms,
        warm_ms: warm,
        pages,
    })
}

/// What the query returns, as a fingerprint made inside the server.
///
/// # Errors
/// What the server says.
pub async fn fingerprint(
    client: &impl GenericClient,
    statement: &Statement,
) -> Result<Fingerprint> {
    // A line of its own for what follows: the query may end in a comment. `q.*` is the row;
    // `q` alone would be a column that the query calls so.
    let sql = format!(
        "select count(*), coalesce(sum(h), 0)::text || ' ' || coalesce(sum(g), 0)::text, \
                coalesce(sum(hashint8extended(h, n)::numeric), 0)::text \
         from (select hashtextextended((q.*)::text, 0) as h, hashtextextended((q.*)::text, 7919) as g, \
                      row_number() over () as n \
               from (\n{}\n) q) r",
        statement.text
    );
    let row = client
        .query_one(&sql, &statement.arguments())
        .await
        .context("hashing the result")?;
    Ok(Fingerprint {
        rows: row.get(0),
        any_order: row.get(1),
        in_order: row.get(2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_another_order_are_the_same_rows() {
        let print = |rows, any: &str, order: &str| Fingerprint {
            rows,
            any_order: any.to_owned(),
            in_order: order.to_owned(),
        };
        let one = print(2, "a", "x");
        assert_eq!(one.compare(&print(2, "a", "x")), Equality::Identical);
        assert_eq!(one.compare(&print(2, "a", "y")), Equality::SameRows);
        assert_eq!(one.compare(&print(2, "b", "x")), Equality::Different);
        assert_eq!(one.compare(&print(3, "a", "x")), Equality::Different);
    }

    #[test]
    fn slow_queries_are_run_less_often() {
        let effort = Effort {
            runs: 5,
            timeout: Duration::from_secs(1),
        };
        assert_eq!(effort.runs_of(20_000.0), 1);
        assert_eq!(effort.runs_of(50.0), 5);
        assert_eq!(effort.runs_of(0.1), 30);
    }
}
