//! Keeps a stream and its applier running, reconnecting as often as it takes.

use std::time::{Duration, Instant};

use super::{Shared, count, gap};
use crate::apply::applier::{Applier, Setup};
use crate::apply::fencing::Fencing;
use crate::config::Config;
use crate::error::{Kind, Result, Retry};
use crate::pg::connect;
use crate::reverse;
use crate::state::checkpoint::{self, Leg};
use crate::wal::reader::{self, StreamOptions};

/// Runs until the stop signal, each time from the stored checkpoint.
///
/// # Errors
/// What no retry can mend.
pub async fn run(shared: Shared, config: Config) -> Result<()> {
    let mut pause = Duration::from_millis(100);
    loop {
        let started = Instant::now();
        let Err(error) = once(&shared, &config).await else {
            return Ok(());
        };
        if error.retry() == Retry::Never {
            return Err(error);
        }
        // What the applier waited for, it waits for no more.
        shared.stats.waiting(None);
        // A switch hands the checkpoint over: then this life of the daemon ends as soon as
        // the monitor has seen it, and there was no error.
        if error.kind == Kind::Ownership && handed_over(&shared).await {
            let mut stop = shared.stop.clone();
            let _ = stop.wait_for(|s| *s).await;
            return Ok(());
        }
        // The predecessor's session may hold the slot until the server notices.
        if !error.is_sqlstate("55006") {
            count(&error);
            tracing::warn!(error = %error, "the stream broke off; going on from the checkpoint");
        }
        if started.elapsed() > Duration::from_secs(30) {
            pause = Duration::from_millis(100);
        }
        let mut stop = shared.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return Ok(()),
        }
        let longest = if error.kind == Kind::Connection {
            10_000
        } else {
            1000
        };
        pause = (pause * 2).min(Duration::from_millis(longest));
    }
}

/// Whether the checkpoint is another direction's now. Where that cannot be learned, the next
/// attempt to stream will tell.
async fn handed_over(shared: &Shared) -> bool {
    let begun = async {
        let client = connect(&shared.conninfo, "checkpoint").await?;
        checkpoint::begin(&client, shared.prepared.migration.id, shared.prepared.leg()).await
    };
    begun.await.is_err_and(|e| e.kind == Kind::Ownership)
}

async fn once(shared: &Shared, config: &Config) -> Result<()> {
    let migration = shared.prepared.migration.id;
    let leg = shared.prepared.leg();
    let slot = match leg {
        Leg::Forward => config.slot(),
        Leg::Reverse => config.back_slot(),
    };
    let origin = config.slot();
    let client = connect(&shared.conninfo, "checkpoint").await?;
    let from = checkpoint::begin(&client, migration, leg).await?;
    // Each time: the server would silently begin later than asked, where the slot has
    // been moved on.
    gap::check(&client, config, &shared.prepared.migration).await?;
    drop(client);
    let mut stream = reader::start(StreamOptions {
        conninfo: shared.conninfo.clone(),
        slot: slot.clone(),
        publication: slot,
        start: from,
    })
    .await?;
    if leg == Leg::Reverse {
        let mut applier = reverse::Applier::new(reverse::applier::Setup {
            conninfo: shared.conninfo.clone(),
            migration,
            origin,
            checkpoint: from,
            sources: shared.prepared.sources.clone(),
            stats: shared.stats.clone(),
        })
        .await?;
        let done = applier.run(&mut stream, shared.stop.clone()).await;
        stream.stop().await;
        return done;
    }
    let fences = shared
        .prepared
        .sources
        .iter()
        .map(|(plan, chunks)| Fencing::new(plan.clone(), chunks.clone()))
        .collect();
    let mut applier = Applier::new(Setup {
        conninfo: shared.conninfo.clone(),
        migration,
        origin,
        checkpoint: from,
        fences,
        stats: shared.stats.clone(),
        barrier: shared.barrier.clone(),
    })
    .await?;
    let done = applier.run(&mut stream, shared.stop.clone()).await;
    stream.stop().await;
    done
}
