//! Another try for rows that were set aside.

use std::collections::HashSet;

use super::Applier;
use crate::apply::reread::{self, Read};
use crate::apply::resolve::Quarantined;
use crate::error::Result;
use crate::state::checkpoint::{self, Advance, Leg};
use crate::state::quarantine::{self, Reason};
use crate::write::Text;
use crate::write::rows::key_strings;

impl Applier {
    /// Tries rows again that were set aside for a while, or by request: their
    /// present row is read and written in a transaction that holds the checkpoint.
    pub(super) async fn retry_set_aside(&mut self) -> Result<()> {
        let entries = quarantine::list(&self.session.client, self.migration).await?;
        crate::metrics::table::QUARANTINE_ROWS.set_count(entries.len());
        for source in 0..self.fences.len() {
            let plan = self.fences[source].plan.clone();
            let id = self.fences[source].chunks.source_id;
            let keys: Vec<Vec<Text>> = entries
                .iter()
                .filter(|e| e.source_id == id && e.leg == Leg::Forward)
                .filter(|e| e.retry || e.reason != Reason::Bad)
                .map(|e| e.key.iter().map(|k| Text::from(k.clone())).collect())
                .collect();
            if keys.is_empty() {
                continue;
            }
            let read = reread::read(
                &self.source,
                &self.session.client,
                self.migration,
                &plan,
                &keys,
                &self.stats,
            );
            let Read::Rows(rows) = read.await? else {
                continue;
            };
            let quarantined: Quarantined = entries
                .iter()
                .map(|e| (e.source_id, e.key.clone()))
                .collect();
            let all: Vec<usize> = (0..plan.targets.len()).collect();
            self.session.begin().await?;
            // A row whose key now reads differently is remembered as it reads now.
            let written: HashSet<_> = rows.iter().map(|row| &row.key).collect();
            for key in keys.iter().filter(|key| !written.contains(key)) {
                quarantine::clear(&self.session.client, id, &key_strings(key)?).await?;
            }
            self.write_group(source, &all, &rows, &quarantined).await?;
            self.log_retried(source, &rows).await?;
            // A swap of the checkpoint for itself: only its owner may write.
            let hold = Advance {
                to: self.checkpoint,
                ..Advance::default()
            };
            checkpoint::advance(
                &self.session.client,
                self.migration,
                Leg::Forward,
                self.checkpoint,
                &hold,
            )
            .await?;
            self.session.client.batch_execute("commit").await?;
        }
        Ok(())
    }
}
