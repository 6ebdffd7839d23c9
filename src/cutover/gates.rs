//! What must hold before the lock is asked for, each a named check with a remedy.
//!
//! Most checks cannot be overridden. An advisory one can be, by its name: it names
//! something that works otherwise after the switch, which only the operator can judge.

mod bodies;
mod cascades;
mod certificate;
mod dependents;
mod names;
mod privileges;
mod snapshots;
mod stream;
mod subscriptions;
mod way_back;

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::sequences::Need;
use super::{Direction, sequences, strategy};
use crate::config::{Config, Strategy};
use crate::error::Result;
use crate::state::quarantine::{self, Reason};
use crate::state::{Migration, migration};
use crate::transform::Plan;

/// How long a stream that lags is given to catch up.
const CATCHING_UP: Duration = Duration::from_secs(15);

/// How long a daemon that was there a moment ago is waited for, which may be starting over:
/// longer than the longest pause between two of its attempts.
const AWAY: Duration = Duration::from_secs(15);

/// Checks that `--accept NAME` overrides.
pub const ADVISORY: [&str; 12] = [
    "cascades",
    "references",
    "rules",
    "grants",
    "row_security",
    "triggers",
    "publications",
    "subscriptions",
    "inheritance",
    "sequences",
    "view_locking",
    "view_unique",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Passed, and good to know.
    Note,
    /// Not passed; the operator has accepted it.
    Accepted,
    Failed,
}

impl Verdict {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Note => "note",
            Self::Accepted => "accepted",
            Self::Failed => "failed",
        }
    }
}

/// One check and what was found.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
    pub found: String,
    pub remedy: String,
}

impl Check {
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict != Verdict::Failed
    }
}

pub(super) fn check(
    name: &'static str,
    passed: bool,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Check {
    Check {
        name,
        verdict: if passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        },
        found: found.into(),
        remedy: remedy.into(),
    }
}

/// What the operator has decided.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accept {
    /// Rows in quarantine that may stay behind.
    pub quarantined: usize,
    /// Switch without a certificate of verification.
    pub unverified: bool,
    /// Which of [`ADVISORY`] are overridden; see [`Accept::advisory`].
    pub advisory: [bool; ADVISORY.len()],
}

impl Accept {
    /// Overrides an advisory check; false where there is none of that name.
    pub fn advisory(&mut self, name: &str) -> bool {
        let found = ADVISORY.iter().position(|a| *a == name);
        if let Some(at) = found {
            self.advisory[at] = true;
        }
        found.is_some()
    }

    fn overrides(&self, name: &str) -> bool {
        let at = ADVISORY.iter().position(|a| *a == name);
        at.is_some_and(|at| self.advisory[at])
    }
}

/// Runs every check.
///
/// # Errors
/// Connection errors.
pub async fn run(
    client: &Client,
    config: &Config,
    row: &Migration,
    plans: &[&Plan],
    direction: Direction,
    accept: Accept,
) -> Result<Vec<Check>> {
    let mut checks = vec![
        phase(row, direction),
        daemon(client, row).await?,
        lag(client, config, row).await?,
        stream::check_publications(client, config, row, direction).await?,
        quarantined(client, row, direction, accept).await?,
        certificate::check(client, config, row, accept).await?,
        lock_timeout(client, config).await?,
        snapshots::check(client).await?,
    ];
    for plan in plans {
        checks.push(privileges::check(client, config, plan, direction).await?);
        checks.push(sequences(client, plan, direction).await?);
        checks.extend(names::check(client, config, plan, direction).await?);
        checks.push(cascades::check(client, config, plan, direction).await?);
        checks.extend(way_back::mandatory(plan, direction));
        checks.push(subscriptions::check(client, config, plan, direction).await?);
        checks.extend(strategy::checks::run(client, config, plan, direction).await?);
        // In a split in place the table stays, and with it all that hangs on it; the
        // way back finds what was there before.
        if direction == Direction::Back || config.switch.strategy == Strategy::Columns {
            continue;
        }
        checks.extend(dependents::check(client, config, plan).await?);
        if config.switch.strategy == Strategy::Sql {
            checks.push(check(
                "switch_sql",
                plan.module.switch_sql.is_some(),
                format!("module {}", plan.module.name),
                "name a file as `switch` in transform.toml, or use strategy = \"rename\"",
            ));
        }
    }
    checks.push(way_back::check(client, config, plans, direction).await?);
    for check in &mut checks {
        if !check.passed() && accept.overrides(check.name) {
            check.verdict = Verdict::Accepted;
        } else if !check.passed() && ADVISORY.contains(&check.name) {
            check.remedy = format!(
                "{}; or switch as it is with --accept {}",
                check.remedy, check.name
            );
        }
    }
    Ok(checks)
}

fn phase(row: &Migration, direction: Direction) -> Check {
    let (name, remedy) = match direction {
        Direction::Forward => (
            "copy_complete",
            "wait until `crossfade status` says streaming",
        ),
        Direction::Back => (
            "switched",
            "a way back there is only after `crossfade switch`",
        ),
    };
    check(
        name,
        row.phase == direction.from(),
        format!("phase is {}", row.phase),
        remedy,
    )
}

