//! Why the copy waits. The stream never does: copy yields before apply.

pub mod controller;
pub mod signal;

use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use controller::{Hold, Pace, step};
pub use signal::{Kind, Load, Probed, Signal, signals};

/// The present pace, shared with every copier.
#[derive(Debug, Clone)]
pub struct Throttle {
    pace: watch::Receiver<Pace>,
    /// Which of how many copiers this one is for, from 1.
    copier: (u32, u32),
}

impl Throttle {
    /// At full speed until the sender says otherwise.
    #[must_use]
    pub fn new() -> (watch::Sender<Pace>, Self) {
        let (sender, pace) = watch::channel(Pace::default());
        (sender, Self::following(pace))
    }

    /// For one worker that keeps this pace, as all others beside it do.
    #[must_use]
    pub fn following(pace: watch::Receiver<Pace>) -> Self {
        Self {
            pace,
            copier: (1, 1),
        }
    }

    /// For one of `of` copiers, counted from 1: the last one yields first.
    pub fn of_copier(&mut self, number: u32, of: u32) {
        self.copier = (number, of);
    }

    /// Whether the copy makes room for others that have waited for it.
    #[must_use]
    pub fn yielding(&self) -> bool {
        self.pace.borrow().yielding
    }

    /// Returns when the copy may go on after it has `worked` on a chunk. Called only
    /// between chunks, never while a claim is held: the applier may wait for that.
    pub async fn pass(&mut self, worked: Duration) {
        let began = Instant::now();
        loop {
            let (number, of) = self.copier;
            let pause = self
                .pace
                .borrow_and_update()
                .of_copier(number, of)
                .pause_after(worked);
            let left = pause.map(|p| p.saturating_sub(began.elapsed()));
            if left.is_some_and(|l| l.is_zero()) {
                return;
            }
            let changed = async {
                // Its end means that the daemon ends: its stop signal ends the copier.
                if self.pace.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match left {
                None => changed.await,
                Some(left) => tokio::select! {
                    () = tokio::time::sleep(left) => return,
                    () = changed => {}
                },
            }
        }
    }
}
