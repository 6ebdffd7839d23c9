//! One client of the application: a session, a ledger, a stream of transactions.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_postgres::Client;

use super::form::{Form, Layout, has_moved};
use super::latency::Histogram;
use super::ledger::{Entry, Ledger};
use super::play::{Changes, Play};
use super::script::{Choice, End, Script};
use super::tally::Tally;
use crate::demo::shop;
use crate::error::{Context, Error, Kind, Result};

/// How long a client waits for a server that is away, and for an old session of
/// its own to be gone.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// How often one transaction may change its form: while schemas are switched back
/// and forth it can come too late more than once.
const MOVES: u32 = 5;

/// The part of the shop's past that belongs to one client: ids from 1 to `last`
/// with `id % clients == index`.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    pub index: i64,
    pub clients: i64,
    pub last: i64,
}

/// What a client knows in the end.
#[derive(Debug)]
pub struct Known {
    /// The form its last transaction used.
    pub form: Form,
    pub ledger: Ledger,
    pub latency: Histogram,
}

/// A session and the number of the server process behind it.
struct Session {
    client: Client,
    pid: i32,
}

/// Everything a client owns. Only it touches its orders, so its ledger is exact.
pub struct Worker {
    url: String,
    layout: Layout,
    form: Form,
    session: Option<Session>,
    orders: Orders,
    rng: Rng,
    latency: Histogram,
    tally: Arc<Tally>,
    /// Its place in the tally.
    number: usize,
}

/// Why a transaction did not end as its script says.
enum Failure {
    /// Nothing is committed.
    NotCommitted(Error),
    /// COMMIT was sent and not answered.
    Unknown {
        changes: Changes,
        pid: i32,
        error: Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::NotCommitted(error)
    }
}

impl Worker {
    #[must_use]
    pub fn new(url: &str, layout: Layout, slice: Slice, seed: u64, tally: Arc<Tally>) -> Self {
        Self {
            url: url.to_owned(),
            layout,
            form: Form::BEFORE,
            session: None,
            orders: Orders {
                ledger: Ledger::default(),
                placed: Vec::new(),
                slice,
            },
            rng: Rng::with_seed(seed),
            latency: Histogram::default(),
            tally,
            number: usize::try_from(slice.index).unwrap_or(usize::MAX),
        }
    }

