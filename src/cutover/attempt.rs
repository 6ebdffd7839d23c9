//! One attempt: lock, drain, finish, verify, rename, commit.

mod beforehand;
mod finish;
mod lock;

use std::time::{Duration, Instant};

use tokio_postgres::Client;

pub use self::beforehand::differ;
use self::beforehand::{left_behind, set_aside, still_set_aside, verify_late, warm};
use super::Direction;
use super::blockers::Blockers;
use super::journal::Journal;
use super::outcome::{Outcome, Step, resolve};
use super::sequences::Sequence;
use super::strategy;
use super::switch::Prepared;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::pg::{Lsn, QualifiedName, slot};
use crate::state::checkpoint::Leg;
use crate::state::quarantine::Entry;
use crate::state::switchover::Step as Recorded;
use crate::state::{certificate, checkpoint, migration};
use crate::verify;
use crate::write::Session;
use crate::write::session::Durability;

/// How long the stream may take to catch up before the lock is asked for.
const PRE_DRAIN: Duration = Duration::from_secs(30);

/// How an attempt ended.
pub enum Ended {
    /// The switch is over, one way or another.
    Done(Outcome),
    /// Nothing has changed, and another attempt may succeed.
    Again(String),
}

/// What one attempt measured.
pub struct Attempt {
    pub ended: Ended,
    pub steps: Vec<Step>,
    pub stall: Duration,
    pub verified_keys: u64,
}

impl Attempt {
    fn refused(why: String) -> Self {
        Self::unlocked(Ended::Done(Outcome::NotSwitched(why)))
    }

    /// Ended before anything was locked.
    fn unlocked(ended: Ended) -> Self {
        Self {
            ended,
            steps: Vec::new(),
            stall: Duration::ZERO,
            verified_keys: 0,
        }
    }
}

/// Measures the steps one after another.
struct Clock {
    steps: Vec<Step>,
    since: Instant,
}

impl Clock {
    fn lap(&mut self, name: &'static str) {
        self.steps.push(Step {
            name,
            took: self.since.elapsed(),
        });
        self.since = Instant::now();
    }
}

/// The sessions besides the one that holds the lock.
pub struct Sessions<'a> {
    pub control: &'a Client,
    /// Looks who is in the way; nobody waits for it.
    pub watcher: &'a Client,
    pub journal: &'a Journal<'a>,
}

/// What one attempt leaves to the next.
#[derive(Debug, Default)]
pub struct Learned {
    pub blockers: Blockers,
    /// The table whose lock was not had in time: it is asked for first the next time,
    /// so that the others are not held while it is waited for.
    pub first: Option<QualifiedName>,
    /// Rows in quarantine that an attempt under the lock could not write either: while
    /// these are there the lock is not asked for again.
    pub set_aside: Vec<Entry>,
}

/// Runs one attempt.
///
/// # Errors
/// What another attempt cannot mend; nothing has changed then.
pub async fn attempt(
    prepared: &Prepared<'_>,
    sessions: &Sessions<'_>,
    learned: &mut Learned,
) -> Result<Attempt> {
    sessions.journal.step(Recorded::PreDrain).await?;
    if !pre_drain(prepared, sessions.control).await? {
        let why = format!(
            "the stream does not catch up within {PRE_DRAIN:?}: see `crossfade status` for what it waits for"
        );
        return Ok(Attempt::refused(why));
    }
    if let Some(why) = still_set_aside(prepared, sessions.control, learned).await? {
        return Ok(Attempt::unlocked(Ended::Again(why)));
    }
    let mut session = Session::open(&prepared.info, "switch", Durability::Local).await?;
    let statements = warm(prepared, &session).await;
    if let Some(why) = verify_late(prepared).await {
        return Ok(Attempt::refused(why));
    }
    let mut clock = Clock {
        steps: Vec::new(),
        since: Instant::now(),
    };
    let mut body = Body {
        prepared,
        sessions,
        learned,
        statements,
        asked: None,
        stall: None,
    };
    let done = body.run(&mut session, &mut clock).await;
    // The lock first: nothing else may be waited for while it is held.
    if done.is_err() {
        let _ = session.client.batch_execute("rollback").await;
        body.free();
    }
    let stall = body.stall.unwrap_or_default();
    let _ = announce(prepared, sessions.control, Duration::ZERO).await;
    let (ended, verified_keys) = match done {
        Ok((outcome, keys)) => (Ended::Done(outcome), keys),
        Err(Failure::Again(why)) => (Ended::Again(why), 0),
        Err(Failure::Refused(why)) => (Ended::Done(Outcome::NotSwitched(why)), 0),
        Err(Failure::Final(e)) => return Err(e),
    };
    Ok(Attempt {
        ended,
        steps: clock.steps,
        stall,
        verified_keys,
    })
}

