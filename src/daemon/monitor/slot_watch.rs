//! The slot under watch: what it retains, when that becomes dangerous, and a heartbeat
//! where nothing moves it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::config::Config;
use crate::daemon::Shared;
use crate::daemon::wal_guard::{self, Growth, Limit, Stage};
use crate::error::{Error, Kind, Result};
use crate::metrics::table;
use crate::pg::{Lsn, slot};
use crate::state::checkpoint::Leg;
use crate::state::{publication, recovery};

pub(super) struct SlotWatch {
    name: String,
    migration: i32,
    leg: Leg,
    config: crate::config::Slot,
    given_up: std::sync::Arc<std::sync::OnceLock<String>>,
    growth: Growth,
    limit: Option<Limit>,
    retained: u64,
    stage: Stage,
    /// Where the stream was when it was last seen to move, and when.
    moved: (Lsn, Instant),
}

impl SlotWatch {
    pub(super) fn new(shared: &Shared, config: &Config) -> Self {
        let leg = shared.prepared.leg();
        Self {
            name: match leg {
                Leg::Forward => config.slot(),
                Leg::Reverse => config.back_slot(),
            },
            migration: shared.prepared.migration.id,
            leg,
            config: config.slot_guard.clone(),
            given_up: shared.given_up.clone(),
            growth: Growth::default(),
            limit: None,
            retained: 0,
            stage: Stage::Fine,
            moved: (shared.stats.applied(), Instant::now()),
        }
    }

    pub(super) fn retained(&self) -> u64 {
        self.retained
    }

    /// Limit, and the share of it from which on the copy stands.
    pub(super) fn throttles(&self) -> Option<(u64, f64)> {
        self.limit.map(|l| (l.bytes(), wal_guard::THROTTLE))
    }

    pub(super) fn shown(&self) -> serde_json::Value {
        let forecast = self.limit.and_then(|l| self.growth.forecast(l));
        serde_json::json!({
            "retained_bytes": self.retained,
            "limit_bytes": self.limit.map(Limit::bytes),
            "limit_setting": self.limit.map(Limit::setting),
            "growth_bytes_per_second": self.growth.per_second(),
            "limit_in_seconds": forecast.map(|f| f.as_secs_f64()),
            "stage": self.stage.name(),
        })
    }

    /// Reads the slot, and does what is to be done about it.
    ///
    /// # Errors
    /// [`Kind::Slot`] when it was given up now, or its publication is another one.
    pub(super) async fn look(&mut self, client: &Client, applied: Lsn) -> Result<()> {
        if let Some(changed) = publication::changed(client, self.migration, &self.name).await? {
            return Err(crate::daemon::gap::gap(self.leg, changed));
        }
        let info = slot::read(client, &self.name).await?;
        self.retained = info.and_then(|i| i.retained).unwrap_or(0);
        self.growth.see(Instant::now(), self.retained);
        let server = keep_size(client).await?;
        self.limit = Limit::of(self.config.give_up_wal, server);
        let forecast = self.limit.and_then(|l| self.growth.forecast(l));
        let stage = wal_guard::decide(self.limit, self.retained, forecast);
        self.tell(stage, forecast);
        self.stage = stage;
        self.gauges(forecast);
        if let (Stage::GiveUp, Some(limit)) = (stage, self.limit) {
            return Err(self.give_up(client, limit).await);
        }
        self.heartbeat(client, applied).await
    }

    fn tell(&self, stage: Stage, forecast: Option<Duration>) {
        if stage == self.stage {
            return;
        }
        let (slot, retained_mib) = (&self.name, self.retained >> 20);
        let limit = self.limit.map_or(0, Limit::bytes) >> 20;
        let setting = self.limit.map_or("", Limit::setting);
        let reached = forecast.map_or("not at this rate".to_owned(), |f| {
            format!("in {} min", f.as_secs() / 60)
        });
        let what = match stage {
            Stage::Fine => {
                tracing::info!(%slot, retained_mib, "the slot is out of danger");
                return;
            }
            Stage::Warn => "the slot retains much WAL",
            Stage::Throttle => "the slot nears its limit, the copy stands",
            Stage::GiveUp => "the slot is at its limit and is given up",
        };
        tracing::warn!(%slot, retained_mib, limit_mib = limit, setting, reached, "{what}");
    }

    #[allow(clippy::cast_precision_loss)]
    fn gauges(&self, forecast: Option<Duration>) {
        table::SLOT_RETAINED.set(self.retained as f64);
        let limit = self.limit.map_or(f64::INFINITY, |l| l.bytes() as f64);
        table::SLOT_LIMIT.set(limit);
        table::SLOT_GROWTH.set(self.growth.per_second().unwrap_or(0.0));
        table::SLOT_FORECAST.set(forecast.map_or(f64::INFINITY, |f| f.as_secs_f64()));
        table::SLOT_STAGE.set_only(self.stage.name());
    }

    /// Drops the slot, so that the server can remove its log. First it is remembered
    /// why, for whoever finds it gone.
    async fn give_up(&self, client: &Client, limit: Limit) -> Error {
        let why = format!(
            "the slot {} was given up: it retained {} MiB of WAL, the limit is {} MiB ({})",
            self.name,
            self.retained >> 20,
            limit.bytes() >> 20,
            limit.setting()
        );
        // The stream will find its slot gone: that is not the reason.
        let _ = self.given_up.set(why.clone());
        let bound = Duration::from_secs(30);
        let done = async {
            recovery::lost(client, self.migration, &why).await?;
            slot::drop(client, &self.name, slot::Active::Terminate, bound).await
        };
        match done.await {
            Ok(_) => gave_up(self.leg, why),
            Err(e) => e.context(why),
        }
    }

    /// Writes something that the stream brings back, where nothing else has moved it
    /// for a while: the slot of tables that nobody changes must not hold the log of
    /// those that everybody does.
    async fn heartbeat(&mut self, client: &Client, applied: Lsn) -> Result<()> {
        let every = Duration::from_secs(self.config.heartbeat_seconds);
        if applied > self.moved.0 || every.is_zero() {
            self.moved = (applied, Instant::now());
        } else if self.moved.1.elapsed() >= every {
            slot::mark(client).await?;
            table::HEARTBEATS_TOTAL.add(1);
            self.moved.1 = Instant::now();
        }
        Ok(())
    }
}

/// The error with which a daemon ends that has given its slot up.
pub(in crate::daemon) fn gave_up(leg: Leg, why: String) -> Error {
    let remedy = match leg {
        Leg::Forward => {
            "nothing that was copied is lost; find out why the stream fell behind (`crossfade status`), then start the daemon again: it compares what was copied and copies again what differs"
        }
        Leg::Reverse => {
            "the new schema is live and complete, the way back to the old one is lost: `crossfade finish`"
        }
    };
    Error::new(Kind::Slot, why).remedy(remedy)
}

/// `max_slot_wal_keep_size` in bytes; `None` without a limit.
async fn keep_size(client: &Client) -> Result<Option<u64>> {
    let row = client
        .query_one(
            "select setting::int8 << 20 from pg_catalog.pg_settings
             where name = 'max_slot_wal_keep_size'",
            &[],
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}
