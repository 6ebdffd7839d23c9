//! Rebuilds rows of the source from the targets: the way back.

use std::sync::Arc;

use super::rows::{Rejected, Text, key_arrays, key_strings};
use super::session::{Parameter, Session};
use crate::error::{Error, Kind, Result};
use crate::transform::{Plan, Reverse};

impl Session {
    /// Makes the source's rows of these keys what the reverse makes of the targets'
    /// present rows, in the open transaction. Rows that the source refuses are
    /// isolated and returned, the rest is written. `back` is the reverse's view.
    ///
    /// Keys must be distinct under the server's equality.
    ///
    /// # Errors
    /// Whatever is not one row's fault; [`Kind::Module`] without a reverse.
    pub async fn restore(
        &mut self,
        plan: &Arc<Plan>,
        back: &str,
        keys: &[Vec<Text>],
    ) -> Result<Vec<Rejected>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let reverse = plan.reverse.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Module,
                format!("module {} has no [reverse]", plan.module.name),
            )
        })?;
        let sql = plan.restore(reverse, back);
        match self.try_keys(plan, &sql, keys).await? {
            None => Ok(Vec::new()),
            Some(_) => self.restore_apart(plan, reverse, back, keys).await,
        }
    }

    /// The way round a violation: the rows are removed first, so that unique values
    /// can move between them in any order, then written in halves until what still
    /// fails stands alone. Rows that stay (split in place) are not removed.
    async fn restore_apart(
        &mut self,
        plan: &Arc<Plan>,
        reverse: &Reverse,
        back: &str,
        keys: &[Vec<Text>],
    ) -> Result<Vec<Rejected>> {
        if !plan.module.moved.is_empty() {
            let sql = plan.restore(reverse, back);
            return Ok(self.isolate(plan, &sql, keys).await?.1);
        }
        // A key that the source's type cannot hold fails even here: it has no row there.
        let (known, mut rejected) = self.isolate(plan, &plan.unrestore(), keys).await?;
        let sql = plan.restore_removed(reverse, back);
        rejected.extend(self.isolate(plan, &sql, &known).await?.1);
        Ok(rejected)
    }

    /// Runs a statement over keys, in halves where one of them is at fault: returns the
    /// keys for which it ran, and the others with their errors.
    async fn isolate(
        &mut self,
        plan: &Plan,
        sql: &str,
        keys: &[Vec<Text>],
    ) -> Result<(Vec<Vec<Text>>, Vec<Rejected>)> {
        let (mut done, mut rejected) = (Vec::new(), Vec::new());
        let mut open = vec![keys];
        while let Some(part) = open.pop() {
            if part.is_empty() {
                continue;
            }
            let Some(error) = self.try_keys(plan, sql, part).await? else {
                done.extend_from_slice(part);
                continue;
            };
            if let [only] = part {
                rejected.push(Rejected {
                    key: key_strings(only)?,
                    error,
                });
            } else {
                let (left, right) = part.split_at(part.len() / 2);
                open.push(right);
                open.push(left);
            }
        }
        Ok((done, rejected))
    }

    /// Under a savepoint; a row's fault is returned with the transaction as before.
    async fn try_keys(
        &mut self,
        plan: &Plan,
        sql: &str,
        keys: &[Vec<Text>],
    ) -> Result<Option<Error>> {
        self.client.batch_execute("savepoint attempt").await?;
        match self.run_keys(plan, sql, keys).await {
            Ok(()) => {
                self.client
                    .batch_execute("release savepoint attempt")
                    .await?;
                Ok(None)
            }
            Err(e) if e.is_bad_row() => {
                self.client
                    .batch_execute("rollback to savepoint attempt; release savepoint attempt")
                    .await?;
                Ok(Some(e))
            }
            Err(e) => Err(e),
        }
    }

    async fn run_keys(&mut self, plan: &Plan, sql: &str, keys: &[Vec<Text>]) -> Result<()> {
        let arrays = key_arrays(keys.iter().map(Vec::as_slice), plan.key.len())?;
        let parameters: Vec<Parameter<'_>> = arrays.iter().map(|a| a as Parameter<'_>).collect();
        self.run(sql, &parameters).await.map(drop)
    }
}
