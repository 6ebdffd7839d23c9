//! Rows that the applier could not read because of our locks: written by the switch
//! itself, and logged like everything else that is written, so that they are compared
//! with the rest.

use tokio_postgres::types::{ToSql, Type};

use super::{Body, Failure};
use crate::apply::reread::present_rows;
use crate::cutover::Direction;
use crate::error::Result;
use crate::pg::Lsn;
use crate::state::ChunkTable;
use crate::state::quarantine::{self, Reason};
use crate::transform::Plan;
use crate::write::rows::{key_arrays, key_strings};
use crate::write::{Change, Session, Text};

impl Body<'_> {
    /// `start` is where the checkpoint was handed over: a position that no earlier
    /// verification covers.
    pub(super) async fn finish_locked(
        &self,
        session: &mut Session,
        start: Lsn,
    ) -> Result<(), Failure> {
        let entries = quarantine::list(&session.client, self.prepared.migration.id).await?;
        let leg = self.prepared.direction.leg();
        for (plan, chunks) in &self.prepared.sources {
            let mut keys: Vec<Vec<Text>> = entries
                .iter()
                .filter(|e| e.source_id == chunks.source_id && e.reason != Reason::Bad)
                .filter(|e| e.leg == leg)
                .map(|e| e.key.iter().map(|k| Text::from(k.clone())).collect())
                .collect();
            if keys.is_empty() {
                continue;
            }
            for key in &keys {
                quarantine::clear(&session.client, chunks.source_id, &key_strings(key)?).await?;
            }
            let rejected = match self.prepared.direction {
                Direction::Forward => {
                    let rows = present_rows(&session.client, plan, &keys).await?;
                    keys = rows.iter().map(|row| row.key.clone()).collect();
                    let rows: Vec<&Change> = rows.iter().collect();
                    let all: Vec<usize> = (0..plan.targets.len()).collect();
                    session.merge(plan, &all, &rows).await?
                }
                Direction::Back => {
                    let view = ChunkTable::back_view(chunks.source_id);
                    session.restore(plan, &view, &keys).await?
                }
            };
            // What is set aside again is not compared, and perhaps no key of the source.
            keys.retain(|key| !rejected.iter().any(|row| same(key, &row.key)));
            log(session, plan, chunks, &keys, start).await?;
            for row in rejected {
                let entry = crate::apply::applier::rejection(chunks.source_id, leg, row);
                quarantine::put(&session.client, &entry).await?;
            }
        }
        Ok(())
    }
}

fn same(key: &[Text], strings: &[String]) -> bool {
    key.len() == strings.len()
        && key
            .iter()
            .zip(strings)
            .all(|(k, s)| k.as_ref() == s.as_bytes())
}

/// Logs keys as written by the present transaction.
async fn log(
    session: &mut Session,
    plan: &Plan,
    chunks: &ChunkTable,
    keys: &[Vec<Text>],
    at: Lsn,
) -> Result<()> {
    let xid: String = session
        .client
        .query_one("select pg_current_xact_id()::text", &[])
        .await?
        .get(0);
    let arrays = key_arrays(keys.iter().map(Vec::as_slice), plan.key.len())?;
    let xids = vec![xid; keys.len()];
    let lsns = vec![at.to_string(); keys.len()];
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        arrays.iter().map(|a| a as &(dyn ToSql + Sync)).collect();
    parameters.push(&xids);
    parameters.push(&lsns);
    let types = vec![Type::TEXT_ARRAY; parameters.len()];
    let sql = plan.log_changes(&chunks.change_log());
    let statement = session.prepare(&sql, &types).await?;
    session.client.execute(&statement, &parameters).await?;
    Ok(())
}
