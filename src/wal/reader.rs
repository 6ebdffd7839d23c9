//! The slot's reader: an operating-system thread that receives, decodes and
//! answers the server, and a bounded queue to the async side.
//!
//! Invariants:
//! - Feedback never depends on the consumer: while the queue is full the thread
//!   stops reading but goes on sending a status every [`Timing::status`].
//! - What is confirmed is what [`Stream::confirm`] was told, nothing else. Before
//!   the first call the status carries 0/0, which leaves the slot where it is.
//! - Frames come out in the order they arrived; the end of the stream comes after
//!   the last of them.

mod pump;
mod queue;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::pgoutput::Message;
use super::transport::System;
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, Lsn};
use pump::Pump;
use queue::Queue;

/// What to stream, and from where.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    pub conninfo: ConnInfo,
    pub slot: String,
    pub publication: String,
    /// The checkpoint: a Commit's `end_lsn`. The server silently begins later if
    /// the slot was confirmed further: compare before.
    pub start: Lsn,
}

/// One message or keepalive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Both 0/0 for messages that belong to no record of the log.
    pub wal_start: Lsn,
    pub wal_end: Lsn,
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Message(Message),
    /// The server has nothing to send up to `wal_end`. Of several in a row only
    /// the last is kept.
    Keepalive,
}

/// Bounds of the reader. The defaults are for production; tests tighten them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Bytes that may wait in the queue: values, cells and frames as they lie in
    /// memory. One larger message passes alone.
    pub queue_bytes: usize,
    /// Longest time between two statuses; less if `wal_sender_timeout` is short.
    pub status: Duration,
    /// A server that was asked and sends no byte for this long is gone.
    pub silence: Duration,
    /// Bound on [`Stream::stop`]; for four fifths of it the rest of the stream is read until
    /// the server has given the slot free.
    pub stop: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            queue_bytes: 8 << 20,
            status: Duration::from_secs(1),
            silence: Duration::from_secs(60),
            stop: Duration::from_secs(10),
        }
    }
}

/// The consumer's end. Dropping it ends the thread within about 50 ms, or within
/// `connect_timeout` while it still connects.
#[derive(Debug)]
pub struct Stream {
    queue: StopOnDrop,
    system: System,
    /// Resolves when the thread has ended.
    ended: oneshot::Receiver<()>,
    stop: Duration,
}

/// Connects in a thread of its own and returns when streaming has begun.
///
/// # Errors
/// [`Kind::Connection`], [`Kind::Privilege`], [`Kind::Precondition`] from the
/// login; [`Kind::Slot`] when the slot is gone; [`Kind::Contention`] while another
/// session streams from it.
pub async fn start(options: StreamOptions) -> Result<Stream> {
    start_with(options, Timing::default()).await
}

/// As [`start`], with other bounds.
///
/// # Errors
/// As [`start`].
pub async fn start_with(options: StreamOptions, timing: Timing) -> Result<Stream> {
    let shared = Arc::new(Queue::new(timing.queue_bytes));
    // Ends the thread too if this future is dropped while it connects.
    let guard = StopOnDrop(Arc::clone(&shared));
    let (begun, begin) = oneshot::channel();
    let (ending, ended) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("crossfade-wal".to_owned())
        .spawn(move || {
            shared.attach(thread::current());
            match Pump::open(&options, timing, Arc::clone(&shared)) {
                Ok((pump, system)) => {
                    // A gone receiver has set the stop flag, which run() sees.
                    let _ = begun.send(Ok(system));
                    shared.end(pump.run());
                }
                Err(error) => {
                    let _ = begun.send(Err(error));
                }
            }
            let _ = ending.send(());
        });
    spawned.map_err(|e| Error::new(Kind::Io, format!("no thread for the stream: {e}")))?;
    let system = begin.await.map_err(|_| gone())??;
    Ok(Stream {
        queue: guard,
        system,
        ended,
        stop: timing.stop,
    })
}

#[derive(Debug)]
struct StopOnDrop(Arc<Queue>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn gone() -> Error {
    Error::new(Kind::Connection, "the stream has ended")
}

impl Stream {
    /// The next frames in order, as many as are there. Cancel-safe.
    ///
    /// # Errors
    /// The reason why the stream ended, once, after the last frame; then
    /// [`Kind::Connection`].
    pub async fn next(&mut self) -> Result<Vec<Frame>> {
        loop {
            if let Some(outcome) = self.try_next() {
                return outcome;
            }
            self.queue.0.filled().await;
        }
    }

    /// As [`Stream::next`], `None` if nothing is there now.
    pub fn try_next(&mut self) -> Option<Result<Vec<Frame>>> {
        self.queue.0.take()
    }

    /// Everything up to `lsn` is durable in the target. Told to the server within
    /// about 50 ms. Never goes back.
    pub fn confirm(&self, lsn: Lsn) {
        self.queue.0.confirm(lsn);
    }

    /// The newest end of the log that the server told us.
    #[must_use]
    pub fn server_position(&self) -> Lsn {
        self.queue.0.server_position()
    }

    /// The server's identity as this connection saw it.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Sends a last status with what is confirmed, ends the stream and waits for
    /// the thread, no longer than [`Timing::stop`].
    pub async fn stop(mut self) {
        self.queue.0.stop();
        if tokio::time::timeout(self.stop, &mut self.ended)
            .await
            .is_err()
        {
            tracing::warn!("the stream's thread has not ended in time and was left alone");
        }
    }
}
