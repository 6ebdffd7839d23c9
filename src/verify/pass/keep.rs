//! The part of a pass that keeps its place: writes how far it is, and heeds the
//! throttle and those who wait. It works on the session that holds the lock, so that
//! a pass that has lost the lock ends.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{Pass, Waiting};
use crate::copy::Throttle;
use crate::error::Result;
use crate::state::verification::{self, Heed};

/// How often throttle and waiting sessions are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often the place is written, at most.
const SAVE: Duration = Duration::from_secs(1);
/// How long the ranges that are being compared may take once the pass is to give way.
const DRAIN: Duration = Duration::from_secs(10);

impl Pass<'_> {
    /// Returns when the pass is to end at once, because it gives way and its ranges
    /// take long.
    pub(super) async fn keep(&self, client: &Client) -> Result<()> {
        let mut saved = Instant::now();
        let mut giving_way: Option<Instant> = None;
        loop {
            let heed = verification::heed(client, self.subject.migration).await?;
            self.throttle(&heed);
            if self.options.polite && heed.wanted && giving_way.is_none() {
                giving_way = Some(Instant::now());
                self.halt.send_replace(true);
            }
            if giving_way.is_some_and(|since| since.elapsed() > DRAIN) {
                return Ok(());
            }
            if saved.elapsed() >= SAVE {
                self.save(client).await?;
                saved = Instant::now();
            }
            tokio::time::sleep(TICK).await;
        }
    }

    pub(super) fn throttle(&self, heed: &Heed) {
        let share = heed.pace.clamp(0.0, 1.0);
        let before = self.pace.borrow().share;
        self.pace.send_if_modified(|pace| {
            let changed = pace.share.to_bits() != share.to_bits();
            pace.share = share;
            changed
        });
        let why = heed.reason.as_deref().unwrap_or("the throttle");
        let waiting = (share < 1.0).then(|| Waiting {
            share,
            reason: why.to_owned(),
        });
        self.progress.send_modify(|p| p.waiting = waiting);
        if share < 1.0 && before == 1.0 {
            tracing::info!("the verification slows down: {why}");
        }
        if share == 0.0 && before > 0.0 {
            tracing::info!("the verification waits: {why}");
        }
    }

    /// Writes the place, if it has moved.
    pub(super) async fn save(&self, client: &Client) -> Result<()> {
        let stored = {
            let mut frontier = self.frontier();
            frontier.take_changed().then(|| frontier.stored())
        };
        if let Some(stored) = stored {
            let id = self.subject.migration;
            verification::save(client, id, self.seconds(), &stored).await?;
        }
        Ok(())
    }

    /// Keeps the pace after a worker has `worked` on a range; false when the pass gives
    /// way. Called only between ranges, never inside a snapshot.
    pub(super) async fn may_go_on(&self, throttle: &mut Throttle, worked: Duration) -> bool {
        let mut halt = self.halt.subscribe();
        // The senders live as long as the pass: neither wait can fail.
        tokio::select! {
            biased;
            _ = halt.wait_for(|h| *h) => false,
            () = throttle.pass(worked) => true,
        }
    }
}
