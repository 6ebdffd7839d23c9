//! Watches: commands of operators, lag, retained WAL, progress; tells the copiers
//! how fast they may go, Prometheus and `status` how it goes.

mod publish;
mod slot_watch;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio_postgres::Client;

use super::eta::Progress;
use super::prepare::Prepared;
use super::probe::Probes;
use super::role::Role;
use super::{Ended, Options, Shared, errors, ownership};
use crate::apply::Stats;
use crate::config::{Config, Live};
use crate::copy::throttle::{Load, Pace, Signal, signal, signals, step};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::metrics::table;
use crate::pg::Lsn;
use crate::pg::ends::Ends;
use crate::pg::slot;
use crate::phase::Phase;
use crate::state::checkpoint::Leg;
use crate::state::recovery;
use crate::state::{Migration, migration, setting};
use slot_watch::SlotWatch;
pub(super) use slot_watch::gave_up;

const TICK: Duration = Duration::from_millis(250);
/// A position that is this old and not applied is lag, whatever the stream says.
const SILENT: Duration = Duration::from_secs(3);
/// The log's end is known this much before the server sends it.
const UNSENT: Duration = Duration::from_secs(1);

/// How a run stands, for a progress display and the endpoint.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub role: Role,
    pub phase: Option<Phase>,
    pub rows: i64,
    pub estimated: i64,
    pub copied: i64,
    pub pending: i64,
    pub applied: u64,
    pub lag_seconds: f64,
    pub lag_bytes: u64,
    pub retained: u64,
    pub waiting: Option<String>,
    /// Rows a second over the last minute.
    pub rate: Option<f64>,
    /// Share of its speed that the copy is allowed.
    pub pace: f64,
    /// Why the process starts over, while it does.
    pub error: Option<String>,
}

/// What the monitor tells others.
pub struct Outlets<'a> {
    pub view: &'a watch::Sender<View>,
    pub pace: watch::Sender<Pace>,
    pub settings: watch::Sender<Live>,
    pub probes: Probes,
}

pub struct Monitor<'a> {
    owner: Client,
    prepared: Arc<Prepared>,
    stats: Arc<Stats>,
    file: Live,
    options: Options,
    out: Outlets<'a>,
    pace: Pace,
    /// The same for verification. The time of the day is about the copy alone: whoever
    /// verifies at noon means it.
    verifying: Pace,
    /// What pressed at the last measuring.
    signals: Vec<Signal>,
    stepped: Instant,
    ends: Ends,
    slot: SlotWatch,
    progress: Progress,
    /// Where received and decoded are, as bytes and seconds behind.
    stages: [(f64, u64); 2],
    /// The log's end when the copy was seen complete, for `--until copied`.
    copied_at: Option<Lsn>,
    complete: Vec<bool>,
    now: View,
}

impl<'a> Monitor<'a> {
    #[must_use]
    pub fn new(
        owner: Client,
        shared: &Shared,
        config: &Config,
        options: Options,
        out: Outlets<'a>,
    ) -> Self {
        let now = View {
            role: Role::Owner,
            estimated: shared.prepared.estimated_rows,
            ..View::default()
        };
        Self {
            owner,
            prepared: shared.prepared.clone(),
            stats: shared.stats.clone(),
            file: Live::of(config),
            options,
            out,
            pace: Pace::default(),
            verifying: Pace::default(),
            signals: Vec::new(),
            stepped: Instant::now(),
            ends: Ends::default(),
            slot: SlotWatch::new(shared, config),
            progress: Progress::default(),
            stages: [(0.0, 0); 2],
            copied_at: None,
            complete: vec![false; shared.prepared.sources.len()],
            now,
        }
    }

