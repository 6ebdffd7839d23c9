//! Writes the rows of one group of changes and keeps the quarantine in step with
//! what the targets took, all in the applier's open transaction.

use super::{Applier, Quarantined, SetAside, rejection};
use crate::apply::reread::{self, Read};
use crate::error::Result;
use crate::state::checkpoint::Leg;
use crate::state::quarantine::{self, Reason};
use crate::write::rows::key_strings;
use crate::write::{Change, Rejected, Text};

impl Applier {
    pub(super) async fn write_group(
        &mut self,
        source: usize,
        active: &[usize],
        changes: &[Change],
        quarantined: &Quarantined,
    ) -> Result<()> {
        let plan = self.fences[source].plan.clone();
        let refs: Vec<&Change> = changes.iter().collect();
        let mut rejected = self.session.merge(&plan, active, &refs).await?;
        if !rejected.is_empty() && active.len() < plan.targets.len() {
            // The rows of some targets are gone now and the images cannot rebuild
            // the others: read these rows whole and write all their targets.
            let keys: Vec<Vec<Text>> = refs
                .iter()
                .filter(|c| rejected.iter().any(|r| same(&r.key, &c.key)))
                .map(|c| c.key.clone())
                .collect();
            let read = reread::read(
                &self.source,
                &self.session.client,
                self.migration,
                &plan,
                &keys,
                &self.stats,
            );
            match read.await? {
                Read::Rows(rows) => {
                    let all: Vec<usize> = (0..plan.targets.len()).collect();
                    let rows: Vec<&Change> = rows.iter().collect();
                    rejected = self.session.merge(&plan, &all, &rows).await?;
                }
                Read::Locked => {
                    for key in &keys {
                        self.set_aside_locked(source, key).await?;
                    }
                    rejected.clear();
                }
            }
        }
        self.quarantine(source, changes, rejected, quarantined)
            .await
    }

    /// Remembers what was refused, forgets what is written now.
    async fn quarantine(
        &mut self,
        source: usize,
        changes: &[Change],
        rejected: Vec<Rejected>,
        quarantined: &Quarantined,
    ) -> Result<()> {
        let source_id = self.fences[source].chunks.source_id;
        if !quarantined.is_empty() {
            for change in changes {
                let key = key_strings(&change.key)?;
                let entry = (source_id, key);
                if quarantined.contains(&entry) && !rejected.iter().any(|r| r.key == entry.1) {
                    quarantine::clear(&self.session.client, source_id, &entry.1).await?;
                }
            }
        }
        for row in rejected {
            quarantine::put(
                &self.session.client,
                &rejection(source_id, Leg::Forward, row),
            )
            .await?;
            crate::metrics::table::QUARANTINED_TOTAL.add(1);
        }
        Ok(())
    }

    pub(super) async fn set_aside_locked(&mut self, source: usize, key: &[Text]) -> Result<()> {
        let entry = SetAside {
            source_id: self.fences[source].chunks.source_id,
            leg: Leg::Forward,
            key: key_strings(key)?,
            reason: Reason::Locked,
            sqlstate: "55P03".to_owned(),
            message: "the source is locked by a switch".to_owned(),
            retry: false,
        };
        quarantine::put(&self.session.client, &entry).await
    }
}

fn same(strings: &[String], key: &[Text]) -> bool {
    strings.len() == key.len()
        && strings
            .iter()
            .zip(key)
            .all(|(s, k)| s.as_bytes() == k.as_ref())
}
