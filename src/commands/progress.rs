//! The progress of a run: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::daemon::View;
use crate::phase::Phase;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows every view until aborted.
pub fn show(mut view: watch::Receiver<View>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let bar = std::io::stderr().is_terminal().then(bar);
        let mut rate = Rate::default();
        let mut last: Option<(Instant, Option<Phase>)> = None;
        while view.changed().await.is_ok() {
            let now = view.borrow_and_update().clone();
            rate.see(now.rows);
            if let Some(bar) = &bar {
                bar.set_length(u64::try_from(now.estimated.max(now.rows)).unwrap_or(0));
                bar.set_position(u64::try_from(now.rows).unwrap_or(0));
                bar.set_message(line(&now, &rate));
                continue;
            }
            let due =
                last.is_none_or(|(at, phase)| at.elapsed() >= LINE_EVERY || phase != now.phase);
            if due && now.phase.is_some() {
                last = Some((Instant::now(), now.phase));
                let percent = now.rows * 100 / now.estimated.max(now.rows).max(1);
                tracing::info!("{percent} % {}", line(&now, &rate));
            }
        }
    })
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32.cyan/blue} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Rows a second over the last seconds.
#[derive(Default)]
struct Rate {
    seen: std::collections::VecDeque<(Instant, i64)>,
}

impl Rate {
    fn see(&mut self, rows: i64) {
        self.seen.push_back((Instant::now(), rows));
        while self.seen.len() > 40 {
            self.seen.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.seen.front(), self.seen.back()) else {
            return 0.0;
        };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rows = (last.1 - first.1) as f64;
        if seconds > 0.5 { rows / seconds } else { 0.0 }
    }
}

fn line(now: &View, rate: &Rate) -> String {
    let phase = now.phase.map_or("starting", Phase::name);
    let mut text = format!("{phase}  {} rows", now.rows);
    if now.phase == Some(Phase::Copying) {
        let per_second = rate.per_second();
        text = format!("{text}  {per_second:.0}/s");
        let left = now.estimated - now.rows;
        if per_second > 1.0 && left > 0 {
            #[allow(clippy::cast_precision_loss)]
            let seconds = left as f64 / per_second;
            text = format!(
                "{text}  ETA {}",
                HumanDuration(Duration::from_secs_f64(seconds))
            );
        }
    }
    text = format!(
        "{text}  {} changes applied  lag {:.1} s, {}",
        now.applied,
        now.lag_seconds,
        HumanBytes(now.lag_bytes)
    );
    if let Some(why) = &now.waiting {
        text = format!("{text}  waiting: {why}");
    }
    text
}