    /// Runs a transaction each `interval` until told to stop; never in the middle
    /// of one. After a stall it goes on at the old pace and does not catch up.
    pub async fn run(mut self, interval: Duration, mut stop: watch::Receiver<bool>) -> Known {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the application itself is gone.
                _ = stop.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            let script = Script::random(&mut self.rng, &mut self.orders, now());
            let begun = Instant::now();
            self.transaction(&script).await;
            let took = begun.elapsed();
            self.latency.record(took);
            self.tally.took(self.number, took);
        }
        Known {
            form: self.form,
            ledger: self.orders.ledger,
            latency: self.latency,
        }
    }

    async fn transaction(&mut self, script: &Script) {
        let mut result = self.attempt(script).await;
        for _ in 0..MOVES {
            let Err(Failure::NotCommitted(e)) = &result else {
                break;
            };
            if !has_moved(e) {
                break;
            }
            self.form = self.form.other(self.layout);
            self.tally.retried();
            result = self.attempt(script).await;
        }
        if let Err(Failure::Unknown {
            changes,
            pid,
            error,
        }) = result
        {
            self.session = None;
            self.tally.unknown();
            result = self
                .resolve(changes, pid, error)
                .await
                .map_err(Failure::from);
        }
        match result {
            Ok(changes) => {
                self.orders.commit(changes);
                self.tally.done(script.end);
            }
            Err(Failure::NotCommitted(e) | Failure::Unknown { error: e, .. }) => {
                if e.kind == Kind::Connection {
                    self.session = None;
                }
                self.tally.failed(&e);
            }
        }
    }

    /// Plays the script once. On an error nothing stays of it.
    async fn attempt(&mut self, script: &Script) -> Result<Changes, Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(connect(&self.url).await?),
        };
        let client = &session.client;
        client.batch_execute("begin").await.map_err(Error::from)?;
        let played = Play::new(client, self.form, &self.orders.ledger)
            .steps(script)
            .await;
        let changes = match (played, script.end) {
            (Ok(changes), End::Commit) => changes,
            (Ok(_), End::Rollback) => Changes::new(),
            (Err(e), _) => {
                // If this fails the session is broken, and its end undoes all.
                if client.batch_execute("rollback").await.is_err() {
                    self.session = None;
                }
                return Err(e.into());
            }
        };
        let end = match script.end {
            End::Commit => "commit",
            End::Rollback => "rollback",
        };
        match client.batch_execute(end).await {
            Ok(()) => Ok(changes),
            // The server's refusal is an answer; silence is not.
            Err(e) if e.as_db_error().is_some() && !client.is_closed() => {
                Err(Error::from(e).into())
            }
            Err(e) => Err(Failure::Unknown {
                changes,
                pid: session.pid,
                error: e.into(),
            }),
        }
    }

    /// Learns from the tables whether a COMMIT that was not answered took place:
    /// waits until the old session is gone, so that nothing can change any more,
    /// then reads what it would have written.
    async fn resolve(&mut self, changes: Changes, pid: i32, error: Error) -> Result<Changes> {
        let session = connect(&self.url).await?;
        let client = &session.client;
        let deadline = Instant::now() + PATIENCE;
        let sql = "select count(*) from pg_stat_activity where pid = $1";
        while client.query_one(sql, &[&pid]).await?.get::<_, i64>(0) > 0 {
            if Instant::now() > deadline {
                return Err(error.context("an old session did not end"));
            }
            tokio::time::sleep(POLL).await;
        }
        self.form = Form::current(client, self.layout).await?;
        let ids: Vec<i64> = changes.keys().copied().collect();
        let found = self.form.read(client, &ids, false).await?;
        self.session = Some(session);
        let committed = changes.iter().all(|(id, entry)| match entry {
            Entry::Present(order) => found.get(id) == Some(order),
            Entry::Deleted => !found.contains_key(id),
        });
        if committed {
            Ok(changes)
        } else {
            Err(error.context("a transaction was rolled back"))
        }
    }
}

/// The ledger, and where the orders to change come from.
struct Orders {
    ledger: Ledger,
    /// Ids of orders this client placed; deleted ones are dropped when met.
    placed: Vec<i64>,
    slice: Slice,
}

impl Orders {
    fn commit(&mut self, changes: Changes) {
        let new = changes.iter().filter(|(id, entry)| {
            **id > self.slice.last
                && matches!(entry, Entry::Present(_))
                && !self.ledger.contains(**id)
        });
        self.placed.extend(new.map(|(id, _)| *id));
        self.ledger.commit(changes);
    }

    fn deleted(&self, id: i64) -> bool {
        matches!(self.ledger.get(id), Some(Entry::Deleted))
    }
}

impl Choice for Orders {
    fn pick(&mut self, rng: &mut Rng, not: Option<i64>) -> Option<i64> {
        let Slice {
            index,
            clients,
            last,
        } = self.slice;
        for _ in 0..10 {
            let id = if rng.bool() && !self.placed.is_empty() {
                let at = rng.usize(..self.placed.len());
                let id = self.placed[at];
                if self.deleted(id) {
                    self.placed.swap_remove(at);
                    continue;
                }
                id
            } else {
                rng.i64(0..=last / clients) * clients + index
            };
            let past_or_placed = id >= 1 && (id <= last || self.ledger.contains(id));
            if past_or_placed && Some(id) != not && !self.deleted(id) {
                return Some(id);
            }
        }
        None
    }
}

/// Opens a session, trying again for a while when the server is away.
async fn connect(url: &str) -> Result<Session> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open(url).await {
            Ok(session) => return Ok(session),
            Err(e) if e.kind == Kind::Connection && Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            Err(e) => return Err(e),
        }
    }
}

async fn open(url: &str) -> Result<Session> {
    let client = shop::connect(url).await?;
    client
        .batch_execute(
            "set application_name = 'shop'; set timezone = 'UTC'; set statement_timeout = '60s'",
        )
        .await?;
    let pid = client
        .query_one("select pg_backend_pid()", &[])
        .await
        .context("opening a session of the shop")?
        .get(0);
    Ok(Session { client, pid })
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |e| i64::try_from(e.as_secs()).unwrap_or(i64::MAX))
}
