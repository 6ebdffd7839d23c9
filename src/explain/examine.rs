//! A look at one query in the given database: plan, tables, and what the rules say.
//!
//! Read-only and rolled back, unless the query itself writes and that was allowed; then
//! it is rolled back all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::{Client, GenericClient, Transaction};

use super::catalog::Catalog;
use super::diagnose::{Facts, Finding, Wait, diagnose};
use super::plan::Plan;
use super::run::{self, Effort, Fingerprint, Measured};
use super::statement::{Mode, Statement};
use super::usage::{self, NORMAL_FORM, TableUse};
use crate::error::{Context, Result};

/// How often the waits of the running query are looked at.
const SAMPLE: Duration = Duration::from_millis(15);

/// What reading the plan and the catalog may take: the query's own limit may be far less.
const READING: Duration = Duration::from_secs(60);

/// What was found out about a query.
#[derive(Debug)]
pub struct Examined {
    /// With times where it could be run.
    pub plan: Plan,
    /// `None` where it was not run, or not to its end.
    pub measured: Option<Measured>,
    /// Of its result, where it could be had.
    pub fingerprint: Option<Fingerprint>,
    pub findings: Vec<Finding>,
    pub waits: Vec<Wait>,
    pub catalog: Catalog,
    /// Tables and views that it touches, by OID.
    pub relations: Vec<u32>,
    pub uses: Vec<TableUse>,
    /// What the reader should know about how this was found.
    pub notes: Vec<String>,
}

/// Looks at a query. `watcher` is a second session of the same database.
///
/// # Errors
/// What the server says about the query.
pub async fn examine(
    client: &mut Client,
    watcher: &Client,
    statement: &Statement,
    effort: Effort,
) -> Result<Examined> {
    let mut notes = Vec::new();
    let tx = begin(client, statement, effort.timeout.max(READING)).await?;
    let estimated = statement.explain(&tx, Mode::Estimated).await?;
    // Planning has locked every table and view that the text mentions, even those that
    // the plan has no more use for.
    let relations = locked(&tx).await?;
    let catalog = Catalog::read(&tx, &relations).await?;
    tx.batch_execute(NORMAL_FORM).await?;
    let normal = statement.explain(&tx, Mode::Estimated).await?;
    let uses = usage::read(&normal, &catalog);
    tx.rollback().await?;

    let mut plan = estimated;
    let (mut measured, mut waits, mut fingerprint) = (None, Vec::new(), None);
    if statement.can_run() {
        match timed(client, watcher, statement, effort).await {
            Ok((found, seen)) => {
                plan = found.plan.clone();
                measured = Some(found);
                waits = seen;
                fingerprint = hashed(client, statement, effort).await?;
            }
            Err(e) if e.is_sqlstate("57014") => notes.push(format!(
                "it did not end within {} s: the plan is what the planner expects, without times (--timeout allows more)",
                effort.timeout.as_secs()
            )),
            Err(e) => return Err(e),
        }
    } else {
        let whose = match statement.parameters {
            1 => "its parameter has no value".to_owned(),
            several => format!("its {several} parameters have no values"),
        };
        notes.push(format!(
            "{whose}: this is the generic plan, as a prepared statement ends with, and nothing was run (--param gives values)"
        ));
    }
    let facts = Facts {
        catalog: &catalog,
        waits: &waits,
    };
    Ok(Examined {
        findings: diagnose(&plan, &facts),
        plan,
        measured,
        fingerprint,
        waits,
        catalog,
        relations,
        uses,
        notes,
    })
}

/// A bounded transaction that cannot write unless the query is allowed to.
///
/// # Errors
/// Connection errors.
pub async fn begin<'a>(
    client: &'a mut Client,
    statement: &Statement,
    timeout: Duration,
) -> Result<Transaction<'a>> {
    let tx = client
        .build_transaction()
        .read_only(!statement.writes)
        .start()
        .await
        .context("beginning a transaction")?;
    run::limit(&tx, timeout).await?;
    Ok(tx)
}

async fn locked(tx: &impl GenericClient) -> Result<Vec<u32>> {
    // OIDs below 16384 are the system's own.
    let rows = tx
        .query(
            "select distinct l.relation from pg_locks l join pg_class c on c.oid = l.relation \
             where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation >= 16384 \
               and c.relkind in ('r', 'p', 'm', 'f', 'v')",
            &[],
        )
        .await
        .context("asking which tables the query touches")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Runs it, and samples from outside what it waits for.
async fn timed(
    client: &mut Client,
    watcher: &Client,
    statement: &Statement,
    effort: Effort,
) -> Result<(Measured, Vec<Wait>)> {
    let tx = begin(client, statement, effort.timeout).await?;
    let pid: i32 = tx.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut samples = 0_u32;
    let measured = {
        let work = run::measure(&tx, statement, effort);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => break done?,
                row = look(watcher, pid) => {
                    samples += 1;
                    if let Some(wait) = row {
                        *seen.entry(wait).or_default() += 1;
                    }
                }
            }
        }
    };
    tx.rollback().await?;
    let waits = seen
        .into_iter()
        .map(|((kind, event), count)| Wait {
            kind,
            event,
            part: f64::from(count) / f64::from(samples.max(1)),
        })
        .collect();
    Ok((measured, waits))
}

/// One look at what a session waits for, and a pause. Never fails: it is a witness only.
async fn look(watcher: &Client, pid: i32) -> Option<(String, String)> {
    let row = watcher
        .query_opt(
            "select wait_event_type, wait_event from pg_stat_activity \
             where pid = $1 and state = 'active' and wait_event_type is not null",
            &[&pid],
        )
        .await
        .ok()
        .flatten();
    tokio::time::sleep(SAMPLE).await;
    row.map(|r| (r.get(0), r.get(1)))
}

async fn hashed(
    client: &mut Client,
    statement: &Statement,
    effort: Effort,
) -> Result<Option<Fingerprint>> {
    if statement.writes {
        return Ok(None);
    }
    let tx = begin(client, statement, effort.timeout).await?;
    let found = run::fingerprint(&tx, statement).await;
    tx.rollback().await?;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.sqlstate.is_some() => Ok(None),
        Err(e) => Err(e),
    }
}