/// A wait for the lock must end before the server looks for deadlocks: then a
/// deadlock with the switch ends by the switch giving up, and no transaction of the
/// application is ever chosen as its victim.
async fn lock_timeout(client: &Client, config: &Config) -> Result<Check> {
    let deadlock: f64 = client
        .query_one(
            "select extract(epoch from current_setting('deadlock_timeout')::interval)::float8 * 1000",
            &[],
        )
        .await?
        .get(0);
    let wait = config.switch.lock_timeout_ms;
    Ok(check(
        "lock_timeout",
        f64::from(wait) < deadlock,
        format!("switch.lock_timeout_ms is {wait}, the server's deadlock_timeout {deadlock} ms"),
        format!("set switch.lock_timeout_ms below {deadlock}"),
    ))
}

/// The value that a sequence needs is looked up under the lock, so it must be a
/// matter of one index entry.
async fn sequences(client: &Client, plan: &Plan, direction: Direction) -> Result<Check> {
    let all = sequences::of(client, plan, direction).await?;
    let slow: Vec<&str> = all.iter().filter_map(|s| s.scan.as_deref()).collect();
    if !slow.is_empty() {
        return Ok(check(
            "sequences",
            false,
            format!(
                "no index leads with {}: the greatest value would be searched for under the lock",
                slow.join(", ")
            ),
            "CREATE INDEX CONCURRENTLY on each",
        ));
    }
    let (mut set, mut left) = (Vec::new(), Vec::new());
    for sequence in &all {
        match &sequence.need {
            Need::Beyond(_) => set.push(sequence.name.as_str()),
            Need::Unknown(column) => left.push(format!("{} of {column}", sequence.name)),
        }
    }
    let found = match set.len() {
        0 => "none to advance".to_owned(),
        _ => format!("will be advanced: {}", set.join(", ")),
    };
    if left.is_empty() {
        return Ok(check("sequences", true, found, ""));
    }
    let mut note = check(
        "sequences",
        true,
        format!(
            "{found}; left where they are, since no number says how far they must be: {}",
            left.join(", ")
        ),
        "set them beyond the values in use, in `hooks.before_switch` at the latest",
    );
    note.verdict = Verdict::Note;
    Ok(note)
}

/// Whether the migration's daemon runs, anywhere. One that was seen a moment ago may be
/// starting over, and is waited for.
///
/// # Errors
/// Connection errors.
pub async fn daemon(client: &Client, row: &Migration) -> Result<Check> {
    let since = Instant::now();
    loop {
        // Before the look, so that a pause of this process never counts as one of the daemon.
        let late = since.elapsed() > AWAY;
        let running = migration::has_daemon(client, row.id).await?;
        if running || late || !seen_lately(client, row).await? {
            return Ok(check(
                "daemon",
                running,
                if running { "running" } else { "not running" },
                "start `crossfade run`: it must drain the stream at the switch",
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn seen_lately(client: &Client, row: &Migration) -> Result<bool> {
    let row = client
        .query_opt(
            "select seen_at > clock_timestamp() - interval '1 minute'
             from crossfade.daemon where migration_id = $1",
            &[&row.id],
        )
        .await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// The lag as the daemon last reported it. One above the limit is looked at again for a
/// while: a stream that stood still for a moment is reported so until the next report,
/// about a second later, when it may long have caught up.
async fn lag(client: &Client, config: &Config, migration: &Migration) -> Result<Check> {
    let since = Instant::now();
    loop {
        // Not one look fewer because this process stood still itself.
        let late = since.elapsed() > CATCHING_UP;
        let check = lag_now(client, config, migration).await?;
        if check.passed() || late || !migration::has_daemon(client, migration.id).await? {
            return Ok(check);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn lag_now(client: &Client, config: &Config, migration: &Migration) -> Result<Check> {
    let row = client
        .query_opt(
            "select lag_seconds, extract(epoch from clock_timestamp() - seen_at)::float8
             from crossfade.daemon where migration_id = $1",
            &[&migration.id],
        )
        .await?;
    let (lag, silent): (f64, f64) = row.map_or((f64::MAX, f64::MAX), |r| (r.get(0), r.get(1)));
    let limit = config.switch.max_lag_seconds;
    Ok(check(
        "lag",
        lag <= limit && silent < 10.0,
        format!("{lag:.1} s, reported {silent:.1} s ago"),
        "wait until the stream has caught up (`crossfade status`)",
    ))
}

async fn quarantined(
    client: &Client,
    migration: &Migration,
    direction: Direction,
    accept: Accept,
) -> Result<Check> {
    let rows = quarantine::list(client, migration.id).await?;
    let bad = rows
        .iter()
        .filter(|r| r.reason == Reason::Bad && r.leg == direction.leg())
        .count();
    Ok(check(
        "quarantine",
        bad <= accept.quarantined,
        format!("{bad} bad rows, {} accepted", accept.quarantined),
        format!(
            "see `crossfade quarantine list`; correct the rows, or accept their loss with --accept-quarantined {bad}"
        ),
    ))
}
