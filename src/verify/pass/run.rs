//! Planner, workers and decider of a pass.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::Pass;
use super::frontier::Start;
use crate::copy::Throttle;
use crate::error::Result;
use crate::failpoint;
use crate::metrics::table;
use crate::state::{certificate, verification};
use crate::transform::sql::Range;
use crate::verify::Prepared;
use crate::verify::decide::Decider;
use crate::verify::look::look;
use crate::verify::report::Tally;
use crate::verify::sql::Statements;
use crate::verify::{Key, PAGE, basis, session};

/// Ranges planned ahead of the workers.
const AHEAD: usize = 4;
/// Pages of suspects ahead of the decider.
const SUSPECTS: usize = 8;

struct Work {
    source: usize,
    /// Of the range within its source.
    number: u64,
    range: Range,
}

/// Suspect keys of one range.
struct Page {
    source: usize,
    number: u64,
    keys: Vec<Key>,
}

impl Pass<'_> {
    /// Runs planner, workers and decider until the key space is covered or the pass
    /// gives way.
    pub(super) async fn run(&self, client: &Client) -> Result<()> {
        // Before the first range too.
        self.throttle(&verification::heed(client, self.subject.migration).await?);
        let (work, queue) = mpsc::channel(AHEAD);
        let (suspects, found) = mpsc::channel(SUSPECTS);
        let queue = Arc::new(Mutex::new(queue));
        let mut parts: Vec<Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>> =
            vec![Box::pin(self.plan(work)), Box::pin(self.decide(found))];
        for number in 1..=self.options.workers.max(1) {
            parts.push(Box::pin(self.work(number, queue.clone(), suspects.clone())));
        }
        // The workers' copies remain: the decider ends with the last worker.
        drop((queue, suspects));
        tokio::select! {
            done = try_join_all(parts) => done.map(|_| ()),
            kept = self.keep(client) => kept,
        }
    }

    /// Walks each source's key, one short statement a range. The ranges tile the
    /// whole key space: the first is open below, the last above.
    async fn plan(&self, work: mpsc::Sender<Work>) -> Result<()> {
        let client = session(self.info, "verify planner").await?;
        for (source, (plan, chunks)) in self.subject.sources.iter().enumerate() {
            if source > 0 {
                failpoint::hit("verify.next_source").await;
            }
            let sql = Statements::new(plan, chunks);
            let mut lo = match self.frontier().start(source) {
                Start::Done => continue,
                Start::Above(key) => key,
            };
            loop {
                if *self.halt.borrow() {
                    return Ok(());
                }
                let parameters: Vec<&(dyn ToSql + Sync)> = lo
                    .iter()
                    .flatten()
                    .map(|p| p as &(dyn ToSql + Sync))
                    .collect();
                let next = sql.next_bound(lo.is_some(), self.options.range_rows);
                let row = client.query_opt(&next, &parameters).await?;
                let hi: Option<Key> =
                    row.map(|row| (0..plan.key.len()).map(|i| row.get(i)).collect());
                let range = Range {
                    lo: lo.take(),
                    hi: hi.clone(),
                };
                let number = self.frontier().begin(source, hi.clone());
                if source > 0 && number == 3 {
                    failpoint::hit("verify.fourth_range").await;
                }
                let next = Work {
                    source,
                    number,
                    range,
                };
                if work.send(next).await.is_err() {
                    return Ok(());
                }
                if hi.is_none() {
                    break;
                }
                lo = hi;
            }
        }
        Ok(())
    }

    async fn work(
        &self,
        number: usize,
        queue: Arc<Mutex<mpsc::Receiver<Work>>>,
        suspects: mpsc::Sender<Page>,
    ) -> Result<()> {
        let client = session(self.info, &format!("verify {number}")).await?;
        // Every worker at the same pace: one that stood alone could have a range in hand
        // which the pass cannot end without.
        let mut throttle = Throttle::following(self.pace.subscribe());
        let mut worked = Duration::ZERO;
        loop {
            if !self.may_go_on(&mut throttle, worked).await {
                return Ok(());
            }
            let work = queue.lock().await.recv().await;
            let Some(work) = work else { return Ok(()) };
            if !self.may_go_on(&mut throttle, Duration::ZERO).await {
                return Ok(());
            }
            failpoint::hit("verify.before_range").await;
            let begun = Instant::now();
            if !self.range(&client, work, &suspects).await? {
                return Ok(());
            }
            worked = begun.elapsed();
        }
    }

    /// Looks at one range and hands its suspects on; false when nobody takes them.
    async fn range(
        &self,
        client: &Client,
        work: Work,
        suspects: &mpsc::Sender<Page>,
    ) -> Result<bool> {
        let Work {
            source,
            number,
            mut range,
        } = work;
        let of = &self.subject.sources[source];
        let mut seen = look(client, of, &range).await?;
        let rows = u64::try_from(seen.source_rows).unwrap_or(0);
        let (source_rows, targets) = (seen.source_rows, std::mem::take(&mut seen.targets));
        loop {
            let count = seen.suspects.len() as u64;
            self.progress.send_modify(|p| p.suspects += count);
            let last = seen.suspects.last().cloned();
            if !seen.suspects.is_empty() {
                self.frontier().suspects(source, number);
                let page = Page {
                    source,
                    number,
                    keys: seen.suspects,
                };
                // No snapshot is open while this waits for room.
                if suspects.send(page).await.is_err() {
                    return Ok(false);
                }
            }
            if !seen.more {
                break;
            }
            range.lo = last;
            seen = look(client, of, &range).await?;
        }
        self.frontier().looked(source, number, source_rows, targets);
        table::VERIFY_RANGES_TOTAL.add(1);
        table::VERIFY_ROWS_TOTAL.add(rows);
        self.progress.send_modify(|p| {
            p.ranges += 1;
            p.rows += rows;
        });
        Ok(true)
    }

    /// Takes the suspects of as many ranges at a time as have come in.
    async fn decide(&self, mut found: mpsc::Receiver<Page>) -> Result<()> {
        let client = session(self.info, "verify decider").await?;
        let decider = Decider {
            client: &client,
            migration: self.subject.migration,
            sources: &self.subject.sources,
            limit: self.options.limit,
            prepared: Prepared::default(),
        };
        let mut next: Option<Page> = None;
        loop {
            let first = match next.take() {
                Some(page) => Some(page),
                None => found.recv().await,
            };
            let Some(first) = first else { return Ok(()) };
            let mut count = first.keys.len();
            let mut pages = vec![first];
            while let Ok(page) = found.try_recv() {
                if page.source != pages[0].source || count + page.keys.len() > PAGE {
                    next = Some(page);
                    break;
                }
                count += page.keys.len();
                pages.push(page);
            }
            self.decide_pages(&decider, pages).await?;
        }
    }

    async fn decide_pages(&self, decider: &Decider<'_>, pages: Vec<Page>) -> Result<()> {
        let source = pages[0].source;
        let keys: Vec<Key> = pages.iter().flat_map(|p| p.keys.clone()).collect();
        let mut part = Tally::new(self.options.limit);
        let unsettled = decider.decide(source, keys, &mut part).await?;
        let differs = !part.counts.is_empty();
        if differs {
            self.differs(decider.client).await?;
        }
        self.tally().merge(part);
        let unsettled: HashSet<Key> = unsettled.into_iter().collect();
        for page in pages {
            let clean = !differs && page.keys.iter().all(|k| !unsettled.contains(k));
            self.frontier().decided(source, page.number, clean);
        }
        Ok(())
    }

    /// The first difference: nothing that a certificate or a place says holds any
    /// longer, and a crash from here on must not bring either back.
    async fn differs(&self, client: &Client) -> Result<()> {
        if !self.tally().counts.is_empty() {
            return Ok(());
        }
        basis::check(client, self.subject).await?;
        certificate::remove(client, self.subject.migration, self.switches).await
    }
}
