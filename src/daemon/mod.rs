//! The daemon: the only place that knows tasks and channels.
//!
//! ```text
//! slot → reader thread → applier ───────────────┐
//! planner → queue → copiers ────────────────────┤→ target
//! verification, once the copy is complete ◄─────┘
//! monitor: commands, throttle, metrics, status ─┘
//! ```
//!
//! Shutdown order: the stop signal → copiers finish the chunk they are in →
//! the applier commits the whole transactions it has received → the stream
//! confirms them and ends → the daemon gives its lock up.

pub mod copiers;
pub mod errors;
pub mod eta;
pub mod gap;
pub mod monitor;
pub mod ownership;
pub mod prepare;
pub mod probe;
pub mod role;
pub mod statistics;
pub mod streaming;
pub mod verifying;
pub mod wal_guard;
pub mod way_back;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Client;

use crate::apply::Stats;
use crate::config::{Config, Live};
use crate::copy::Throttle;
use crate::error::{Error, Kind, Result, Retry};
use crate::pg::{ConnInfo, SessionLimits, connect, connect_with};
use crate::phase::Phase;
use crate::state::{checkpoint, migration};
use crate::write::CopyBarrier;

pub use errors::count;
pub use monitor::View;
pub use prepare::Prepared;
pub use role::Role;

use ownership::Asked;

/// Why a daemon ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// SIGTERM or SIGINT: everything received is committed; start again any time.
    Stopped,
    /// `--until copied`: the copy is complete and the stream has caught up.
    Copied,
    /// The new schema has taken over.
    Switched,
    /// `abort` or `finish` asked for it.
    Asked,
    /// A switch has handed over to the other direction: begin again with that one.
    HandedOver,
}

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub until_copied: bool,
}

