//! Physical standbys, and how far they are behind.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::Lsn;
use super::ends::Ends;
use crate::error::Result;

/// Streaming physical standbys and where they have replayed to.
#[derive(Debug, Default)]
pub struct Standbys {
    ends: HashMap<String, Ends>,
}

impl Standbys {
    /// The one furthest behind, with seconds: what the server says, or since when the
    /// log's end has been beyond its replay, whichever is more. The server's figure
    /// stands still with a replay that does. What is seen between two looks is shorter
    /// than `noise`, and none.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn slowest(
        &mut self,
        client: &Client,
        noise: Duration,
    ) -> Result<Option<(String, f64)>> {
        let rows = client
            .query(
                "select coalesce(nullif(r.application_name, ''), r.pid::text), r.replay_lsn,
                        coalesce(extract(epoch from r.replay_lag), 0)::float8,
                        pg_catalog.pg_current_wal_flush_lsn()
                 from pg_catalog.pg_stat_replication r
                 where r.state in ('streaming', 'catchup') and r.replay_lsn is not null
                   and r.application_name not like 'crossfade %'
                   and not exists (select from pg_catalog.pg_replication_slots s
                                   where s.active_pid = r.pid and s.slot_type = 'logical')",
                &[],
            )
            .await?;
        let now = Instant::now();
        let mut slowest: Option<(String, f64)> = None;
        let mut seen = HashMap::new();
        for row in &rows {
            let name: String = row.get(0);
            let replayed: Lsn = row.get::<_, PgLsn>(1).into();
            let mut ends = self.ends.remove(&name).unwrap_or_default();
            ends.see(now, row.get::<_, PgLsn>(3).into(), replayed);
            let seconds = ends.behind(now, replayed, noise).max(row.get(2));
            if slowest.as_ref().is_none_or(|s| seconds > s.1) {
                slowest = Some((name.clone(), seconds));
            }
            seen.insert(name, ends);
        }
        self.ends = seen;
        Ok(slowest)
    }
}
