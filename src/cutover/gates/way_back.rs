//! Whether the switch can be taken back, and what that needs.

use tokio_postgres::Client;

use super::{Check, Verdict, check as gate};
use crate::config::Config;
use crate::cutover::Direction;
use crate::error::Result;
use crate::pg::slot::{self, SlotInfo, WalStatus};
use crate::transform::Plan;

/// Forward: the slot of the way back has to exist before the lock is asked for, since
/// making one waits for open transactions; without a reverse it is said that there is
/// no way back. Back: every module must have one.
pub(super) async fn check(
    client: &Client,
    config: &Config,
    plans: &[&Plan],
    direction: Direction,
) -> Result<Check> {
    let without: Vec<&str> = plans
        .iter()
        .filter(|plan| plan.reverse.is_none())
        .map(|plan| plan.module.name.as_str())
        .collect();
    let said = |verdict, found: String, remedy: &str| Check {
        name: "way_back",
        verdict,
        found,
        remedy: remedy.to_owned(),
    };
    if !without.is_empty() {
        let verdict = match direction {
            Direction::Forward => Verdict::Note,
            Direction::Back => Verdict::Failed,
        };
        return Ok(said(
            verdict,
            format!(
                "there is no way back: no [reverse] in module {}",
                without.join(", ")
            ),
            "the old table is not kept up to date after the switch; a way back needs a [reverse] in every module from the start",
        ));
    }
    // Back, it is the slot of the way forward that must be there, to go on with.
    let name = match direction {
        Direction::Forward => config.back_slot(),
        Direction::Back => config.slot(),
    };
    let found = slot::read(client, &name).await?;
    let usable = found.as_ref().is_some_and(SlotInfo::is_ready);
    let lost = found
        .as_ref()
        .is_some_and(|slot| slot.wal_status == Some(WalStatus::Lost));
    let text = match (&found, usable) {
        (None, _) => format!("the slot {name} is not there yet"),
        (Some(_), false) if lost => format!("the slot {name} has lost WAL that it needs"),
        (Some(_), false) => {
            format!("the slot {name} is being made: it waits for transactions that are writing")
        }
        (Some(_), true) => format!("the slot {name} is ready"),
    };
    let verdict = if usable {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let remedy = match direction {
        Direction::Forward => {
            "the daemon makes it once the copy is complete; transactions that have been writing since before that have to end first"
        }
        Direction::Back => {
            "without it nobody would follow the old schema after the switch back; the new schema is live and complete: `crossfade finish`"
        }
    };
    Ok(said(verdict, text, remedy))
}

/// Back, the old schema's rows are written into tables that the application may have altered
/// since the switch.
pub(super) fn mandatory(plan: &Plan, direction: Direction) -> Option<Check> {
    if direction == Direction::Forward {
        return None;
    }
    let columns: Vec<String> = plan
        .targets
        .iter()
        .flat_map(|t| t.unproduced().map(|c| format!("{c} of {}", t.table.name)))
        .collect();
    let found = match columns.as_slice() {
        [] => "the new tables take the old schema's rows".to_owned(),
        _ => format!(
            "NOT NULL, without a default, and unknown to the module: {}",
            columns.join(", ")
        ),
    };
    let remedy = "ALTER TABLE … ALTER COLUMN … SET DEFAULT …";
    Some(gate("mandatory", columns.is_empty(), found, remedy))
}
