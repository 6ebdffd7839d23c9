//! What a run of the switch writes down as it goes, and what is left to do after one
//! that died.

use serde_json::Value;
use tokio_postgres::Client;

use super::Direction;
use super::hooks::{self, Hook, Told};
use super::outcome::{Outcome, Report};
use crate::config::Config;
use crate::error::Result;
use crate::failpoint;
use crate::phase::Phase;
use crate::state::switchover::{self, End, Record, Step};
use crate::state::{Migration, migration};

/// The record of one run. A rehearsal has none.
pub struct Journal<'a> {
    control: &'a Client,
    id: Option<i64>,
}

impl<'a> Journal<'a> {
    /// # Errors
    /// Connection errors.
    pub async fn open(
        control: &'a Client,
        migration: i32,
        direction: Direction,
        rehearse: bool,
    ) -> Result<Self> {
        let id = if rehearse {
            None
        } else {
            Some(switchover::begin(control, migration, direction.name()).await?)
        };
        failpoint::hit(Step::Gates.failpoint()).await;
        Ok(Self { control, id })
    }

    /// Whether this run is for real.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.id.is_some()
    }

    /// # Errors
    /// Connection errors.
    pub async fn step(&self, step: Step) -> Result<()> {
        if let Some(id) = self.id {
            switchover::step(self.control, id, step).await?;
        }
        failpoint::hit(step.failpoint()).await;
        Ok(())
    }

    /// # Errors
    /// Connection errors.
    pub async fn attempt(&self, xid: &str) -> Result<()> {
        match self.id {
            Some(id) => switchover::attempt(self.control, id, xid).await,
            None => Ok(()),
        }
    }

    /// From now on `after_switch` will be run, by this process or by the next.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn owe(&self) -> Result<()> {
        match self.id {
            Some(id) => switchover::owe(self.control, id).await,
            None => Ok(()),
        }
    }

    /// # Errors
    /// Connection errors.
    pub async fn end(&self, report: &Report) -> Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        let end = End {
            outcome: report.outcome.name(),
            stall_ms: (report.attempts > 0).then_some(report.stall.as_secs_f64() * 1e3),
            detail: detail(report),
        };
        switchover::end(self.control, id, &end).await?;
        failpoint::hit(Step::Ended.failpoint()).await;
        Ok(())
    }
}

fn detail(report: &Report) -> Value {
    let reason = match &report.outcome {
        Outcome::NotSwitched(why) => Some(why),
        _ => None,
    };
    serde_json::json!({
        "reason": reason,
        "verified_keys": report.verified_keys,
        "steps": report.steps.iter()
            .map(|s| serde_json::json!({"step": s.name, "ms": s.took.as_secs_f64() * 1e3}))
            .collect::<Vec<_>>(),
        "blockers": report.blockers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Ends the records of runs that died, in whatever step, now that their transactions
/// are over and the phase tells what became of them.
///
/// # Errors
/// Connection errors.
pub async fn end_dead(control: &Client, migration: &Migration) -> Result<()> {
    let phase = migration::require(control, &migration.name).await?.phase;
    if let Some(last) = switchover::last(control, migration.id).await? {
        switchover::end_dead(control, migration.id, became(&last, phase)).await?;
    }
    Ok(())
}

/// Runs `after_switch` where it is owed; returns what did not go well.
///
/// At least once: the debt is forgotten only after the hook has ended with 0, and only
/// when the outcome that it was told is final.
///
/// # Errors
/// Connection errors.
pub async fn settle(
    control: &Client,
    config: &Config,
    migration: &Migration,
) -> Result<Option<String>> {
    let phase = migration::require(control, &migration.name).await?.phase;
    let Some(owing) = switchover::owing(control, migration.id).await? else {
        return Ok(None);
    };
    let told = Told {
        name: migration.name.clone(),
        direction: direction(&owing.direction).name(),
        phase: phase.name().to_owned(),
        outcome: Some(
            owing
                .outcome
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
        ),
        stall_ms: owing.stall_ms,
    };
    let failed = hooks::run(&config.hooks, Hook::After, &told).await.err();
    if failed.is_none() && told.outcome.as_deref() != Some("unknown") {
        switchover::paid(control, migration.id, owing.id).await?;
    }
    Ok(failed.map(|why| {
        format!("{why}; run `crossfade switch` again when it can work: it runs the hook once more")
    }))
}

/// What became of the newest run, which left no outcome. One that never came to an
/// attempt has not switched, whatever the phase was when it began.
fn became(last: &Record, phase: Phase) -> &'static str {
    if last.attempt > 0 && phase == direction(&last.direction).to() {
        "switched"
    } else {
        "not_switched"
    }
}

fn direction(name: &str) -> Direction {
    if name == Direction::Back.name() {
        Direction::Back
    } else {
        Direction::Forward
    }
}
