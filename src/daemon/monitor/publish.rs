//! Once a second: what was measured goes into the state and to Prometheus.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::Monitor;
use crate::copy::throttle::Hold;
use crate::daemon::errors;
use crate::error::Result;
use crate::metrics::{process, table, value};
use crate::state::Migration;

impl Monitor<'_> {
    pub(super) async fn publish(&self, row: &Migration) -> Result<()> {
        let held = self.verifying.hold.as_ref();
        let standing = held
            .filter(|_| self.verifying.share == 0.0)
            .map(|hold| hold.reason.as_str());
        let sessions: i64 = self
            .owner
            .query_one(
                "with told as (
                   update crossfade.daemon
                   set seen_at = clock_timestamp(), waiting = $2, lag_seconds = $3, lag_bytes = $4,
                       max_lag_seconds = greatest(max_lag_seconds, $3), throttled = $5,
                       live = $6::text::jsonb, errors = $7::text::jsonb
                   where migration_id = $1)
                 select count(*) from pg_catalog.pg_stat_activity
                 where application_name like 'crossfade %'",
                &[
                    &row.id,
                    &self.now.waiting,
                    &self.now.lag_seconds,
                    &i64::try_from(self.now.lag_bytes).unwrap_or(i64::MAX),
                    &standing,
                    &self.live().to_string(),
                    &errors::all().to_string(),
                ],
            )
            .await?
            .get(0);
        table::CONNECTIONS.set_count(usize::try_from(sessions).unwrap_or(0));
        self.gauges(row);
        Ok(())
    }

    /// What `status` shows of the running daemon.
    fn live(&self) -> Value {
        let stage = |(seconds, bytes): (f64, u64)| json!({"seconds": seconds, "bytes": bytes});
        let eta = self.progress.eta(self.left()).filter(|_| self.copying());
        let process = process::read().unwrap_or_default();
        json!({
            "rows_per_second": self.now.rate.filter(|_| self.copying()),
            "eta": eta.map(|e| json!({"likely": e.likely, "low": e.low, "high": e.high})),
            "lag": {
                "received": stage(self.stages[0]),
                "decoded": stage(self.stages[1]),
                "applied": stage((self.now.lag_seconds, self.now.lag_bytes)),
            },
            "throttle": {
                "pace": self.pace.share,
                "hold": self.pace.hold.as_ref().map(hold),
                "verification": {
                    "pace": self.verifying.share,
                    "hold": self.verifying.hold.as_ref().map(hold),
                },
                "pressure": self.signals.iter().map(|s| (s.kind.name(), s.pressure))
                    .collect::<std::collections::BTreeMap<_, _>>(),
            },
            "slot": self.slot.shown(),
            "process": {"resident_bytes": process.resident_bytes,
                        "cpu_seconds": process.cpu_seconds},
        })
    }

    fn copying(&self) -> bool {
        !self.complete.iter().all(|c| *c)
    }

    fn left(&self) -> i64 {
        (self.now.estimated - self.now.rows).max(0)
    }

    fn gauges(&self, row: &Migration) {
        table::PHASE.set_only(row.phase.name());
        table::ROLE.set_only(self.now.role.name());
        let count = |n: i64| value(usize::try_from(n).unwrap_or(0));
        table::COPY_ROWS.set(count(self.now.rows));
        table::COPY_ROWS_ESTIMATED.set(count(self.now.estimated));
        table::CHUNKS.set_for("copied", count(self.now.copied));
        table::CHUNKS.set_for("pending", count(self.now.pending));
        let rate = self.now.rate.filter(|_| self.copying()).unwrap_or(0.0);
        table::COPY_RATE.set(rate);
        if let Some(eta) = self.progress.eta(self.left()) {
            let open = if self.copying() { 1.0 } else { 0.0 };
            table::COPY_ETA.set_for("likely", eta.likely * open);
            table::COPY_ETA.set_for("low", eta.low * open);
            table::COPY_ETA.set_for("high", eta.high * open);
        }
        let bytes = |n: u64| value(usize::try_from(n).unwrap_or(usize::MAX));
        let applied = (self.now.lag_seconds, self.now.lag_bytes);
        let stages = [self.stages[0], self.stages[1], applied];
        for (stage, (seconds, behind)) in table::STAGES.iter().zip(stages) {
            table::LAG_SECONDS.set_for(stage, seconds);
            table::LAG_BYTES.set_for(stage, bytes(behind));
        }
        table::COPY_PACE.set(self.pace.share);
        let holding = self.pace.hold.as_ref().map_or("", |h| h.kind.name());
        table::COPY_THROTTLED.set(if holding.is_empty() { 0.0 } else { 1.0 });
        table::THROTTLE_HOLDING.set_only(holding);
        for known in table::SIGNALS {
            let signal = self.signals.iter().find(|s| s.kind.name() == *known);
            table::THROTTLE_PRESSURE.set_for(known, signal.map_or(0.0, |s| s.pressure));
        }
    }
}

fn hold(hold: &Hold) -> Value {
    let since = hold.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({"signal": hold.kind.name(), "reason": hold.reason, "since": since.as_secs_f64(),
           "seconds": hold.since.elapsed().unwrap_or_default().as_secs_f64()})
}
