//! A simulated application of the example shop, which keeps writing while its
//! schema is replaced, and knows exactly what it was told is committed.
//!
//! It begins with the SQL for the old table. When it is told that what it uses has
//! moved, by crossfade's guard or because it is gone, it rolls back, plays the same
//! transaction again with the SQL of the other schema, and stays with that: the one
//! change an application needs for the switch, and for a switch back.
//!
//! Any number of switches can be made under it: errors other than "it has moved" are
//! counted in [`Tally::errors`], and [`Tally::take_longest_of_each`] tells how long
//! each client was held up.

mod client;
mod form;
mod latency;
mod ledger;
mod lines;
mod order;
mod play;
mod script;
mod tally;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::client::{Known, Slice, Worker};
pub use self::form::{Form, Layout};
pub use self::latency::Histogram;
pub use self::ledger::{Entry, Findings, Ledger};
pub use self::order::{Item, Order};
pub use self::tally::{Counts, ErrorSample, Tally};
use super::shop;
use crate::error::{Context, Error, Kind, Result};

/// How the application behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: String,
    /// Sessions that write side by side.
    pub clients: u32,
    /// Transactions a second, of all clients together, at most.
    pub rate: f64,
    /// The shop's past: orders with the ids 1 to this.
    pub orders: u64,
    /// The same seed makes the same decisions.
    pub seed: u64,
    /// What the migration under it makes of the shop.
    pub layout: Layout,
}

/// The running application. Dropping it ends it at once, without a report.
#[derive(Debug)]
pub struct Application {
    settings: Settings,
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Known>,
}

/// What the application did, and what it knows.
#[derive(Debug)]
pub struct Report {
    pub counts: Counts,
    /// By SQLSTATE. Empty is what must be.
    pub errors: BTreeMap<String, ErrorSample>,
    /// Whole transactions as a client sees them, retries included.
    pub latency: Histogram,
    /// The form that each client used last, in no particular order.
    pub forms: Vec<Form>,
    ledgers: Vec<Ledger>,
    settings: Settings,
}

impl Application {
    /// Starts the clients on the current runtime.
    ///
    /// # Errors
    /// [`Kind::Config`] for a rate or a number of clients that means nothing.
    pub fn start(settings: Settings) -> Result<Self> {
        let clients = settings.clients;
        let interval = Duration::try_from_secs_f64(f64::from(clients) / settings.rate);
        let (Ok(interval), 1..) = (interval, clients) else {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "{clients} clients with {} transactions a second",
                    settings.rate
                ),
            )
            .remedy("give at least one client and a rate above 0"));
        };
        let last = i64::try_from(settings.orders)
            .map_err(|_| Error::new(Kind::Config, "that many orders have no ids"))?;
        let tally = Arc::new(Tally::new(clients));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for index in 0..clients {
            let slice = Slice {
                index: i64::from(index),
                clients: i64::from(clients),
                last,
            };
            let seed = settings.seed.wrapping_add(u64::from(index));
            let worker = Worker::new(
                &settings.url,
                settings.layout,
                slice,
                seed,
                Arc::clone(&tally),
            );
            // A timer of zero length is refused: no pause between transactions.
            let interval = interval.max(Duration::from_nanos(1));
            tasks.spawn(worker.run(interval, stopped.clone()));
        }
        Ok(Self {
            settings,
            tally,
            stop,
            clients: tasks,
        })
    }

    /// The live counters.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Lets every client end its transaction, and gathers what they know.
    ///
    /// # Errors
    /// When a client's task broke.
    pub async fn stop(mut self) -> Result<Report> {
        let _ = self.stop.send(true);
        let mut latency = Histogram::default();
        let mut ledgers = Vec::new();
        let mut forms = Vec::new();
        while let Some(known) = self.clients.join_next().await {
            let known = known.map_err(|e| {
                Error::new(Kind::Io, format!("a client of the application broke: {e}"))
            })?;
            latency.merge(&known.latency);
            forms.push(known.form);
            ledgers.push(known.ledger);
        }
        Ok(Report {
            counts: self.tally.counts(),
            errors: self.tally.errors(),
            latency,
            forms,
            ledgers,
            settings: self.settings,
        })
    }
}

/// Orders compared in one statement.
const ORDERS_PER_CHECK: usize = 1000;

impl Report {
    /// Compares the ledgers with the tables the database wants to be used now. Needs
    /// that nobody else writes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn check(&self) -> Result<Findings> {
        let client = shop::connect(&self.settings.url).await?;
        let form = Form::current(&client, self.settings.layout).await?;
        let mut findings = Findings::default();
        for ledger in &self.ledgers {
            for ids in ledger.ids().chunks(ORDERS_PER_CHECK) {
                let found = form
                    .read(&client, ids, false)
                    .await
                    .context("checking the application's ledger")?;
                findings.merge(ledger.compare(ids, found));
            }
        }
        let last = i64::try_from(self.settings.orders).unwrap_or(i64::MAX);
        let known: HashSet<i64> = self.ledgers.iter().flat_map(Ledger::ids).collect();

        // New orders nobody knows: rolled back, and there all the same.
        let above = form.ids_above(&client, last).await?;
        findings.doubled += above.iter().filter(|id| !known.contains(id)).count() as u64;

        findings.doubled += form.count_orphans(&client).await?;

        // The past that nobody touched must all be there.
        let touched: Vec<i64> = known.into_iter().filter(|id| *id <= last).collect();
        let expected = self.settings.orders - touched.len() as u64;
        let there = form.count_others(&client, last, &touched).await?;
        findings.lost += expected.saturating_sub(there);
        Ok(findings)
    }

    /// Orders that some client has touched.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.ledgers.iter().map(Ledger::len).sum()
    }
}
