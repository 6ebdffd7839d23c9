//! The story of the split in place, from the first switch on: back to the old column,
//! to the new table again, and the column dropped, under an application that never
//! stops.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::answers::{Finish, Verification};
use super::{Story, Way};
use crate::demo::shop;
use crate::error::{Context, Error, Kind, Result};

/// How often the contract migration asks for its lock.
const ATTEMPTS: u32 = 20;

impl Story {
    pub(super) async fn in_place(&mut self, mut stall: Duration) -> Result<()> {
        self.verify_reverse().await?;
        stall = stall.max(self.switch(Way::Back).await?);
        if self.summary.is_switched_back() {
            stall = stall.max(self.switch(Way::There).await?);
        }
        if !self.summary.good() {
            return self.check_application(stall).await;
        }
        if self.options.load.is_none() {
            self.compare_by_sql().await?;
        }
        let contract = self.finish_in_place().await?;
        self.contract(&contract).await?;
        // From now on the application cannot use the old column even by mistake.
        if let Some(application) = &self.application {
            self.display
                .begin("the application goes on without the column");
            tokio::time::sleep(self.options.settle).await;
            stall = stall.max(application.tally().take_longest());
            self.display.done("");
        }
        self.check_application(stall).await?;
        self.display
            .begin("add and validate the foreign key of the lines");
        shop::migrate(&mut self.client, &[shop::LINES_FOREIGN_KEY]).await?;
        self.display.done("");
        Ok(())
    }

    /// Whether the old column is what the new table makes of it, while the application
    /// writes the new table.
    async fn verify_reverse(&mut self) -> Result<()> {
        self.display.begin("crossfade verify --reverse");
        let ended = self.program.ended(&["verify", "--reverse"]).await?;
        let answer: Verification = ended.json("verify --reverse")?;
        self.display.done(&answer.result);
        self.summary.reverse_verification = Some(answer.result);
        Ok(())
    }

    /// Ends the migration; returns the path of what drops the moved column.
    async fn finish_in_place(&mut self) -> Result<std::path::PathBuf> {
        self.saw_status().await;
        self.display.begin("crossfade finish");
        let ended = self.program.ended(&["finish"]).await?;
        ended.success("finish")?;
        let answer: Finish = ended.json("finish")?;
        if let Some(daemon) = self.daemon.take() {
            daemon.stop().await?;
        }
        let path = answer.contracts.into_iter().next().ok_or_else(|| {
            Error::new(Kind::Data, "`crossfade finish` wrote no contract migration")
        })?;
        self.display.done(&format!("wrote {}", path.display()));
        Ok(path)
    }

    /// Shows the contract migration and applies it as the shop's other migrations are.
    async fn contract(&mut self, path: &Path) -> Result<()> {
        let sql = fs::read_to_string(path).context(format!("reading {}", path.display()))?;
        self.display.show(&sql);
        self.display.begin("apply the contract migration");
        for attempt in 1.. {
            let tx = self.client.transaction().await?;
            match tx.batch_execute(&sql).await {
                Ok(()) => {
                    tx.commit().await?;
                    break;
                }
                Err(e) => {
                    let e = Error::from(e);
                    tx.rollback().await?;
                    if !e.is_sqlstate("55P03") || attempt == ATTEMPTS {
                        return Err(e.context("applying the contract migration"));
                    }
                }
            }
        }
        self.client.batch_execute("reset lock_timeout").await?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.summary.contract = Some(name.into_owned());
        self.display.done("");
        Ok(())
    }
}