    /// Runs until there is a reason to end. The owner's lock lives in this session:
    /// when it breaks, another daemon may take over, so everything here ends.
    ///
    /// # Errors
    /// [`Kind::Connection`] and the like on the owner's session; [`Kind::Slot`] when
    /// the slot was given up.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<Ended> {
        let mut tick = tokio::time::interval(TICK);
        let mut count = 0u32;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return Ok(Ended::Stopped),
                _ = tick.tick() => {}
            }
            let id = self.prepared.migration.id;
            let row = migration::find(&self.owner, &self.prepared.migration.name)
                .await?
                .filter(|r| r.id == id)
                .ok_or_else(|| Error::new(Kind::Phase, "the migration's state was removed"))?;
            if row.stop {
                return Ok(Ended::Asked);
            }
            // Phases follow one another within an incarnation; a switch ends it.
            if (row.phase == Phase::Switched) != (self.prepared.leg() == Leg::Reverse) {
                failpoint::hit("monitor.handed_over").await;
                return Ok(Ended::HandedOver);
            }
            let full = count.is_multiple_of(4) || self.now.phase != Some(row.phase);
            if full {
                self.compare_clocks().await?;
                self.slot.look(&self.owner, self.stats.applied()).await?;
                self.count_rows().await?;
            }
            self.measure(&row).await?;
            if full {
                self.publish(&row).await?;
            }
            count += 1;
            if self.options.until_copied && self.caught_up(row.phase).await? {
                return Ok(Ended::Copied);
            }
        }
    }

    /// Remembers how this life ended, for whoever looks before the next one.
    pub async fn last_words(&self, error: &Error) {
        let id = self.prepared.migration.id;
        // The stream has a gap that its slot does not tell of. What the server itself says
        // of a slot, it says again.
        if error.kind == Kind::Slot && error.sqlstate.is_none() {
            let kept = recovery::lost(&self.owner, id, &error.message).await;
            if let Err(e) = kept {
                tracing::warn!(error = %e, "why the stream has a gap could not be written down");
            }
        }
        errors::store(&self.owner, id, error).await;
    }

    /// Gives the owner's lock up.
    pub async fn leave(self) {
        ownership::release(&self.owner, self.prepared.migration.id).await;
    }

    /// Commit times are the source's: the two clocks are compared, so that a host whose
    /// clock is wrong does not throttle the copy. The answer is taken for the middle of
    /// the round trip, unless that was a slow one.
    async fn compare_clocks(&self) -> Result<()> {
        let begun = Instant::now();
        let row = self
            .owner
            .query_one("select clock_timestamp()", &[])
            .await?;
        let took = begun.elapsed();
        if took < TICK {
            self.stats
                .set_clock(row.get(0), SystemTime::now() - took / 2);
        }
        Ok(())
    }

    /// Measures lag and what the probes found, and lets the copy go as fast as that
    /// allows.
    async fn measure(&mut self, row: &Migration) -> Result<()> {
        let end = slot::wal_end(&self.owner).await?;
        let (applied, now) = (self.stats.applied(), Instant::now());
        crate::log::applied(applied.0);
        self.ends.see(now, end, applied);
        let silent = self.ends.behind(now, applied, SILENT);
        self.now.lag_seconds = self.stats.lag_seconds().max(silent);
        self.now.lag_bytes = end.since(applied);
        let stages = [
            self.stats.server().max(applied),
            self.stats.decoded().max(applied),
        ];
        self.stages = stages.map(|at| (self.ends.behind(now, at, UNSENT), end.since(at)));
        self.now.applied = self.stats.rows();
        self.now.phase = Some(row.phase);
        let set = setting::read(&self.owner, row.id).await?;
        let live = setting::over(&self.file, &set);
        let load = Load {
            paused: row.paused,
            lag_seconds: self.now.lag_seconds,
            lag_bytes: self.now.lag_bytes,
            retained_wal: self.now.retained,
            wal_guard: self.slot.throttles(),
        };
        self.signals = signals(&load, &self.out.probes.latest(), &live.throttle);
        let elapsed = now.duration_since(self.stepped);
        self.stepped = now;
        let pace = step(&self.pace, &self.signals, elapsed, SystemTime::now());
        let at_any_time: Vec<Signal> = self
            .signals
            .iter()
            .filter(|s| s.kind != signal::Kind::Window)
            .cloned()
            .collect();
        self.verifying = step(&self.verifying, &at_any_time, elapsed, SystemTime::now());
        self.tell(&pace);
        let why = pace.hold.as_ref().map(|h| {
            if pace.share == 0.0 {
                h.reason.clone()
            } else {
                format!("{}: the copy goes at {:.0} %", h.reason, pace.share * 100.0)
            }
        });
        // Only the copy yields; nothing of it is left to be slowed once it is complete.
        let copying = row.phase <= Phase::Copying;
        let why = why.filter(|_| copying || row.paused);
        self.now.waiting = self.stats.waits_for().or(why);
        self.now.pace = pace.share;
        self.pace = pace.clone();
        self.out.pace.send_if_modified(|p| {
            let changed = *p != pace;
            *p = pace;
            changed
        });
        self.out.settings.send_if_modified(|s| {
            let changed = *s != live;
            *s = live;
            changed
        });
        self.out.view.send_replace(self.now.clone());
        Ok(())
    }

    /// Logs when what holds the copy becomes another, or it goes on.
    fn tell(&self, pace: &Pace) {
        if self.now.phase.is_none_or(|p| p > Phase::Copying) {
            return;
        }
        let (was, is) = (&self.pace.hold, &pace.hold);
        if was.as_ref().map(|h| h.kind) == is.as_ref().map(|h| h.kind) {
            return;
        }
        match is {
            Some(hold) => {
                let signal = hold.kind.name();
                tracing::info!(signal, "the copy slows down: {}", hold.reason);
            }
            None => tracing::info!("the copy goes on"),
        }
    }

    /// Progress of the copy; a sum over the chunks, so only until it is complete.
    async fn count_rows(&mut self) -> Result<()> {
        self.now.retained = self.slot.retained();
        if self.complete.iter().all(|c| *c) {
            self.now.rate = None;
            return Ok(());
        }
        let (mut rows, mut copied, mut pending) = (0, 0, 0);
        for (i, (_, chunks)) in self.prepared.sources.iter().enumerate() {
            let progress = chunks.progress(&self.owner).await?;
            rows += progress.rows;
            copied += progress.copied;
            pending += progress.pending;
            self.complete[i] = progress.complete();
        }
        (self.now.rows, self.now.copied, self.now.pending) = (rows, copied, pending);
        self.progress.see(Instant::now(), rows);
        self.now.rate = self.progress.rate();
        Ok(())
    }

    /// Whether everything up to the end of the copy is applied.
    async fn caught_up(&mut self, phase: Phase) -> Result<bool> {
        if phase < Phase::Streaming {
            return Ok(false);
        }
        let Some(end) = self.copied_at else {
            self.copied_at = Some(slot::wal_end(&self.owner).await?);
            slot::mark(&self.owner).await?;
            return Ok(false);
        };
        Ok(self.stats.applied() >= end)
    }
}

/// The gauge of this process's role.
pub(super) fn role(view: &watch::Sender<View>, role: Role, error: Option<&Error>) {
    table::ROLE.set_only(role.name());
    view.send_modify(|v| {
        v.role = role;
        v.error = error.map(ToString::to_string);
    });
}
