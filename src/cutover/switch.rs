//! `switch` from the first gate to the outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::Direction;
use super::attempt::{Ended, Learned, Sessions, attempt, differ};
use super::gates::{self, Accept};
use super::hooks::{self, Hook, Told};
use super::journal::{self, Journal};
use super::outcome::{Outcome, Report, committed};
use super::sequences::{self, Sequence};
use super::{statistics, strategy};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, connect};
use crate::state::switchover::Step;
use crate::state::{ChunkTable, Migration, SWITCH_LOCK, install, migration, place};
use crate::transform::module::hash_all;
use crate::transform::{Module, Plan};
use crate::verify;

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Everything but COMMIT.
    pub rehearse: bool,
    pub direction: Direction,
    pub accept: Accept,
}

/// What an attempt works with; bound before anything is locked.
pub struct Prepared<'a> {
    pub config: &'a Config,
    pub info: ConnInfo,
    pub migration: Migration,
    pub direction: Direction,
    /// Everything but COMMIT.
    pub rehearse: bool,
    pub sources: Vec<(Arc<Plan>, ChunkTable)>,
    pub sequences: Vec<Sequence>,
    pub accept: Accept,
}

impl Prepared<'_> {
    /// What the verifier compares.
    #[must_use]
    pub fn subject(&self) -> verify::Subject {
        verify::Subject {
            migration: self.migration.id,
            module_hash: self.migration.module_hash.clone(),
            switches: self.migration.switches,
            sources: self.sources.clone(),
        }
    }
}

/// Switches, or says why not. Running it again after any interruption finishes the
/// job or finds out how it ended.
///
/// # Errors
/// Configuration and connection errors before the point of no return; nothing has
/// changed then.
pub async fn switch(config: &Config, options: Options) -> Result<Report> {
    let info = ConnInfo::parse(&config.source_url)?;
    let mut control = connect(&info, "switch control").await?;
    // Nothing that this session commits may be waited for while the lock is held, nor
    // need it be durable before the switch itself is: it comes earlier in the same log.
    control
        .batch_execute("set synchronous_commit = off")
        .await?;
    install::require_newest(&control).await?;
    let row = alone(&control, &config.name).await?;
    strategy::agrees(config, &row)?;
    let known = earlier(&control, &row, options.direction).await?;
    let mut notes = Vec::new();
    if !options.rehearse && known != Some(Outcome::Unknown) {
        journal::end_dead(&control, &row).await?;
        notes.extend(journal::settle(&control, config, &row).await?);
    }
    if let Some(outcome) = known {
        let mut report = Report {
            notes,
            ..Report::new(outcome)
        };
        afterwards(config, &info, row.id, options, &mut report).await;
        return Ok(report);
    }
    let row = migration::require(&control, &config.name).await?;
    strategy::agrees(config, &row)?;
    let prepared = prepare(config, &mut control, info, row, options).await?;
    let journal = Journal::open(
        &control,
        prepared.migration.id,
        options.direction,
        options.rehearse,
    )
    .await?;
    let mut report = Report::new(Outcome::NotSwitched(String::new()));
    let done = course(&prepared, &control, &journal, &mut report).await;
    if let Err(e) = &done {
        report.outcome = Outcome::NotSwitched(e.to_string());
    }
    let ended = journal.end(&report).await;
    if journal.is_kept() {
        // Where this fails the debt stays, and the next run pays it.
        match journal::settle(&control, config, &prepared.migration).await {
            Ok(note) => notes.extend(note),
            Err(e) => notes.push(format!("after the switch: {e}")),
        }
    }
    // An outcome is an outcome, even where it could not be written down.
    if report.outcome == Outcome::Switched
        && let Err(e) = ended
    {
        notes.push(format!("the switch is done, its record is not: {e}"));
    }
    done?;
    report.notes = notes;
    let (info, id) = (&prepared.info, prepared.migration.id);
    afterwards(config, info, id, options, &mut report).await;
    Ok(report)
}

