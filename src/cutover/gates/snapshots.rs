//! Transactions that go on seeing what was there before the switch.

use tokio_postgres::Client;

use super::{Check, Verdict, check as gate};
use crate::error::Result;

/// Those that keep their snapshot between two statements (REPEATABLE READ, SERIALIZABLE,
/// an open cursor). One that is at work may just have the snapshot of its statement.
const KEPT: &str = "
select pid, coalesce(application_name, ''),
       extract(epoch from clock_timestamp() - xact_start)::float8
from pg_catalog.pg_stat_activity
where datname = current_database() and backend_xmin is not null
  and state like 'idle in transaction%'
  and pid <> pg_catalog.pg_backend_pid() and application_name not like 'crossfade %'
order by xact_start limit 20";

/// Never more than a note: it is a matter of what they read, and they may have ended by then.
pub(super) async fn check(client: &Client) -> Result<Check> {
    let rows = client.query(KEPT, &[]).await?;
    if rows.is_empty() {
        let sees: bool = client
            .query_one(
                "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')",
                &[],
            )
            .await?
            .get(0);
        let found = if sees {
            "no idle transaction keeps a snapshot"
        } else {
            "no idle transaction of this role keeps a snapshot; others' cannot be seen without pg_read_all_stats"
        };
        return Ok(gate("snapshots", true, found, ""));
    }
    let (mut names, mut ends) = (Vec::new(), Vec::new());
    for row in &rows {
        let (pid, application): (i32, String) = (row.get(0), row.get(1));
        let seconds: f64 = row.get(2);
        names.push(format!("pid {pid} ({application:?}, {seconds:.1} s)"));
        ends.push(format!("SELECT pg_terminate_backend({pid})"));
    }
    let mut note = gate(
        "snapshots",
        true,
        format!(
            "idle in a transaction with a snapshot of before the switch: {}: until it ends, such a transaction reads under the new names what had been written there when its snapshot was taken, without changes that the stream brought later",
            names.join(", ")
        ),
        format!(
            "where it must not read what is out of date, let it end before the switch, or {}",
            ends.join("; ")
        ),
    );
    note.verdict = Verdict::Note;
    Ok(note)
}
