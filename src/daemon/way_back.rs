//! Keeps the slot ready that is not streamed from at the moment: that of the way back
//! before the switch, that of the way forward after it.
//!
//! A slot waits for open transactions when it is made, so it exists before a switch
//! takes its lock; and it is moved on all the time, so that it keeps no more WAL than
//! the one in use.
//!
//! Invariant: either slot may be moved to the checkpoint at any time. The stream in use
//! has applied everything below it; the other one begins, at the switch that hands over
//! to it, at a position that is read after the checkpoint's last move
//! ([`checkpoint::hand_over`](crate::state::checkpoint::hand_over)).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{Shared, count, session_with};
use crate::config::Config;
use crate::error::Result;
use crate::pg::connect::SessionLimits;
use crate::pg::slot;
use crate::phase::Phase;
use crate::state::checkpoint::Leg;
use crate::state::{checkpoint, migration, publication};
use crate::transform::Module;

/// How often the idle slot is moved on.
const EVERY: Duration = Duration::from_secs(2);
/// How long another session's use of a slot that is to go is waited for.
const DROPPING: Duration = Duration::from_secs(10);
/// How long the making of the slot waits for transactions that are writing.
const MAKING: Duration = Duration::from_secs(600);

/// Whether every module can rebuild its source.
///
/// # Errors
/// Those of [`Module::load`].
pub fn exists(config: &Config) -> Result<bool> {
    for dir in &config.transforms {
        if Module::load(dir)?.reverse.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops both slots of a migration that has switched for good.
///
/// # Errors
/// The server's.
pub async fn let_go(client: &Client, config: &Config) -> Result<()> {
    for name in [config.slot(), config.back_slot()] {
        slot::drop(client, &name, slot::Active::Wait, Duration::from_secs(10)).await?;
    }
    Ok(())
}

/// Runs until the stop signal; never fails, since the stream in use does not need it.
///
/// # Errors
/// None; the type is that of the daemon's other tasks.
pub async fn keep(shared: Shared, config: Config) -> Result<()> {
    if shared
        .prepared
        .sources
        .iter()
        .any(|(plan, _)| plan.reverse.is_none())
    {
        return Ok(());
    }
    let mut stop = shared.stop.clone();
    let mut pause = Duration::from_millis(200);
    loop {
        let begun = Instant::now();
        let done = tokio::select! {
            done = follow(&shared, &config) => done,
            _ = stop.wait_for(|s| *s) => return Ok(()),
        };
        if let Err(e) = done {
            count(&e);
            tracing::warn!(error = %e, "the slot of the other direction is not ready yet");
        }
        if begun.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(200);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return Ok(()),
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn follow(shared: &Shared, config: &Config) -> Result<()> {
    let limits = SessionLimits {
        // After a long outage a slot has much to read, and a move that is cut off begins
        // anew.
        statement: None,
        ..SessionLimits::default()
    };
    let client = session_with(&shared.conninfo, "way back", limits).await?;
    let id = shared.prepared.migration.id;
    loop {
        let row = migration::require(&client, &shared.prepared.migration.name).await?;
        match shared.prepared.leg() {
            // While rows are copied the slot would decode every one of them.
            Leg::Forward if row.phase < Phase::Streaming => {}
            Leg::Forward => {
                let name = config.back_slot();
                // One that has lost its log holds nothing that is needed yet.
                let lost = |s: &slot::SlotInfo| s.wal_status == Some(slot::WalStatus::Lost);
                let found = slot::read(&client, &name).await?;
                // Nor does one that has begun under another publication.
                let changed = publication::changed(&client, id, &name).await?.is_some();
                let useless = |s: &slot::SlotInfo| changed || lost(s);
                if found.as_ref().is_some_and(useless) {
                    slot::drop(&client, &name, slot::Active::Wait, DROPPING).await?;
                }
                if found.is_none_or(|s| useless(&s)) {
                    make(&client, shared, &name, config.slot_guard.failover).await?;
                }
                slot::advance(&client, &name, checkpoint::read(&client, id).await?).await?;
            }
            Leg::Reverse => {
                let to = checkpoint::read(&client, id).await?;
                slot::advance(&client, &config.slot(), to).await?;
            }
        }
        let wait = if row.phase < Phase::Streaming {
            EVERY / 8
        } else {
            EVERY
        };
        tokio::time::sleep(wait).await;
    }
}

/// Publication, then slot.
async fn make(client: &Client, shared: &Shared, name: &str, failover: bool) -> Result<()> {
    slot::drop_publication(client, name).await?;
    slot::create_publication(client, name, &tables(shared)).await?;
    publication::remember(client, shared.prepared.migration.id, name).await?;
    let lsn = slot::create(client, name, MAKING, failover).await?;
    tracing::info!(slot = name, %lsn, "the way back is ready");
    Ok(())
}

/// What the reverses read, and sources that stay.
fn tables(shared: &Shared) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    for (plan, _) in &shared.prepared.sources {
        let reads = plan.reverse.iter().flat_map(|r| &r.reads);
        tables.extend(reads.map(|&i| plan.targets[i].table.from_sql()));
        if !plan.module.moved.is_empty() {
            tables.insert(plan.source.from_sql());
        }
    }
    tables
}
