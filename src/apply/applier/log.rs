//! The change log: which keys were written, by which transaction last, in the
//! transaction that writes them.

use tokio_postgres::types::ToSql;

use super::Applier;
use crate::apply::resolve::Logged;
use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;
use crate::transform::sql::Range;
use crate::write::Change;
use crate::write::rows::key_arrays;

impl Applier {
    pub(super) async fn log(&mut self, source: usize, logged: &[Logged]) -> Result<()> {
        if logged.is_empty() {
            return Ok(());
        }
        let fence = &self.fences[source];
        let keys = key_arrays(
            logged.iter().map(|l| l.key.as_slice()),
            fence.plan.key.len(),
        )?;
        let xids: Vec<String> = logged.iter().map(|l| l.xid.to_string()).collect();
        let lsns: Vec<String> = logged.iter().map(|l| l.lsn.to_string()).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        for array in &keys {
            parameters.push(array);
        }
        parameters.push(&xids);
        parameters.push(&lsns);
        let sql = fence.plan.log_changes(&fence.chunks.change_log());
        let types = vec![postgres_types::Type::TEXT_ARRAY; parameters.len()];
        let statement = self.session.prepare(&sql, &types).await?;
        self.session.client.execute(&statement, &parameters).await?;
        Ok(())
    }

    /// Logs keys that no change of the stream brought: they were not compared while
    /// they were set aside. The transaction named is the present one, which nobody
    /// has seen; the position is one that no earlier verification covers.
    pub(super) async fn log_retried(&mut self, source: usize, rows: &[Change]) -> Result<()> {
        let row = self
            .session
            .client
            .query_one("select pg_current_xact_id()::text", &[])
            .await?;
        let xid = row
            .get::<_, &str>(0)
            .parse()
            .map_err(|_| Error::new(Kind::Protocol, "the server sent no transaction id"))?;
        let logged: Vec<Logged> = rows
            .iter()
            .map(|row| Logged {
                key: row.key.clone(),
                xid,
                lsn: self.checkpoint,
            })
            .collect();
        self.log(source, &logged).await
    }

    pub(super) async fn truncate(
        &mut self,
        source: usize,
        ranges: &[Range],
        xid: u64,
        lsn: Lsn,
    ) -> Result<()> {
        let fence = &self.fences[source];
        let (xid, lsn) = (xid.to_string(), lsn.to_string());
        for range in ranges {
            let bounds = range.parameters();
            let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
            for bound in &bounds {
                parameters.push(bound);
            }
            let delete = fence.plan.delete_range(range.shape());
            let count = parameters.len();
            parameters.push(&xid);
            parameters.push(&lsn);
            for sql in fence
                .plan
                .log_range(&fence.chunks.change_log(), range.shape())
            {
                self.session.client.execute(&sql, &parameters).await?;
            }
            self.session
                .client
                .execute(&delete, &parameters[..count])
                .await?;
        }
        // Rows set aside are truncated with the rest.
        if !ranges.is_empty() {
            let id = fence.chunks.source_id;
            self.session
                .client
                .execute(
                    "update crossfade.quarantine set retry = true where source_id = $1",
                    &[&id],
                )
                .await?;
        }
        Ok(())
    }
}
