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
    /// For this many copiers.
    #[must_use]
    pub fn new(copiers: u32) -> (watch::Sender<Pace>, Self) {
        let (sender, pace) = watch::channel(Pace::default());
        let copier = (1, copiers);
        (sender, Self { pace, copier })
    }

    /// For one worker among others that all keep the same pace.
    #[must_use]
    pub fn following(pace: watch::Receiver<Pace>) -> Self {
        Self {
            pace,
            copier: (1, 1),
        }
    }

    /// The same for one copier: the last one yields first.
    #[must_use]
    pub fn of_copier(self, number: u32) -> Self {
        Self {
            copier: (number, self.copier.1),
            ..self
        }
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
