//! The loop of the reader's thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::queue::Queue;
use super::{Event, Frame, StreamOptions, Timing};
use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;
use crate::wal::pgoutput::{self, Cell};
use crate::wal::transport::{Copy, Received, Status, System, Transport};

/// How long a read waits: bounds how late a confirmation is sent.
const TICK: Duration = Duration::from_millis(40);
/// A consumer may confirm every batch; the server need not hear of each.
const CONFIRM_EVERY: Duration = Duration::from_millis(5);
/// A wait shorter than this means that the server is busy sending.
const BUSY: Duration = Duration::from_millis(5);

pub struct Pump {
    transport: Transport,
    queue: Arc<Queue>,
    /// Pause before the next read of a busy stream: the server flushes every
    /// message, and reading each alone costs both sides a wake-up. A unix
    /// socket's buffer is small, so its pause is short.
    nap: Duration,
    status_every: Duration,
    silence: Duration,
    received: Lsn,
    told: Lsn,
    status_sent: Instant,
    heard: Instant,
    /// When the silent server was asked to answer.
    asked: Option<Instant>,
    farewell: Duration,
    batch: Vec<Frame>,
}

impl Pump {
    /// Connects and begins the stream.
    pub fn open(
        options: &StreamOptions,
        timing: Timing,
        queue: Arc<Queue>,
    ) -> Result<(Self, System)> {
        let purpose = format!("stream {}", options.slot);
        let mut transport = Transport::connect(&options.conninfo, &purpose)?;
        let system = transport.identify_system()?;
        let status_every = sender_timeout(&mut transport)?
            .map_or(timing.status, |timeout| timing.status.min(timeout / 2))
            .max(Duration::from_millis(1));
        transport.start_replication(&options.slot, &options.publication, options.start)?;
        transport.set_read_timeout(TICK.min(status_every))?;
        let micros = if transport.is_unix() { 100 } else { 1000 };
        let now = Instant::now();
        let pump = Self {
            transport,
            queue,
            nap: Duration::from_micros(micros),
            status_every,
            silence: timing.silence,
            received: options.start,
            told: Lsn::default(),
            status_sent: now,
            heard: now,
            asked: None,
            // Shorter than the consumer waits for this thread, who would leave it alone else.
            farewell: timing.stop * 4 / 5,
            batch: Vec::new(),
        };
        Ok((pump, system))
    }

    /// Until the consumer stops it (Ok) or the connection ends.
    pub fn run(mut self) -> Result<()> {
        let mut reply = true;
        loop {
            if self.queue.is_stopping() {
                self.farewell();
                return Ok(());
            }
            self.feed_back(reply)?;
            reply = false;
            if self.queue.is_full() {
                // The server's silence is ours now: we do not listen.
                self.heard = Instant::now();
                thread::park_timeout(TICK.min(self.status_every));
                continue;
            }
            let waited = Instant::now();
            match self.transport.receive()? {
                Received::Nothing => self.expect_life()?,
                Received::Bytes { more } => {
                    self.heard = Instant::now();
                    self.asked = None;
                    reply = self.deliver()?;
                    let busy = self.heard.duration_since(waited) < BUSY;
                    if busy && !more && !reply {
                        thread::sleep(self.nap);
                    }
                }
            }
        }
    }

    /// Sends a status when one is due: asked for, confirmed further, or time.
    fn feed_back(&mut self, asked: bool) -> Result<()> {
        let confirmed = self.queue.confirmed();
        let since = self.status_sent.elapsed();
        let news = confirmed > self.told && since >= CONFIRM_EVERY;
        if asked || news || since >= self.status_every {
            self.status(false)?;
        }
        Ok(())
    }

    fn status(&mut self, ask: bool) -> Result<()> {
        let confirmed = self.queue.confirmed();
        self.transport.send_status(Status {
            write: self.received,
            confirmed,
            ask,
        })?;
        self.told = confirmed;
        self.status_sent = Instant::now();
        Ok(())
    }

    /// After half of the allowed silence the server is asked to answer, and has the other
    /// half to do so: should this process stand still, it has not been asked yet.
    fn expect_life(&mut self) -> Result<()> {
        let silent = self.heard.elapsed();
        let half = self.silence / 2;
        if self.asked.is_some_and(|asked| asked.elapsed() >= half) {
            return Err(Error::new(
                Kind::Connection,
                format!(
                    "the server has sent nothing for {} s on the replication connection, though it was asked",
                    silent.as_secs()
                ),
            )
            .remedy("check the network between crossfade and the server"));
        }
        if silent >= half && self.asked.is_none() {
            self.status(true)?;
            self.asked = Some(Instant::now());
        }
        Ok(())
    }

    /// Hands over what is there, also what came before an error; whether a reply
    /// was asked for.
    fn deliver(&mut self) -> Result<bool> {
        let mut bytes = 0;
        let outcome = self.decode(&mut bytes);
        self.queue.saw_server_at(self.received);
        self.queue.push(&mut self.batch, bytes);
        outcome
    }

    fn decode(&mut self, bytes: &mut usize) -> Result<bool> {
        let mut reply = false;
        while let Some(copy) = self.transport.frame()? {
            let frame = match copy {
                Copy::Data {
                    wal_start,
                    wal_end,
                    payload,
                } => {
                    *bytes += payload.len();
                    let message = pgoutput::decode(payload)?;
                    *bytes += message.cells() * size_of::<Cell>();
                    Frame {
                        wal_start,
                        wal_end,
                        event: Event::Message(message),
                    }
                }
                Copy::Keepalive {
                    wal_end,
                    reply: asked,
                } => {
                    reply |= asked;
                    Frame {
                        wal_start: wal_end,
                        wal_end,
                        event: Event::Keepalive,
                    }
                }
                Copy::Done => {
                    return Err(Error::new(
                        Kind::Connection,
                        "the server ended the replication stream",
                    ));
                }
            };
            self.received = self.received.max(frame.wal_start).max(frame.wal_end);
            *bytes += size_of::<Frame>();
            self.batch.push(frame);
        }
        Ok(reply)
    }

    /// The last status, then the end of the stream in the protocol's way. What
    /// still arrives was never handed over, so it is not confirmed and comes
    /// again.
    fn farewell(mut self) {
        let begun = Instant::now();
        let outcome = self
            .status(false)
            .and_then(|()| self.transport.send_copy_done())
            .and_then(|()| self.until_done(begun + self.farewell));
        match outcome {
            Ok(()) => self.transport.terminate(),
            Err(error) => tracing::debug!(%error, "the stream broke while it was closed"),
        }
    }

    fn until_done(&mut self, deadline: Instant) -> Result<()> {
        while !self.transport.ended()? && Instant::now() < deadline {
            self.transport.receive()?;
        }
        Ok(())
    }
}

/// The server's `wal_sender_timeout`; `None` if it waits for ever.
fn sender_timeout(transport: &mut Transport) -> Result<Option<Duration>> {
    let rows = transport
        .query("select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'")?;
    let setting = rows.first().and_then(|row| row.first()?.as_deref());
    let milliseconds = setting.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}
