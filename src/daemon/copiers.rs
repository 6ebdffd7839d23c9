//! Runs planner and copiers until every chunk is copied; each reconnects by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::Client;

use super::{Shared, count, session, statistics};
use crate::config::Live;
use crate::copy::planner::Planner;
use crate::copy::sizing::Sizing;
use crate::copy::worker::{Leave, changed};
use crate::copy::{Setup, Throttle, Worker};
use crate::error::{Error, Kind, Result, Retry};
use crate::phase::Phase;
use crate::state::migration;

/// Copies everything, then brings the targets' statistics up to date.
///
/// # Errors
/// What no retry can mend.
pub async fn run(
    shared: Shared,
    settings: watch::Receiver<Live>,
    throttle: Throttle,
) -> Result<()> {
    if shared.prepared.migration.phase > Phase::Copying {
        return Ok(());
    }
    let sizing = Arc::new(Sizing::new(&settings.borrow().copy));
    let (planner, queue) = Planner::new(settings.clone(), sizing.clone(), throttle.clone());
    let setup = Setup {
        conninfo: shared.conninfo.clone(),
        sources: shared.prepared.sources.clone(),
        queue,
        throttle,
        barrier: shared.barrier.clone(),
        stats: shared.stats.clone(),
        settings: settings.clone(),
        sizing,
        stop: shared.stop.clone(),
    };
    let mut crew = Crew::new(setup);
    let mut settings = settings;
    let mut stop = shared.stop.clone();
    let planned = {
        let plan = plan(&shared, planner);
        let statistics = statistics::keep(&shared);
        tokio::pin!(plan, statistics);
        loop {
            let workers = settings.borrow_and_update().copy.workers;
            crew.hire(workers);
            tokio::select! {
                biased;
                // A copier that ends with an error ends the run.
                Some(done) = crew.workers.join_next() => joined(done)?,
                _ = stop.wait_for(|s| *s) => break false,
                () = changed(&mut settings, |live| live.copy.workers > workers) => {}
                never = &mut statistics => match never {},
                done = &mut plan => { done?; break true }
            }
        }
    };
    crew.dismissed().await?;
    if planned && shared.prepared.migration.phase == Phase::Copying {
        let mut client = session(&shared.conninfo, "analyze").await?;
        analyze(&client, &shared).await;
        if complete(&mut client, &shared).await? {
            tracing::info!("the copy is complete; the stream goes on");
        }
    }
    Ok(())
}

/// Moves the migration on to streaming, if every chunk is copied still. Another daemon
/// may have begun the stream anew since they were: it takes chunks back and moves the
/// phase in one transaction, which this one waits for before it looks.
async fn complete(client: &mut Client, shared: &Shared) -> Result<bool> {
    let id = shared.prepared.migration.id;
    let tx = client.transaction().await?;
    tx.execute(
        "select from crossfade.migration where id = $1 for update",
        &[&id],
    )
    .await?;
    for (_, chunks) in &shared.prepared.sources {
        if !chunks.progress(&tx).await?.complete() {
            return Ok(false);
        }
    }
    let moved = migration::advance(&tx, id, Phase::Copying, Phase::Streaming).await?;
    tx.commit().await?;
    Ok(moved)
}

/// The copiers, of whom there are as many as were ever wanted; those above the number that
/// is wanted now hold no connection.
struct Crew {
    setup: Setup,
    workers: JoinSet<Result<()>>,
    hired: u32,
}

impl Crew {
    fn new(setup: Setup) -> Self {
        Self {
            setup,
            workers: JoinSet::new(),
            hired: 0,
        }
    }

    fn hire(&mut self, wanted: u32) {
        while self.hired < wanted {
            self.hired += 1;
            self.workers.spawn(worker(self.setup.clone(), self.hired));
        }
    }

    /// Waits until all have ended, after their queue did or they were told to stop.
    async fn dismissed(mut self) -> Result<()> {
        while let Some(done) = self.workers.join_next().await {
            joined(done)?;
        }
        Ok(())
    }
}

fn joined(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(|e| Error::new(Kind::Io, format!("a copier failed: {e}")))?
}

/// Resolves only when the copy has failed; a copy that is complete is no event.
pub async fn failure(
    task: &mut JoinHandle<Result<()>>,
) -> std::result::Result<Result<()>, tokio::task::JoinError> {
    match task.await {
        Ok(Ok(())) => std::future::pending().await,
        done => done,
    }
}

async fn plan(shared: &Shared, planner: Planner) -> Result<()> {
    loop {
        let done = async {
            let mut client = session(&shared.conninfo, "copy planner").await?;
            planner.run(&mut client, &shared.prepared.sources).await
        };
        match done.await {
            Ok(()) => return Ok(()),
            Err(e) if e.retry() == Retry::Never => return Err(e),
            Err(e) => {
                count(&e);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn worker(setup: Setup, number: u32) -> Result<()> {
    let mut pause = Duration::from_millis(100);
    let mut settings = setup.settings.clone();
    let mut stop = setup.stop.clone();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => return Ok(()),
            () = setup.queue.ended() => return Ok(()),
            () = changed(&mut settings, |live| number <= live.copy.workers) => {}
        }
        let begun = Instant::now();
        let done = async { Worker::new(setup.clone(), number).await?.run().await };
        let error = match done.await {
            Ok(Leave::Over) => return Ok(()),
            Ok(Leave::Surplus) => continue,
            Err(error) => error,
        };
        if error.retry() == Retry::Never {
            return Err(error);
        }
        count(&error);
        tracing::warn!(error = %error, copier = number, "reconnecting");
        if begun.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(100);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return Ok(()),
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// The planner knows nothing of tables that were filled a moment ago.
async fn analyze(client: &Client, shared: &Shared) {
    for (plan, _) in &shared.prepared.sources {
        for target in &plan.targets {
            let sql = format!("analyze {}", target.table.name.sql());
            if let Err(e) = client.batch_execute(&sql).await {
                let error = Error::from(e);
                tracing::warn!(error = %error, table = %target.table.name, "statistics are not fresh");
            }
        }
    }
}
