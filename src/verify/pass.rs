//! A pass over everything: ranges that tile the key space of every source.
//!
//! It can be interrupted at any instant: how far it is stands in the state, and a
//! later pass goes on there. What is verified stays so, because whatever changed
//! since the first range was read is in the change log (`state::certificate`).

pub mod frontier;
mod keep;
mod run;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_postgres::Client;

use self::frontier::Frontier;
use super::basis;
use super::report::{Outcome, Report, Resumed, Tally};
use super::sql::pairs;
use super::{Options, Subject, alone, check_copied, session, summary};
use crate::copy::throttle::Pace;
use crate::error::Result;
use crate::failpoint;
use crate::pg::{ConnInfo, Lsn};
use crate::state::certificate::{self, Basis, Passed};
use crate::state::{checkpoint, verification};

/// How far a pass is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Source rows compared, in an interrupted part of the pass too.
    pub rows: u64,
    /// Of those, the ones that an interrupted part compared.
    pub resumed: u64,
    /// The planner's estimate of all.
    pub estimated: u64,
    pub ranges: u64,
    /// Keys that differed at a first look.
    pub suspects: u64,
    /// While the throttle slows it, like the copy.
    pub waiting: Option<Waiting>,
}

/// What the throttle leaves of a pass's speed.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// 0 is standing.
    pub share: f64,
    pub reason: String,
}

/// What the parts of a pass share.
struct Pass<'a> {
    info: &'a ConnInfo,
    subject: &'a Subject,
    options: &'a Options,
    progress: &'a watch::Sender<Progress>,
    basis: Basis,
    frontier: Mutex<Frontier>,
    tally: Mutex<Tally>,
    /// Turns true when the workers are to stop at the end of their range.
    halt: watch::Sender<bool>,
    /// How fast the workers may go.
    pace: watch::Sender<Pace>,
    started: Instant,
    /// Seconds spent before an interruption.
    spent: f64,
    /// `migration.switches` when it began.
    switches: i32,
}

/// Where a pass begins.
struct Begun {
    /// The checkpoint before the first range was read.
    from: Lsn,
    frontier: Frontier,
    spent: f64,
    switches: i32,
    resumed: Option<Resumed>,
}

/// Compares every source row and every target row, and writes the certificate if all
/// is identical; a difference removes an older one.
///
/// # Errors
/// [`Kind::Phase`](crate::error::Kind::Phase) when the copy has not finished, or when no daemon runs and keys
/// wait for it; [`Kind::Contention`](crate::error::Kind::Contention) beside another verification or when the applier
/// stands still; [`Kind::SchemaChange`](crate::error::Kind::SchemaChange) when columns are not those that the
/// modules were bound to; the server's. What was verified until then is kept for the
/// next pass.
pub async fn verify_all(
    info: &ConnInfo,
    subject: &Subject,
    options: &Options,
    progress: &watch::Sender<Progress>,
) -> Result<Report> {
    let mut client = session(info, "verify").await?;
    alone(&client, subject.migration, options.polite).await?;
    check_copied(&client, subject).await?;
    let basis = basis::current(&client, subject).await?;
    let begun = begin(&client, subject, options, &basis).await?;
    show_start(subject, progress, &begun);
    let pass = Pass {
        info,
        subject,
        options,
        progress,
        basis,
        frontier: Mutex::new(begun.frontier),
        tally: Mutex::new(Tally::new(options.limit)),
        halt: watch::channel(false).0,
        pace: watch::channel(Pace::default()).0,
        started: Instant::now(),
        spent: begun.spent,
        switches: begun.switches,
    };
    let ran = pass.run(&client).await;
    // However it ended, what is verified stays so.
    let saved = pass.save(&client).await;
    ran?;
    saved?;
    failpoint::hit("verify.after_ranges").await;
    let from = if failpoint::omitted("verify_position_first") {
        // The mutant: what changed behind the workers' backs would count as verified.
        checkpoint::read(&client, subject.migration).await?
    } else {
        begun.from
    };
    let mut report = pass.conclude(&mut client, from).await?;
    report.resumed = begun.resumed;
    Ok(report)
}