/// How long the server itself may let the locks live, this process being frozen at the
/// worst moment: waited for, held, in a statement to its timeout, then idle to the end
/// of patience. So long the applier must not wait for them.
fn window(limits: &crate::config::Switch) -> Duration {
    let (wait, hold) = (limits.lock_timeout_ms, limits.max_stall_ms);
    let statement = wait + hold;
    Duration::from_millis(u64::from(wait + hold + statement) + u64::from(idle(limits)))
}

/// `idle_in_transaction_session_timeout` while the locks are held, in milliseconds:
/// should this process be frozen or its host vanish, the server ends the session soon
/// after the locks should have been given back.
fn idle(limits: &crate::config::Switch) -> u32 {
    limits.max_stall_ms + 1000
}

/// Drains to milliseconds before anything is locked; says whether that was done in
/// time.
async fn pre_drain(prepared: &Prepared<'_>, control: &Client) -> Result<bool> {
    let end = slot::wal_end(control).await?;
    slot::mark(control).await?;
    applied(prepared, control, end, Instant::now() + PRE_DRAIN).await
}

/// Polls until the checkpoint has reached `end`.
async fn applied(
    prepared: &Prepared<'_>,
    control: &Client,
    end: Lsn,
    deadline: Instant,
) -> Result<bool> {
    loop {
        // Asked before the look: this process may stand still between the two, and what was
        // applied meanwhile counts.
        let late = Instant::now() >= deadline;
        if checkpoint::read(control, prepared.migration.id).await? >= end {
            return Ok(true);
        }
        if late {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn announce(prepared: &Prepared<'_>, control: &Client, span: Duration) -> Result<()> {
    let seconds = span.as_secs_f64();
    control
        .execute(
            "update crossfade.migration
             set switching_until = case when $2::float8 > 0 then clock_timestamp() + make_interval(secs => $2) end
             where id = $1",
            &[&prepared.migration.id, &seconds],
        )
        .await?;
    Ok(())
}

enum Failure {
    /// Another attempt may succeed.
    Again(String),
    /// None will, as things stand.
    Refused(String),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        // A lock not had in time, a deadlock, a statement cut off at the deadline, a
        // session that ended before COMMIT.
        if matches!(e.kind, Kind::Contention | Kind::Connection) {
            Self::Again(e.to_string())
        } else {
            Self::Final(e)
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(e: tokio_postgres::Error) -> Self {
        Error::from(e).into()
    }
}

struct Body<'a> {
    prepared: &'a Prepared<'a>,
    sessions: &'a Sessions<'a>,
    learned: &'a mut Learned,
    /// Of the session that switches.
    statements: verify::Prepared,
    /// When the lock was asked for: from then on writers may wait.
    asked: Option<Instant>,
    /// From then until the transaction was over.
    stall: Option<Duration>,
}

impl Body<'_> {
    async fn run(
        &mut self,
        session: &mut Session,
        clock: &mut Clock,
    ) -> Result<(Outcome, u64), Failure> {
        let (pid, xid) = self.begin(session).await?;
        self.displace_vacuum(session).await?;
        clock.lap("displace vacuum");
        // While this stands, the applier sets rows aside instead of waiting for a
        // lock on the source that this session holds.
        let limits = &self.prepared.config.switch;
        announce(self.prepared, self.sessions.control, window(limits)).await?;
        self.sessions.journal.step(Recorded::LockAsked).await?;
        self.asked = Some(Instant::now());
        self.lock(session, pid).await?;
        clock.lap("lock");
        let held = Duration::from_millis(limits.max_stall_ms.into());
        let keys = match tokio::time::timeout(held, self.under_lock(session, clock)).await {
            Ok(done) => done?,
            Err(_) => {
                self.give_back(pid, &xid).await?;
                return Err(Failure::Again(format!(
                    "the lock was held for {held:?} (switch.max_stall_ms) and given back"
                )));
            }
        };
        if self.prepared.rehearse {
            session.client.batch_execute("rollback").await?;
            self.free();
            clock.lap("rollback");
            return Ok((Outcome::Rehearsed, keys));
        }
        let outcome = self.commit(session, &xid).await;
        clock.lap("commit");
        Ok((outcome?, keys))
    }

    /// The transaction is over: nobody waits any more.
    fn free(&mut self) {
        let asked = self.asked;
        self.stall = self.stall.or_else(|| asked.map(|asked| asked.elapsed()));
    }

    /// Ends the session that holds the lock, whatever it is doing. Only while it is in this
    /// transaction: where this process stood still for long, the server may have ended it,
    /// and the number may be another session's by now.
    async fn give_back(&self, pid: i32, xid: &str) -> Result<(), Failure> {
        self.sessions
            .control
            .execute(
                "select pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
                 where pid = $1 and backend_xid = $2::text::xid8::xid",
                &[&pid, &xid],
            )
            .await?;
        Ok(())
    }

    /// Everything between lock and COMMIT; returns how many keys were verified.
    async fn under_lock(
        &mut self,
        session: &mut Session,
        clock: &mut Clock,
    ) -> Result<u64, Failure> {
        self.sessions.journal.step(Recorded::Locked).await?;
        self.drain().await?;
        clock.lap("drain");
        let id = self.prepared.migration.id;
        let (from, to) = match self.prepared.direction {
            Direction::Forward => (Leg::Forward, Leg::Reverse),
            Direction::Back => (Leg::Reverse, Leg::Forward),
        };
        // From here on the stream that was drained can commit nothing.
        let start = checkpoint::hand_over(&session.client, id, from, to).await?;
        self.finish_locked(session, start).await?;
        self.check_quarantine(session).await?;
        let keys = self.verify(session).await?;
        if !self.prepared.accept.unverified {
            // All that changed before is verified, or was in this very transaction.
            certificate::hand_over(&session.client, id, start).await?;
        }
        self.sessions.journal.step(Recorded::Verified).await?;
        clock.lap("verify");
        for sequence in &self.prepared.sequences {
            self.sequence(session, sequence).await?;
        }
        clock.lap("sequences");
        let direction = self.prepared.direction;
        for (plan, chunks) in &self.prepared.sources {
            strategy::apply(
                &session.client,
                self.prepared.config,
                plan,
                chunks,
                direction,
            )
            .await?;
        }
        if direction == Direction::Forward {
            let strategy = self.prepared.config.switch.strategy.name();
            migration::switched_by(&session.client, id, strategy).await?;
        }
        clock.lap("names");
        if !migration::advance(&session.client, id, direction.from(), direction.to()).await? {
            return Err(self.moved_on());
        }
        session
            .client
            .execute(
                "select pg_logical_emit_message(true, 'crossfade', 'switch')",
                &[],
            )
            .await?;
        self.sessions.journal.step(Recorded::Committing).await?;
        Ok(keys)
    }

    /// Opens the transaction and stores its id where a later run finds it.
    async fn begin(&self, session: &Session) -> Result<(i32, String), Failure> {
        let limits = &self.prepared.config.switch;
        // The session commits `local`, whatever the role's or the database's setting:
        // a commit that waits for a standby keeps its locks for as long.
        let durability = if failpoint::omitted("switch_local_commit") {
            "set local synchronous_commit = on;"
        } else {
            ""
        };
        session
            .client
            .batch_execute(&format!(
                "begin; set constraints all immediate; {durability} set local lock_timeout = {}",
                limits.lock_timeout_ms
            ))
            .await?;
        let row = session
            .client
            .query_one("select pg_backend_pid(), pg_current_xact_id()::text", &[])
            .await?;
        let (pid, xid): (i32, String) = (row.get(0), row.get(1));
        self.sessions.journal.attempt(&xid).await?;
        if !self.prepared.rehearse {
            self.sessions
                .control
                .execute(
                    "update crossfade.migration set switch_xid = $2::text::xid8, switch_to = $3
                     where id = $1",
                    &[
                        &self.prepared.migration.id,
                        &xid,
                        &self.prepared.direction.to().name(),
                    ],
                )
                .await?;
        }
        Ok((pid, xid))
    }

    /// Nobody can write the sources now: what is in the log up to here is all.
    async fn drain(&self) -> Result<(), Failure> {
        let control = self.sessions.control;
        let end = slot::wal_end(control).await?;
        slot::mark(control).await?;
        let hold = Duration::from_millis(self.prepared.config.switch.max_stall_ms.into());
        if applied(self.prepared, control, end, Instant::now() + hold).await? {
            return Ok(());
        }
        Err(Failure::Again(
            "the stream was not drained in time".to_owned(),
        ))
    }

    async fn check_quarantine(&mut self, session: &Session) -> Result<(), Failure> {
        let left = set_aside(self.prepared, &session.client).await?;
        if left.len() <= self.prepared.accept.quarantined {
            return Ok(());
        }
        let why = left_behind(left.len());
        self.learned.set_aside = left;
        Err(Failure::Again(why))
    }

    /// The keys that changed since they were verified: nothing moves now, so a plain
    /// comparison decides.
    async fn verify(&self, session: &Session) -> Result<u64, Failure> {
        if self.prepared.accept.unverified {
            return Ok(0);
        }
        let found = verify::verify_changed_in(
            &session.client,
            &self.statements,
            &self.prepared.subject(),
            100,
        )
        .await?;
        let keys = found.suspects;
        match found.outcome() {
            verify::Outcome::Identical => Ok(keys),
            verify::Outcome::Undecided => Err(Failure::Again(
                "rows that cannot be converted are not in quarantine yet".to_owned(),
            )),
            verify::Outcome::Different => {
                Err(Failure::Refused(differ(&found, self.prepared.direction)))
            }
        }
    }

    async fn sequence(&self, session: &Session, sequence: &Sequence) -> Result<(), Failure> {
        Ok(sequence
            .set(&session.client, self.prepared.rehearse)
            .await?)
    }

    /// The point of no return.
    async fn commit(&mut self, session: &Session, xid: &str) -> Result<Outcome, Failure> {
        let answer = session.client.batch_execute("commit").await;
        self.free();
        let Err(e) = answer else {
            return Ok(Outcome::Switched);
        };
        let error = Error::from(e);
        if error.sqlstate.is_some() && error.kind != Kind::Connection {
            return Err(error.into());
        }
        let known = resolve(
            &self.prepared.info,
            self.prepared.migration.id,
            xid,
            self.prepared.direction.to(),
            Duration::from_secs(30),
        )
        .await;
        match known {
            Ok(Some(true)) => Ok(Outcome::Switched),
            Ok(Some(false)) => Err(Failure::Again(
                "the connection broke before COMMIT".to_owned(),
            )),
            Ok(None) | Err(_) => Ok(Outcome::Unknown),
        }
    }
}
