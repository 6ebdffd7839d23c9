//! Verifies only the keys that changed since the certificate.

use std::time::{Duration, Instant};

use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, GenericClient};

use super::compare::{self, Pair, Seen};
use super::decide::{self, Decider};
use super::report::{Report, Tally};
use super::sql::Statements;
use super::{
    Key, Options, Outcome, PAGE, Prepared, Source, Subject, alone, basis, check_copied, session,
    summary,
};
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, Lsn, connect};
use crate::state::certificate::{self, Advance, Certificate};
use crate::state::{checkpoint, verification};

/// A polite verification is over by then most of the time, and has nobody to give way to.
const SHORT: Duration = Duration::from_secs(1);
/// How often a longer one looks whether it is to give way.
const TICK: Duration = Duration::from_millis(250);

/// Decides every key of the change log that was applied since the certificate, while
/// the stream goes on. When all are equal, the certificate is moved on to the
/// checkpoint that this began with and the log forgets what lies below, so that
/// another call has less to do.
///
/// # Errors
/// [`Kind::Phase`] without a certificate of these modules, when the copy has not
/// finished, or when no daemon runs and keys wait for it; [`Kind::Contention`] beside
/// another verification, where a polite one gives way, or when the applier stands still.
pub async fn verify_changed(
    info: &ConnInfo,
    subject: &Subject,
    options: &Options,
) -> Result<Report> {
    let started = Instant::now();
    let mut client = session(info, "verify changed").await?;
    alone(&client, subject.migration, options.polite).await?;
    check_copied(&client, subject).await?;
    let since = certified(&client, subject).await?;
    let from = checkpoint::read(&client, subject.migration).await?;
    let mut tally = Tally::new(options.limit);
    let decided = decide_all(&client, subject, options, since, &mut tally);
    if options.polite {
        tokio::select! {
            done = decided => done?,
            gives_way = wanted(info, subject.migration) => return Err(gives_way),
        }
    } else {
        decided.await?;
    }
    let mut report = summary::summary(&client, subject, tally).await?;
    match report.outcome() {
        Outcome::Identical => {
            let logs: Vec<_> = subject.sources.iter().map(|(_, c)| c.clone()).collect();
            let to = Advance {
                to: from,
                switches: subject.switches,
            };
            certificate::advance(&mut client, subject.migration, to, &logs).await?;
        }
        Outcome::Different => {
            basis::check(&client, subject).await?;
            certificate::remove(&client, subject.migration, subject.switches).await?;
            let (id, tables) = (subject.migration, report.by_table());
            verification::ended(&client, id, report.outcome().name(), &tables, false).await?;
        }
        Outcome::Undecided => {}
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn decide_all(
    client: &Client,
    subject: &Subject,
    options: &Options,
    since: Lsn,
    tally: &mut Tally,
) -> Result<()> {
    let prepared = Prepared::default();
    for (source, of) in subject.sources.iter().enumerate() {
        let mut last: Option<Key> = None;
        loop {
            let keys = page(client, &prepared, of, since, last.as_ref()).await?;
            last = keys.last().cloned();
            let full = keys.len() == PAGE;
            if !keys.is_empty() {
                decider(client, subject, options)
                    .decide(source, keys, tally)
                    .await?;
            }
            if !full {
                break;
            }
        }
    }
    Ok(())
}

/// Returns when somebody else waits to verify, or a switch is under way. Keys are decided
/// no faster than the stream is applied, some thirty times over where they keep changing:
/// nobody waits that long for the lock.
async fn wanted(info: &ConnInfo, migration: i32) -> Error {
    tokio::time::sleep(SHORT).await;
    let looks = async {
        let client = connect(info, "verify heed").await?;
        while !verification::heed(&client, migration).await?.wanted {
            tokio::time::sleep(TICK).await;
        }
        Ok::<_, Error>(())
    };
    if let Err(e) = looks.await {
        tracing::debug!(error = %e, "cannot see who waits for the verification");
        std::future::pending::<()>().await;
    }
    Error::new(
        Kind::Contention,
        "gives way to another verification or a switch",
    )
}

fn decider<'a>(client: &'a Client, subject: &'a Subject, options: &Options) -> Decider<'a> {
    Decider {
        client,
        migration: subject.migration,
        sources: &subject.sources,
        limit: options.limit,
        prepared: Prepared::default(),
    }
}

/// Compares the same keys in the open transaction of `client`, which holds ACCESS
/// EXCLUSIVE on every source since before the applier passed the end of the log. So
/// nothing is under way and what differs is a difference.
///
/// Reads only, and uses savepoints, so the transaction is usable afterwards unless an
/// error is returned. Keys that the module cannot convert and that are not in
/// quarantine count as unsettled.
///
/// # Errors
/// [`Kind::Phase`] without a certificate of these modules; the server's.
pub async fn verify_changed_in<C: GenericClient>(
    client: &C,
    prepared: &Prepared,
    subject: &Subject,
    limit: usize,
) -> Result<Report> {
    let started = Instant::now();
    let since = certified(client, subject).await?;
    let mut tally = Tally::new(limit);
    for (source, of) in subject.sources.iter().enumerate() {
        let mut last: Option<Key> = None;
        loop {
            let keys = page(client, prepared, of, since, last.as_ref()).await?;
            last = keys.last().cloned();
            let full = keys.len() == PAGE;
            plainly(client, prepared, (source, of), keys, &mut tally).await?;
            if !full {
                break;
            }
        }
    }
    let mut report = summary::summary(client, subject, tally).await?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn plainly<C: GenericClient>(
    client: &C,
    prepared: &Prepared,
    (source, of): (usize, &Source),
    keys: Vec<Key>,
    tally: &mut Tally,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    tally.suspects += keys.len() as u64;
    let seen = compare::keys(client, prepared, of, &keys).await?;
    let mut differ: Vec<(Key, Pair)> = Vec::new();
    for (key, seen) in keys.into_iter().zip(seen) {
        match seen {
            Seen::SetAside => {}
            Seen::Failed => tally.unsettled += 1,
            Seen::Pair(pair) if pair.equal() => {}
            Seen::Pair(pair) => differ.push((key, pair)),
        }
    }
    for detail in compare::details(client, of, &differ, tally.limit).await? {
        decide::add(tally, source, detail);
    }
    Ok(())
}

/// The position from which on changed keys are not covered by the certificate.
async fn certified<C: GenericClient>(client: &C, subject: &Subject) -> Result<Lsn> {
    let basis = basis::current(client, subject).await?;
    let why = match certificate::read(client, subject.migration).await? {
        Some(c) if c.basis == basis => return Ok(c.applied_lsn),
        Some(Certificate { basis: other, .. }) if other.module_hash == basis.module_hash => {
            "the certificate is void: columns or partitions of sources or targets have changed since"
        }
        Some(_) => "the certificate is void: it is of other modules",
        None => "there is no certificate of a clean verification",
    };
    Err(Error::new(Kind::Phase, why)
        .remedy("run `crossfade verify` until it ends with `identical`"))
}

async fn page<C: GenericClient>(
    client: &C,
    prepared: &Prepared,
    (plan, chunks): &Source,
    since: Lsn,
    above: Option<&Key>,
) -> Result<Vec<Key>> {
    let sql = Statements::new(plan, chunks).changed(above.is_some(), PAGE);
    let since = PgLsn::from(since);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&since];
    for part in above.into_iter().flatten() {
        parameters.push(part);
    }
    let statement = prepared.get(client, &sql).await?;
    let rows = client.query(&statement, &parameters).await?;
    Ok(rows
        .iter()
        .map(|row| (0..plan.key.len()).map(|i| row.get(i)).collect())
        .collect())
}
