//! Takes a stream's frames to whoever applies them, until it is asked to stop.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::stats::Stats;
use crate::error::Result;
use crate::wal::reader::{Frame, Stream};

/// How often an applier with nothing to apply looks after what else it has to do.
const TICK: Duration = Duration::from_millis(200);

/// The least time between two commits while the stream is nearly drained. Every commit
/// costs the server a dozen short statements and a flush that the application's commits
/// queue behind, whatever is in it: changes that come one at a time are written a few
/// at a time. The first one after a pause is written at once.
const LINGER: Duration = Duration::from_millis(10);

/// What applies a stream.
pub trait Sink: Send {
    fn stats(&self) -> &Stats;

    /// Whether what was taken ends inside of a transaction.
    fn in_transaction(&self) -> bool;

    /// Whether what was taken can be written and nobody waits for it in particular.
    fn lingers(&self) -> bool;

    /// Takes one frame; `last` says that no other one is waiting.
    fn on_frame(
        &mut self,
        frame: Frame,
        last: bool,
        stream: &Stream,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Nothing more is there now: what ends in a whole transaction is written.
    fn drained(&mut self, stream: &Stream) -> impl Future<Output = Result<()>> + Send;

    /// Called now and then while nothing comes.
    fn idle(&mut self, stream: &Stream) -> impl Future<Output = Result<()>> + Send;
}

/// When what was drained last.
#[derive(Debug, Default)]
struct Spacing(Option<Instant>);

impl Spacing {
    /// How long what can be written waits for more, if it does.
    fn left(&self, lingers: bool, now: Instant) -> Option<Duration> {
        let since = now.duration_since(self.0.filter(|_| lingers)?);
        LINGER.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Told before every write.
    fn writes(&mut self, lingers: bool, now: Instant) {
        if lingers {
            self.0 = Some(now);
        }
    }
}

/// Runs until `stop` turns true: what was received in whole transactions is then
/// committed; a transaction that is only partly there comes again.
///
/// # Errors
/// The stream's or the sink's.
pub async fn pump<S: Sink>(
    sink: &mut S,
    stream: &mut Stream,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut frames: VecDeque<Frame> = VecDeque::new();
    let mut tick = tokio::time::interval(TICK);
    let mut spacing = Spacing::default();
    loop {
        while let Some(frame) = frames.pop_front() {
            sink.stats().set_decoded(frame.wal_start.max(frame.wal_end));
            // A keepalive behind the last change is no reason to write that at once.
            let last = frames.is_empty() && !sink.lingers();
            sink.on_frame(frame, last, stream).await?;
            // Between two transactions, however many more are waiting.
            if *stop.borrow() && !sink.in_transaction() {
                return sink.drained(stream).await;
            }
        }
        sink.stats().set_server(stream.server_position());
        match stream.try_next() {
            Some(next) => {
                frames.extend(next?);
                continue;
            }
            None if *stop.borrow() => return sink.drained(stream).await,
            None => {}
        }
        let (lingers, now) = (sink.lingers(), Instant::now());
        let left = spacing.left(lingers, now);
        if left.is_none() {
            spacing.writes(lingers, now);
            sink.drained(stream).await?;
        }
        tokio::select! {
            next = stream.next() => frames.extend(next?),
            () = tokio::time::sleep(left.unwrap_or(TICK)), if left.is_some() => {}
            _ = tick.tick() => sink.idle(stream).await?,
            _ = stop.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_changes_are_written_a_few_at_a_time_and_the_first_at_once() {
        let begin = Instant::now();
        let mut spacing = Spacing::default();
        let mut writes = Vec::new();
        // A change each millisecond, looked at every tenth of one.
        for tenths in 0..500 {
            let now = begin + Duration::from_micros(100 * tenths);
            if spacing.left(true, now).is_none() {
                spacing.writes(true, now);
                writes.push(tenths / 10);
            }
        }
        assert_eq!(writes, [0, 10, 20, 30, 40]);
        // Nothing to write, or somebody waits for it: no spacing.
        let now = begin + Duration::from_millis(50);
        spacing.writes(true, now);
        assert_eq!(spacing.left(false, now), None);
        assert_eq!(spacing.left(true, now), Some(LINGER));
        assert_eq!(spacing.left(true, now + LINGER), None);
    }
}