/// Goes on with the interrupted pass, or begins one.
async fn begin(
    client: &Client,
    subject: &Subject,
    options: &Options,
    basis: &Basis,
) -> Result<Begun> {
    let sources: Vec<(i32, usize)> = subject
        .sources
        .iter()
        .map(|(plan, chunks)| (chunks.source_id, pairs(plan)))
        .collect();
    let stored = verification::read(client, subject.migration).await?;
    let switches = subject.switches;
    // Sums of another version may be made in another way.
    let same = stored.filter(|s| {
        options.resume
            && s.basis == *basis
            && s.switches == switches
            && s.version == env!("CARGO_PKG_VERSION")
    });
    if let Some(stored) = same
        && let Some(frontier) = Frontier::resume(&sources, &stored.frontier)
    {
        let rows = frontier.rows();
        tracing::info!(
            rows,
            "going on with the pass that began at {}",
            stored.began_at
        );
        return Ok(Begun {
            from: stored.applied_lsn,
            frontier,
            spent: stored.seconds,
            switches,
            resumed: Some(Resumed {
                began_at: stored.began_at,
                rows,
            }),
        });
    }
    // Before the first snapshot: what is applied later is in the log with a position
    // at or above it.
    let from = checkpoint::read(client, subject.migration).await?;
    let frontier = Frontier::new(&sources);
    let (id, stored) = (subject.migration, frontier.stored());
    verification::begin(client, id, from, switches, basis, &stored).await?;
    Ok(Begun {
        from,
        frontier,
        spent: 0.0,
        switches,
        resumed: None,
    })
}

fn show_start(subject: &Subject, progress: &watch::Sender<Progress>, begun: &Begun) {
    let estimated: i64 = subject
        .sources
        .iter()
        .map(|(plan, _)| plan.source.estimated_rows.max(0))
        .sum();
    let rows = begun.frontier.rows();
    progress.send_modify(|p| {
        p.estimated = u64::try_from(estimated).unwrap_or(0);
        (p.rows, p.resumed) = (rows, rows);
    });
}

impl Pass<'_> {
    fn frontier(&self) -> MutexGuard<'_, Frontier> {
        self.frontier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> f64 {
        self.spent + self.started.elapsed().as_secs_f64()
    }

    /// What the result means for the certificate.
    async fn conclude(&self, client: &mut Client, from: Lsn) -> Result<Report> {
        let id = self.subject.migration;
        let mut tally = std::mem::replace(&mut *self.tally(), Tally::new(0));
        let yielded = *self.halt.borrow();
        if !yielded {
            for source in 0..self.subject.sources.len() {
                summary::outside(client, self.subject, source, &mut tally).await?;
            }
        }
        let mut report = summary::summary(client, self.subject, tally).await?;
        summary::fill(self.subject, &mut report, &self.frontier().totals());
        report.yielded = yielded;
        report.seconds = self.seconds();
        let outcome = report.outcome();
        match outcome {
            Outcome::Identical => {
                // Columns that changed meanwhile make what was compared void.
                basis::check(client, self.subject).await?;
                let passed = Passed {
                    applied_lsn: from,
                    basis: &self.basis,
                    switches: self.switches,
                    detail: summary::detail(&report),
                };
                let logs: Vec<_> = self.subject.sources.iter().map(|s| s.1.clone()).collect();
                certificate::write(client, id, &passed, &logs).await?;
            }
            Outcome::Different => certificate::remove(client, id, self.switches).await?,
            // What an older certificate says still holds: the log has kept the rest.
            Outcome::Undecided => {}
        }
        if !yielded || outcome == Outcome::Different {
            let clean = outcome == Outcome::Identical;
            verification::ended(client, id, outcome.name(), &report.by_table(), clean).await?;
        }
        Ok(report)
    }
}
