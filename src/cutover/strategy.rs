//! What a switch does to names and guards, inside its transaction: one file a
//! strategy, each with the locks it needs.

pub mod checks;
pub mod columns;
pub mod contract;
pub mod mandatory;
pub mod rename;
pub mod sql;
pub mod view;

use tokio_postgres::Client;

use super::Direction;
use super::gates::{Check, check};
use crate::config::{Config, Strategy, old_name};
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, QualifiedName};
use crate::phase::Phase;
use crate::state::{ChunkTable, Migration};
use crate::transform::Plan;

/// How strongly a table is locked while the switch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Keeps writers out; readers go on.
    Exclusive,
    /// Keeps everybody out: the table's name or shape changes.
    AccessExclusive,
}

impl LockMode {
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::AccessExclusive => "access exclusive",
        }
    }
}

/// A table to lock, in the mode that it is needed in: a lock that is raised later
/// deadlocks with transactions that read first and write then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub table: QualifiedName,
    pub mode: LockMode,
}

impl Lock {
    /// `LOCK TABLE`.
    #[must_use]
    pub fn sql(&self) -> String {
        format!(
            "lock table {} in {} mode",
            self.table.sql(),
            self.mode.sql()
        )
    }
}

/// Every lock that the switch needs, each table once.
///
/// Forward, nobody but crossfade writes the targets yet: the sources are enough.
/// Back, the application writes the targets, and what changes its name is locked too.
#[must_use]
pub fn locks(config: &Config, plan: &Plan, direction: Direction) -> Vec<Lock> {
    let lock = |table: &QualifiedName, mode| Lock {
        table: table.clone(),
        mode,
    };
    let mut locks = vec![lock(&plan.source.name, LockMode::AccessExclusive)];
    if direction == Direction::Back {
        if config.switch.strategy == Strategy::View {
            // The view under the old name: its users end first.
            locks.insert(0, lock(&plan.module.source, LockMode::AccessExclusive));
        }
        for target in &plan.targets {
            let renamed = matches!(config.switch.strategy, Strategy::Rename | Strategy::View)
                && target.rename_to.is_some();
            let mode = if renamed || config.switch.strategy == Strategy::Sql {
                LockMode::AccessExclusive
            } else {
                LockMode::Exclusive
            };
            locks.push(lock(&target.table.name, mode));
        }
    }
    locks
}

/// What a switch has done can only be taken back, or tidied up, by the strategy that it went
/// by: another one would leave tables under the wrong names and guards where they were.
///
/// # Errors
/// [`Kind::Config`] where the migration is switched by another one than configured.
pub fn agrees(config: &Config, migration: &Migration) -> Result<()> {
    let configured = config.switch.strategy.name();
    match &migration.strategy {
        Some(by) if migration.phase == Phase::Switched && by != configured => Err(Error::new(
            Kind::Config,
            format!(
                "migration {} was switched by strategy \"{by}\", the configuration says \"{configured}\"",
                migration.name
            ),
        )
        .remedy(format!(
            "set strategy = \"{by}\" in [switch] until the migration is finished or switched back"
        ))),
        _ => Ok(()),
    }
}

/// Changes names and guards as the strategy says, in the switch's open transaction.
/// The targets' guards look at the phase and need not be touched.
///
/// # Errors
/// The server's.
pub async fn apply(
    client: &Client,
    config: &Config,
    plan: &Plan,
    chunks: &ChunkTable,
    direction: Direction,
) -> Result<()> {
    match config.switch.strategy {
        Strategy::Rename => rename::apply(client, plan, direction).await,
        Strategy::Sql => sql::apply(client, plan, direction).await,
        Strategy::Columns => columns::apply(client, plan, chunks.source_id, direction).await,
        Strategy::View => view::apply(client, plan, chunks.source_id, direction).await,
    }
}

/// What is left to do once the switch has committed, and nobody waits for any more: none
/// of it decides whether the switch took place. Running the switch again runs it again.
pub async fn afterwards(
    config: &Config,
    info: &ConnInfo,
    migration: i32,
    direction: Direction,
) -> Option<Check> {
    if direction == Direction::Forward {
        return None;
    }
    // What one strategy has left may be met under another one: a migration that is back may
    // be switched or given up by a configuration that was changed.
    Some(match mandatory::restore(info, migration).await {
        Ok(0) if config.switch.strategy != Strategy::Columns => return None,
        Ok(columns) => check(
            "NOT NULL",
            true,
            format!("{columns} columns are mandatory again"),
            "",
        ),
        Err(e) => check("NOT NULL", false, e.to_string(), e.what_to_do()),
    })
}

/// The row targets' names after the switch, for a guard's message.
fn instead(plan: &Plan) -> String {
    let names: Vec<_> = plan
        .row_targets()
        .map(|(_, t)| t.rename_to.as_ref().unwrap_or(&t.table.name).to_string())
        .collect();
    names.join(", ")
}

/// The source's name while the new schema is in charge.
#[must_use]
pub fn aside(plan: &Plan) -> QualifiedName {
    old_name(&plan.module.source)
}
