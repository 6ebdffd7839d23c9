//! What the reader's thread and the async side share: frames one way, the
//! confirmed position and the wish to stop the other way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use tokio::sync::Notify;

use super::{Event, Frame, gone};
use crate::error::{Error, Result};
use crate::pg::Lsn;

#[derive(Debug)]
pub struct Queue {
    limit: usize,
    state: Mutex<State>,
    filled: Notify,
    stopping: AtomicBool,
    confirmed: AtomicU64,
    server: AtomicU64,
    /// The reader's thread: it sleeps while the queue is full.
    reader: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<Frame>,
    bytes: usize,
    ended: bool,
    reason: Option<Error>,
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            filled: Notify::new(),
            stopping: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            server: AtomicU64::new(0),
            reader: OnceLock::new(),
        }
    }

    /// Nothing that holds the lock can panic; a poisoned lock is as good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn attach(&self, reader: Thread) {
        // Called once, by the thread that starts.
        let _ = self.reader.set(reader);
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    // The reader's side.

    /// Appends `frames`, which weigh `bytes`.
    pub fn push(&self, frames: &mut Vec<Frame>, bytes: usize) {
        if frames.is_empty() {
            return;
        }
        let mut state = self.state();
        let idle = |frame: Option<&Frame>| frame.is_some_and(|f| f.event == Event::Keepalive);
        // An idle server's keepalives must not pile up before a slow consumer.
        if idle(state.frames.last()) && idle(frames.first()) {
            state.frames.pop();
        }
        state.frames.append(frames);
        state.bytes += bytes;
        drop(state);
        self.filled.notify_one();
    }

    pub fn is_full(&self) -> bool {
        self.state().bytes >= self.limit
    }

    pub fn end(&self, reason: Result<()>) {
        let mut state = self.state();
        state.ended = true;
        state.reason = reason.err();
        drop(state);
        self.filled.notify_one();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::Acquire))
    }

    pub fn saw_server_at(&self, lsn: Lsn) {
        self.server.fetch_max(lsn.0, Ordering::AcqRel);
    }

    // The consumer's side.

    pub fn take(&self) -> Option<Result<Vec<Frame>>> {
        let mut state = self.state();
        if !state.frames.is_empty() {
            let frames = std::mem::take(&mut state.frames);
            state.bytes = 0;
            drop(state);
            self.wake_reader();
            return Some(Ok(frames));
        }
        if state.ended {
            return Some(Err(state.reason.take().unwrap_or_else(gone)));
        }
        None
    }

    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn confirm(&self, lsn: Lsn) {
        self.confirmed.fetch_max(lsn.0, Ordering::AcqRel);
        self.wake_reader();
    }

    pub fn server_position(&self) -> Lsn {
        Lsn(self.server.load(Ordering::Acquire))
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_reader();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::wal::pgoutput::{Begin, Message};

    fn frame(at: u64, event: Event) -> Frame {
        Frame {
            wal_start: Lsn(at),
            wal_end: Lsn(at),
            event,
        }
    }

    fn begin() -> Event {
        Event::Message(Message::Begin(Begin {
            final_lsn: Lsn(1),
            commit_time: 0,
            xid: 1,
        }))
    }

    fn positions(queue: &Queue) -> Vec<u64> {
        let frames = queue.take().unwrap().unwrap();
        frames.iter().map(|f| f.wal_end.0).collect()
    }

    #[test]
    fn keepalives_in_a_row_become_the_last_and_never_overtake_messages() {
        let queue = Queue::new(100);
        for (at, event) in [
            (1, Event::Keepalive),
            (2, Event::Keepalive),
            (3, begin()),
            (4, Event::Keepalive),
            (5, Event::Keepalive),
        ] {
            queue.push(&mut vec![frame(at, event)], 1);
        }
        assert_eq!(positions(&queue), [2, 3, 5]);
        assert!(queue.take().is_none());
    }

    #[test]
    fn the_queue_is_full_until_it_is_taken_and_the_end_comes_last_and_once() {
        let queue = Queue::new(10);
        queue.push(&mut vec![frame(1, begin())], 50);
        assert!(queue.is_full());
        queue.end(Err(Error::new(Kind::Slot, "why")));
        assert_eq!(positions(&queue), [1]);
        assert!(!queue.is_full());
        assert_eq!(queue.take().unwrap().unwrap_err().kind, Kind::Slot);
        assert_eq!(queue.take().unwrap().unwrap_err().kind, Kind::Connection);
    }

    #[test]
    fn confirmations_never_go_back() {
        let queue = Queue::new(1);
        queue.confirm(Lsn(5));
        queue.confirm(Lsn(3));
        assert_eq!(queue.confirmed(), Lsn(5));
    }
}
