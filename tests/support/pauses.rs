//! What the machine itself adds to a time that is measured: the tests run beside many
//! others on few processors, and any process may be stopped for seconds.
//!
//! A limit that crossfade promises stays the limit. What this measures is allowed on top
//! of it, so that such a test fails by what crossfade does and not by who had the
//! processors.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::World;

const TICK: Duration = Duration::from_millis(5);
/// So late anybody may wake up on a machine that is merely busy.
const LATE: Duration = Duration::from_millis(20);

struct Shared {
    begun: Instant,
    stop: AtomicBool,
    /// When the thread last woke up, and all that it overslept, in microseconds.
    woke: AtomicU64,
    overslept: AtomicU64,
}

impl Shared {
    fn now(&self) -> u64 {
        micros(self.begun.elapsed())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

/// What a sleep overslept that was `took` long.
fn over(took: u64) -> u64 {
    took.saturating_sub(micros(TICK + LATE))
}

/// Adds up for how long this process stood still, and for how long the programs that it has
/// started, the daemon for one, had work and no processor.
pub struct Pauses {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Of each of their threads, when that was last asked.
    starved: Mutex<HashMap<u32, Duration>>,
}

/// For how long each thread of this process's children has waited for a processor, since it
/// began; see `schedstat` in the kernel's sched-stats.rst.
fn starved() -> HashMap<u32, Duration> {
    let numbers = |dir: &str| -> Vec<u32> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .filter_map(|e| e.file_name().to_str()?.parse().ok())
            .collect()
    };
    // After the name, which may hold anything: the state, then the parent.
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    let waited = |pid: u32, thread: u32| -> Option<Duration> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        let nanoseconds = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(nanoseconds))
    };
    let children = numbers("/proc")
        .into_iter()
        .filter(|&pid| parent(pid) == Some(std::process::id()));
    children
        .flat_map(|pid| {
            let threads = numbers(&format!("/proc/{pid}/task"));
            threads.into_iter().map(move |thread| (pid, thread))
        })
        .filter_map(|(pid, thread)| Some((thread, waited(pid, thread)?)))
        .collect()
}

impl Pauses {
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            woke: AtomicU64::new(0),
            overslept: AtomicU64::new(0),
        });
        let own = shared.clone();
        // A thread of its own: the runtime's may be busy with the test.
        let thread = std::thread::spawn(move || {
            while !own.stop.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                let now = own.now();
                let took = now.saturating_sub(own.woke.swap(now, Ordering::Relaxed));
                own.overslept.fetch_add(over(took), Ordering::Relaxed);
            }
        });
        Self {
            shared,
            thread: Some(thread),
            starved: Mutex::new(starved()),
        }
    }

    /// All pauses since the start or the last time that this was asked.
    pub fn take(&self) -> Duration {
        let now = self.shared.now();
        // One that is just over may not be counted yet: then whoever asks counts it.
        let took = now.saturating_sub(self.shared.woke.swap(now, Ordering::Relaxed));
        let before = self.shared.overslept.swap(0, Ordering::Relaxed);
        Duration::from_micros(before + over(took)) + self.take_starved()
    }

    fn take_starved(&self) -> Duration {
        let now = starved();
        let before = std::mem::replace(&mut *self.starved.lock().unwrap(), now.clone());
        let since = now.iter().map(|(thread, waited)| {
            waited.saturating_sub(before.get(thread).copied().unwrap_or_default())
        });
        since.sum()
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The same, and how long a client waits on this machine for what nothing of crossfade's
/// is in the way of: one that writes a table of its own.
pub struct Control {
    pauses: Pauses,
    begun: Instant,
    shared: Arc<Waits>,
}

/// In microseconds.
#[derive(Default)]
struct Waits {
    stop: AtomicBool,
    longest: AtomicU64,
    /// Since when a transaction is under way, from the start; 0 while none is.
    since: AtomicU64,
}

impl Control {
    pub async fn start(world: &World) -> Self {
        let client = world.open().await;
        // A temporary one: nothing that looks at the schema sees it.
        client
            .batch_execute("create temp table control (n int); insert into control values (0)")
            .await
            .unwrap();
        let control = Self {
            pauses: Pauses::start(),
            begun: Instant::now(),
            shared: Arc::default(),
        };
        let (begun, shared) = (control.begun, control.shared.clone());
        tokio::spawn(async move {
            while !shared.stop.load(Ordering::Relaxed) {
                let since = Instant::now();
                let at = micros(since.duration_since(begun)).max(1);
                shared.since.store(at, Ordering::Relaxed);
                // The server may be stopped by the test.
                let done = transaction(&client).await;
                shared
                    .longest
                    .fetch_max(micros(since.elapsed()), Ordering::Relaxed);
                shared.since.store(0, Ordering::Relaxed);
                if done.is_err() {
                    return;
                }
                tokio::time::sleep(TICK).await;
            }
        });
        control
    }

    /// What the machine may have added to one wait since the start or the last time that
    /// this was asked.
    pub fn take(&self) -> Duration {
        // One that is under way has waited so long already.
        let since = match self.shared.since.load(Ordering::Relaxed) {
            0 => 0,
            since => micros(self.begun.elapsed()).saturating_sub(since),
        };
        let longest = self.shared.longest.swap(0, Ordering::Relaxed).max(since);
        self.pauses.take() + Duration::from_micros(longest)
    }
}

/// As many answers as a writer of the tests waits for.
async fn transaction(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    client.execute("update control set n = n + 1", &[]).await?;
    client.batch_execute("commit").await
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