/// Runs until asked to stop, reconnecting whenever that can help.
///
/// # Errors
/// What no retry can mend.
pub async fn run(
    config: &Config,
    options: Options,
    view: watch::Sender<View>,
    stop: watch::Receiver<bool>,
) -> Result<Ended> {
    let mut pause = Duration::from_millis(250);
    let mut known = Known::default();
    loop {
        monitor::role(&view, Role::Starting, None);
        known.switches = None;
        let started = std::time::Instant::now();
        let error = match incarnation(config, options, &view, stop.clone(), &mut known).await {
            Ok(Ended::HandedOver) => continue,
            Ok(ended) => return Ok(ended),
            Err(e) => e,
        };
        // Before the first success a wrong host or password is an answer, not an
        // accident to wait out; that somebody else was in the way for a moment is one.
        let early = !known.reached && error.retry() != Retry::Soon;
        if error.retry() == Retry::Never || early {
            // A switch may have moved the tables under a task that was at work. Where that
            // cannot be learned now, the next life meets the error again, if it was one.
            match known.switches {
                None => return Err(error),
                Some(before) => match switches(config).await {
                    Ok(Some(now)) if now != before => continue,
                    Ok(_) => return Err(error),
                    Err(_) => {}
                },
            }
        }
        if started.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(250);
        }
        monitor::role(&view, Role::Retrying, Some(&error));
        tracing::warn!(error = %error, "starting over in {pause:?}");
        let mut stop = stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return Ok(Ended::Stopped),
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// A session whose commits are durable on this server and wait for no standby: a
/// standby that hangs must stop neither the copy nor the status that says so.
async fn session(conninfo: &ConnInfo, purpose: &str) -> Result<Client> {
    session_with(conninfo, purpose, SessionLimits::default()).await
}

/// The same with other limits.
async fn session_with(conninfo: &ConnInfo, purpose: &str, limits: SessionLimits) -> Result<Client> {
    let client = connect_with(conninfo, purpose, limits).await?;
    client
        .batch_execute("set synchronous_commit = local")
        .await?;
    Ok(client)
}

/// What a process knows of its migration from one life of the daemon to the next.
#[derive(Debug, Default)]
struct Known {
    /// The migration has been there once: one that is gone was ended by somebody.
    reached: bool,
    /// How often it had switched when this life took it over. Not its phase: that moves by
    /// the daemon's own work too, and what ends the daemon then is to end it.
    switches: Option<i32>,
}

/// How often the migration has switched; `None` where it is gone.
async fn switches(config: &Config) -> Result<Option<i32>> {
    let info = ConnInfo::parse(&config.source_url)?;
    let client = connect(&info, "daemon").await?;
    let row = migration::find(&client, &config.name).await?;
    Ok(row.map(|row| row.switches))
}

/// Everything the tasks of one incarnation share.
#[derive(Clone)]
pub struct Shared {
    pub conninfo: ConnInfo,
    pub prepared: Arc<Prepared>,
    pub stats: Arc<Stats>,
    pub barrier: CopyBarrier,
    /// Why the slot was given up, once it was.
    pub given_up: Arc<OnceLock<String>>,
    /// Turns true when the tasks are to end.
    pub stop: watch::Receiver<bool>,
}

/// One life between two starts: owns the lock, prepares, runs the tasks, ends them.
async fn incarnation(
    config: &Config,
    options: Options,
    view: &watch::Sender<View>,
    mut stop: watch::Receiver<bool>,
    known: &mut Known,
) -> Result<Ended> {
    let begun = start(config, view, &mut stop, known).await;
    let (owner, conninfo, prepared) = match begun.inspect_err(count)? {
        Start::Begun(begun) => *begun,
        Start::Ended(ended) => return Ok(ended),
    };
    let applied = checkpoint::read(&owner, prepared.migration.id).await?;
    let (halt, halted) = watch::channel(false);
    let shared = Shared {
        conninfo,
        prepared,
        stats: Arc::new(Stats::default()),
        barrier: CopyBarrier::default(),
        given_up: Arc::default(),
        stop: halted,
    };
    // Before the stream begins: what is behind the checkpoint is no lag.
    shared.stats.set_applied(applied);
    let (pace, throttle) = Throttle::new();
    let (settings, set) = watch::channel(Live::of(config));
    let probes = probe::Probes::default();
    let mut streaming = tokio::spawn(streaming::run(shared.clone(), config.clone()));
    let mut copying = tokio::spawn(copiers::run(shared.clone(), set.clone(), throttle));
    let probing = tokio::spawn(probe::run(shared.clone(), set, probes.clone()));
    let mut keeping = tokio::spawn(way_back::keep(shared.clone(), config.clone()));
    let verifying = tokio::spawn(verifying::run(
        shared.clone(),
        config.clone(),
        options.until_copied,
    ));
    // The lock in the owner's session is given up last.
    let out = monitor::Outlets {
        view,
        pace,
        settings,
        probes,
    };
    let mut monitor = monitor::Monitor::new(owner, &shared, config, options, out);
    let mut outcome = tokio::select! {
        ended = monitor.run(stop) => ended,
        done = &mut streaming => Err(ended_early(done)),
        done = copiers::failure(&mut copying) => Err(ended_early(done)),
    };
    if let Some(why) = shared.given_up.get() {
        // Whichever task noticed first: this is why.
        outcome = Err(monitor::gave_up(shared.prepared.leg(), why.clone()));
    }
    // Copiers first: the applier may have to wait for one of their claims.
    let _ = halt.send(true);
    // They hold nothing that must be finished; the verification's place is in the state.
    verifying.abort();
    probing.abort();
    let bound = Duration::from_secs(30);
    for task in [&mut copying, &mut streaming, &mut keeping] {
        if !task.is_finished() && tokio::time::timeout(bound, &mut *task).await.is_err() {
            tracing::warn!("a task did not end in {bound:?}; its transaction is rolled back");
            task.abort();
        }
    }
    if let Err(error) = &outcome {
        count(error);
        monitor.last_words(error).await;
    }
    monitor.leave().await;
    outcome
}

/// What came of trying to begin.
enum Start {
    /// The session with the owner's lock, and everything ready to stream and copy.
    Begun(Box<(Client, ConnInfo, Arc<Prepared>)>),
    Ended(Ended),
}

/// Connects, waits for the owner's lock and prepares.
async fn start(
    config: &Config,
    view: &watch::Sender<View>,
    stop: &mut watch::Receiver<bool>,
    known: &mut Known,
) -> Result<Start> {
    let conninfo = ConnInfo::parse(&config.source_url)?;
    let Some(mut owner) = prepare::open(&conninfo, config, known.reached).await? else {
        return Ok(Start::Ended(Ended::Asked));
    };
    known.reached = true;
    let migration = match ownership::acquire(&owner, config, view, stop).await? {
        Asked::Got(migration) => *migration,
        Asked::Stopped => return Ok(Start::Ended(Ended::Stopped)),
        Asked::Gone => return Ok(Start::Ended(Ended::Asked)),
    };
    known.switches = Some(migration.switches);
    // An abort or a finish is under way, or was cut off: it is to be run again.
    if migration.stop {
        ownership::release(&owner, migration.id).await;
        return Ok(Start::Ended(Ended::Asked));
    }
    if migration.phase == Phase::Switched && !way_back::exists(config)? {
        // Nobody streams any more, so nothing may keep the log.
        way_back::let_go(&owner, config).await?;
        ownership::release(&owner, migration.id).await;
        return Ok(Start::Ended(Ended::Switched));
    }
    let id = migration.id;
    // Dropped half-way, a preparation begins anew at the next start.
    let prepared = tokio::select! {
        prepared = prepare::prepare(&mut owner, &conninfo, config, migration) => prepared,
        _ = stop.wait_for(|s| *s) => return Ok(Start::Ended(Ended::Stopped)),
        () = ownership::asked_to_end(&conninfo, config) => return Ok(Start::Ended(Ended::Asked)),
    };
    match prepared {
        Ok(prepared) => Ok(Start::Begun(Box::new((
            owner,
            conninfo,
            Arc::new(prepared),
        )))),
        Err(error) => {
            errors::store(&owner, id, &error).await;
            ownership::release(&owner, id).await;
            Err(error)
        }
    }
}

fn ended_early(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Error {
    match done {
        Ok(Err(e)) => e,
        Ok(Ok(())) => Error::new(Kind::Connection, "a task of the daemon ended unasked"),
        Err(e) => Error::new(Kind::Io, format!("a task of the daemon failed: {e}")),
    }
}
