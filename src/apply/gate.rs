//! The release gate: a transaction is applied only once it is visible.
//!
//! Its commit can reach the stream before the server shows it to snapshots (the
//! commit record is written first; waiting for a synchronous standby that gap is
//! long). Without the gate a change could be dropped because its chunk is yet to
//! be copied, and then be missed by that copy's snapshot.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Client;

use super::stats::Stats;
use crate::error::{Context, Result};
use crate::failpoint;
use crate::pg::{Snapshot, widen_xid};

/// Waits until a fresh snapshot of the source sees every one of these transactions;
/// returns their 64-bit ids.
///
/// # Errors
/// Connection errors of the source.
pub async fn pass(source: &Client, xids: &[u32], stats: &Stats) -> Result<HashMap<u32, u64>> {
    let mut pause = Duration::from_micros(500);
    let mut waits = false;
    loop {
        let row = source
            .query_one("select pg_current_snapshot()::text", &[])
            .await
            .context("reading a snapshot of the source")?;
        let snapshot: Snapshot = row.get::<_, &str>(0).parse()?;
        let wide: HashMap<u32, u64> = xids
            .iter()
            .map(|&x| (x, widen_xid(x, snapshot.xmax)))
            .collect();
        let gated = if failpoint::omitted("release_gate") {
            &[]
        } else if failpoint::omitted("release_gate_rest") {
            &xids[..1.min(xids.len())]
        } else {
            xids
        };
        let hidden = gated.iter().find(|x| !snapshot.sees(wide[x]));
        let Some(hidden) = hidden else {
            if waits {
                stats.waiting(None);
            }
            return Ok(wide);
        };
        if pause >= Duration::from_millis(16) && !waits {
            waits = true;
            stats.waiting(Some(format!(
                "transaction {} has committed but is not visible yet: does a synchronous standby hang?",
                wide[hidden]
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