/// What the strategy still has to do once the switch is committed; safe to repeat.
async fn afterwards(
    config: &Config,
    info: &ConnInfo,
    migration: i32,
    options: Options,
    report: &mut Report,
) {
    if report.outcome == Outcome::Switched && !options.rehearse {
        let left = strategy::afterwards(config, info, migration, options.direction).await;
        report.checks.extend(left);
    }
}

/// From the gates to the outcome; the report says how far it came.
async fn course(
    prepared: &Prepared<'_>,
    control: &Client,
    journal: &Journal<'_>,
    report: &mut Report,
) -> Result<()> {
    if let Some(why) = ready(prepared, control, report).await? {
        report.outcome = Outcome::NotSwitched(why);
        return Ok(());
    }
    if let Err(why) = before(prepared, journal).await? {
        report.outcome = Outcome::NotSwitched(why);
        return Ok(());
    }
    attempts(prepared, control, journal, report).await
}

/// Everything that can be done before anybody is kept waiting; a reason not to go on.
async fn ready(
    prepared: &Prepared<'_>,
    control: &Client,
    report: &mut Report,
) -> Result<Option<String>> {
    let plans: Vec<&Plan> = prepared.sources.iter().map(|(p, _)| p.as_ref()).collect();
    report.checks = gates::run(
        control,
        prepared.config,
        &prepared.migration,
        &plans,
        prepared.direction,
        prepared.accept,
    )
    .await?;
    let failed: Vec<String> = report
        .checks
        .iter()
        .filter(|c| !c.passed())
        .map(|c| format!("{}: {} ({})", c.name, c.found, c.remedy))
        .collect();
    if !failed.is_empty() {
        return Ok(Some(failed.join("; ")));
    }
    report.analyzed =
        statistics::refresh(control, prepared.migration.id, &plans, prepared.direction).await?;
    if prepared.accept.unverified {
        return Ok(None);
    }
    // Leaves only what changes from now on to be verified under the lock.
    let found = verify::verify_changed(
        &prepared.info,
        &prepared.subject(),
        &verify::Options::default(),
    )
    .await?;
    Ok((found.outcome() == verify::Outcome::Different).then(|| differ(&found, prepared.direction)))
}

/// The hook before the switch. Its counterpart is owed from before it is begun: it may
/// have done half of its work when this process dies.
async fn before(
    prepared: &Prepared<'_>,
    journal: &Journal<'_>,
) -> Result<std::result::Result<(), String>> {
    let hooks = &prepared.config.hooks;
    if !journal.is_kept() {
        return Ok(Ok(()));
    }
    if hooks.after_switch.is_some() {
        journal.owe().await?;
    }
    journal.step(Step::BeforeHook).await?;
    let told = Told {
        name: prepared.config.name.clone(),
        direction: prepared.direction.name(),
        phase: prepared.migration.phase.name().to_owned(),
        ..Told::default()
    };
    Ok(hooks::run(hooks, Hook::Before, &told).await)
}

async fn attempts(
    prepared: &Prepared<'_>,
    control: &Client,
    journal: &Journal<'_>,
    report: &mut Report,
) -> Result<()> {
    let sessions = Sessions {
        control,
        watcher: &connect(&prepared.info, "switch watch").await?,
        journal,
    };
    let mut learned = Learned::default();
    let mut pause = Duration::from_millis(100);
    for number in 1..=prepared.config.switch.attempts {
        // It may have died since, and without it no attempt can drain the stream.
        let daemon = gates::daemon(control, &prepared.migration).await?;
        if !daemon.passed() {
            let why = format!("daemon: {} ({})", daemon.found, daemon.remedy);
            report.outcome = Outcome::NotSwitched(why);
            return Ok(());
        }
        let done = attempt(prepared, &sessions, &mut learned).await;
        report.attempts = number;
        report.blockers = learned.blockers.list();
        let done = done?;
        report.steps = done.steps;
        report.stall = done.stall;
        report.verified_keys = done.verified_keys;
        match done.ended {
            Ended::Done(outcome) => {
                report.outcome = outcome;
                return Ok(());
            }
            Ended::Again(why) => {
                tracing::info!(attempt = number, "not yet: {why}");
                report.outcome = Outcome::NotSwitched(why);
            }
        }
        if number == prepared.config.switch.attempts {
            break;
        }
        // Time for the writers that queued behind us.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    Ok(())
}

/// How long another switch of the migration is waited for.
const OTHER: Duration = Duration::from_secs(60);

/// Keeps other switches of the migration out for as long as the session lives, then
/// reads its row.
async fn alone(control: &Client, name: &str) -> Result<Migration> {
    let id = migration::require(control, name).await?.id;
    let since = Instant::now();
    loop {
        let late = since.elapsed() > OTHER;
        let got: bool = control
            .query_one("select pg_try_advisory_lock($1, $2)", &[&SWITCH_LOCK, &id])
            .await?
            .get(0);
        if got {
            return migration::require(control, name).await;
        }
        if late {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::new(
        Kind::Contention,
        "another switch of this migration is running",
    )
    .remedy("wait for it to end; its outcome is in `crossfade status`"))
}

/// How an earlier run in this direction ended, where it did: switched, or still
/// unknown. One in the other direction is waited for as well: until it has ended nobody
/// knows where the migration stands.
async fn earlier(
    control: &Client,
    row: &Migration,
    direction: Direction,
) -> Result<Option<Outcome>> {
    let stored = control
        .query_one(
            "select switch_xid::text, coalesce(switch_to, 'switched')
             from crossfade.migration where id = $1",
            &[&row.id],
        )
        .await?;
    let mut known = stored.get::<_, Option<&str>>(0).is_none();
    for _ in 0..100 {
        let Some(xid) = stored.get::<_, Option<&str>>(0) else {
            break;
        };
        let to = stored.get::<_, &str>(1).parse()?;
        if committed(control, row.id, xid, to).await?.is_some() {
            known = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if !known {
        return Ok(Some(Outcome::Unknown));
    }
    let phase = migration::require(control, &row.name).await?.phase;
    // A migration that never switched is in the phase that a switch back leads to.
    let began = direction == Direction::Forward || row.switches > 0;
    Ok((phase == direction.to() && began).then_some(Outcome::Switched))
}

async fn prepare<'a>(
    config: &'a Config,
    control: &mut Client,
    info: ConnInfo,
    migration: Migration,
    options: Options,
) -> Result<Prepared<'a>> {
    let mut sources = Vec::new();
    let mut sequences = Vec::new();
    let modules: Vec<Module> = config
        .transforms
        .iter()
        .map(|dir| Module::load(dir))
        .collect::<Result<_>>()?;
    // A module left out would not be switched and no longer be followed; a changed one
    // is not what was copied and verified.
    if hash_all(&modules) != migration.module_hash {
        return Err(Error::new(
            Kind::SchemaChange,
            "the modules are not those this migration began with",
        )
        .remedy("restore `transforms` and the modules' text as they were"));
    }
    for module in modules {
        let plan = place::bind(control, migration.id, &module)
            .await
            .map_err(|problems| {
                problems
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Error::new(Kind::Module, "the module does not fit"))
            })?;
        let id = migration::source_id(control, migration.id, &plan).await?;
        sequences.extend(sequences::of(control, &plan, options.direction).await?);
        let chunks = ChunkTable::new(id, &plan);
        sources.push((Arc::new(plan), chunks));
    }
    Ok(Prepared {
        config,
        info,
        migration,
        direction: options.direction,
        rehearse: options.rehearse,
        sources,
        sequences,
        accept: options.accept,
    })
}
