//! Writing what a batch touches.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;

use super::applier::Applier;
use super::touched::{By, Keys, Touched};
use crate::apply::reread::distinct;
use crate::apply::resolve::check_limit;
use crate::apply::{applier::rejection, gate};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::state::ChunkTable;
use crate::state::checkpoint::{Advance, Leg};
use crate::state::quarantine::{self, Entry, Reason};
use crate::transform::Plan;
use crate::write::rows::{key_arrays, key_strings};
use crate::write::{Rejected, Text};

/// Keys rebuilt by one statement.
const PAGE: usize = 2000;
/// Keys of one transaction where the old table's rows are the application's own (split
/// in place): it holds their locks until it commits.
const SHARED_PAGE: usize = 100;
/// Keys that are left to a switch at most; with more the applier waits for it to give up.
const PARKED: usize = 2000;
/// How long a row lock of the application is waited for. Shorter than
/// `deadlock_timeout`, so that in a deadlock it is this side that gives way.
const ROW_LOCK: &str = "200ms";

/// The newest change of a key, its transaction in 64 bits.
#[derive(Debug, Clone)]
struct Touch {
    key: Vec<Text>,
    xid: u64,
    lsn: crate::pg::Lsn,
}

impl Applier {
    /// Rebuilds everything that the batch touches; the last transaction also moves the
    /// checkpoint, if that is asked for.
    pub(super) async fn write_batch(&mut self, batch: Touched, by: Option<&Advance>) -> Result<()> {
        let xids: Vec<u32> = batch.xids.iter().copied().collect();
        let wide = gate::pass(&self.gate, &xids, &self.stats).await?;
        let mut pages: Vec<(usize, Vec<Touch>)> = Vec::new();
        let mut keys = batch.keys;
        for ((source, touch), changed) in batch.lookups {
            for (key, by) in self.looked_up(source, touch, &changed).await? {
                keys.entry(source).or_default().insert(key, by);
            }
        }
        for (source, touched) in keys {
            let list = self.distinct_touches(source, &touched, &wide).await?;
            let plan = &self.sources[source].0;
            let page = if plan.module.moved.is_empty() {
                PAGE
            } else {
                SHARED_PAGE
            };
            pages.extend(list.chunks(page).map(|p| (source, p.to_vec())));
        }
        for (source, by) in batch.truncated {
            self.rebuild_all(source, by, wide[&by.xid]).await?;
        }
        for (source, by) in batch.emptied {
            self.log_all(source, by, wide[&by.xid]).await?;
        }
        if let Some((source, last)) = pages.pop() {
            for (source, page) in pages {
                self.write_page(source, &page, None).await?;
            }
            self.write_page(source, &last, by).await?;
        } else if let Some(by) = by {
            self.advance(by).await?;
        }
        Ok(())
    }

    /// The source keys that changes of a lookup touch.
    async fn looked_up(&self, source: usize, touch: usize, changed: &Keys) -> Result<Keys> {
        let plan = &self.sources[source].0;
        let Some(reverse) = &plan.reverse else {
            return Ok(Keys::new());
        };
        let touch = &reverse.touches[touch];
        let width = plan.targets[touch.target].key.len();
        let arrays = key_arrays(changed.keys().map(Vec::as_slice), width)?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            arrays.iter().map(|a| a as &(dyn ToSql + Sync)).collect();
        let rows = self
            .gate
            .query(&plan.touched_by(touch), &parameters)
            .await?;
        let newest = changed.values().max_by_key(|by| by.lsn).copied();
        let Some(newest) = newest else {
            return Ok(Keys::new());
        };
        Ok(rows
            .iter()
            .map(|row| {
                let key = (0..plan.key.len())
                    .map(|i| Text::copy_from_slice(row.get::<_, &str>(i).as_bytes()))
                    .collect();
                (key, newest)
            })
            .collect())
    }

    /// One entry for each set of keys that the server calls equal, in the keys' order
    /// as text, so that rows are locked in the same order every time.
    async fn distinct_touches(
        &self,
        source: usize,
        touched: &Keys,
        wide: &HashMap<u32, u64>,
    ) -> Result<Vec<Touch>> {
        let plan = &self.sources[source].0;
        let mut keys: Vec<Vec<Text>> = touched.keys().cloned().collect();
        // The newest first: it stands for the keys that are equal to it.
        keys.sort_by_key(|k| std::cmp::Reverse(touched[k].lsn));
        let mut keys = match distinct(&self.gate, plan, &keys).await {
            // One that the source's type cannot hold: each finds its place on its own.
            Err(e) if e.is_bad_row() => keys,
            distinct => distinct?,
        };
        keys.sort();
        Ok(keys
            .into_iter()
            .map(|key| {
                let by = touched[&key];
                Touch {
                    xid: wide[&by.xid],
                    lsn: by.lsn,
                    key,
                }
            })
            .collect())
    }

    /// Every key of the old table: a TRUNCATE of a target touches them all.
    async fn rebuild_all(&mut self, source: usize, by: By, xid: u64) -> Result<()> {
        let mut last: Option<Vec<String>> = None;
        loop {
            let plan = self.sources[source].0.clone();
            let sql = plan.keys_above(last.is_some(), PAGE);
            let parameters: Vec<&(dyn ToSql + Sync)> = last
                .iter()
                .flatten()
                .map(|k| k as &(dyn ToSql + Sync))
                .collect();
            let rows = self.gate.query(&sql, &parameters).await?;
            let page: Vec<Touch> = rows
                .iter()
                .map(|row| Touch {
                    key: (0..plan.key.len())
                        .map(|i| Text::copy_from_slice(row.get::<_, &str>(i).as_bytes()))
                        .collect(),
                    xid,
                    lsn: by.lsn,
                })
                .collect();
            let Some(end) = page.last() else {
                return Ok(());
            };
            last = Some(key_strings(&end.key)?);
            self.write_page(source, &page, None).await?;
        }
    }

    /// Logs every key that has rows in a target as changed: nothing is rebuilt, and what
    /// is left there without a source row is found by the next verification.
    async fn log_all(&mut self, source: usize, by: By, xid: u64) -> Result<()> {
        let (plan, chunks) = self.sources[source].clone();
        self.session.begin().await?;
        let hold = Advance {
            to: self.checkpoint,
            ..Advance::default()
        };
        self.advance(&hold).await?;
        let (xid, lsn) = (xid.to_string(), by.lsn.to_string());
        for sql in plan.log_range(&chunks.change_log(), (false, false)) {
            self.session.client.execute(&sql, &[&xid, &lsn]).await?;
        }
        self.session.client.batch_execute("commit").await?;
        Ok(())
    }

    /// One transaction: rebuilds the page, logs its keys, moves the checkpoint or holds
    /// it. Tries again where the application's row locks are in the way.
    async fn write_page(
        &mut self,
        source: usize,
        page: &[Touch],
        by: Option<&Advance>,
    ) -> Result<()> {
        let mut pause = Duration::from_millis(5);
        loop {
            let done = self.try_page(source, page, by).await;
            let Err(error) = done else {
                return Ok(());
            };
            let _ = self.session.client.batch_execute("rollback").await;
            // 55P03 lock timeout, 40P01 deadlock, 40001 serialization.
            let contended = ["55P03", "40P01", "40001"]
                .iter()
                .any(|code| error.is_sqlstate(code));
            if !contended {
                return Err(error);
            }
            self.stats.waiting(Some(format!(
                "rows or a lock of {} are held by others",
                self.sources[source].0.source.name
            )));
            tokio::time::sleep(pause).await;
            self.stats.waiting(None);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    async fn try_page(
        &mut self,
        source: usize,
        page: &[Touch],
        by: Option<&Advance>,
    ) -> Result<()> {
        let (plan, chunks) = self.sources[source].clone();
        failpoint::hit("reverse.before_write").await;
        self.session.begin().await?;
        // First of all: from here on no other applier can commit, so what is read next
        // is not older than what any of them has written.
        let hold = Advance {
            to: self.checkpoint,
            ..Advance::default()
        };
        self.advance(by.unwrap_or(&hold)).await?;
        let quarantined = quarantine::list(&self.session.client, self.migration).await?;
        check_limit(&quarantined)?;
        let keys: Vec<Vec<Text>> = page.iter().map(|t| t.key.clone()).collect();
        let mut logged: Vec<&Touch> = page.iter().collect();
        if self.lock(&plan).await? {
            self.session
                .client
                .batch_execute(&format!("set local lock_timeout = '{ROW_LOCK}'"))
                .await?;
            let view = ChunkTable::back_view(chunks.source_id);
            let rejected = self.session.restore(&plan, &view, &keys).await?;
            for entry in &quarantined {
                let known = entry.source_id == chunks.source_id
                    && !rejected.iter().any(|r| r.key == entry.key);
                if known && contains(&keys, &entry.key) {
                    quarantine::clear(&self.session.client, entry.source_id, &entry.key).await?;
                }
            }
            // What is in quarantine is not compared, and perhaps no key of the source.
            logged.retain(|t| !rejected.iter().any(|r| same(&t.key, &r.key)));
            for row in rejected {
                if self.is_gone(&plan, &row).await? {
                    quarantine::clear(&self.session.client, chunks.source_id, &row.key).await?;
                    continue;
                }
                quarantine::put(
                    &self.session.client,
                    &rejection(chunks.source_id, Leg::Reverse, row),
                )
                .await?;
                crate::metrics::table::QUARANTINED_TOTAL.add(1);
            }
        } else {
            self.park(&plan, chunks.source_id, &keys, &quarantined)
                .await?;
            // The switch that rebuilds them logs them, if it commits; and whoever tries
            // them again later does.
            logged.clear();
        }
        self.log(&plan, &chunks, &logged).await?;
        failpoint::hit("reverse.before_commit").await;
        self.session.client.batch_execute("commit").await?;
        Ok(())
    }

    /// Whether a refused row is one that is no more: its key does not fit the source, so
    /// there is no row to remove there either.
    async fn is_gone(&self, plan: &Plan, row: &Rejected) -> Result<bool> {
        let misfit = row.error.sqlstate.as_deref();
        if !misfit.is_some_and(|code| code.starts_with("22")) {
            return Ok(false);
        }
        let parameters: Vec<&(dyn ToSql + Sync)> =
            row.key.iter().map(|k| k as &(dyn ToSql + Sync)).collect();
        self.session.client.batch_execute("savepoint gone").await?;
        let carried = self
            .session
            .client
            .query_one(&plan.is_carried(), &parameters)
            .await;
        self.session
            .client
            .batch_execute("rollback to savepoint gone; release savepoint gone")
            .await?;
        match carried.map_err(Error::from) {
            Ok(row) => Ok(!row.get::<_, bool>(0)),
            // Not even every target can hold it: keep it in sight.
            Err(e) if e.is_bad_row() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Takes what the page needs without waiting behind a switch, which waits for us;
    /// says whether it was had. Any other lock is waited for.
    async fn lock(&mut self, plan: &Plan) -> Result<bool> {
        let reads: Vec<String> = plan.targets.iter().map(|t| t.table.name.sql()).collect();
        let sql = format!(
            "savepoint locking; lock table {} in row exclusive mode nowait;
             lock table {} in access share mode nowait; release savepoint locking",
            plan.source.name.sql(),
            reads.join(", ")
        );
        let Err(e) = self.session.client.batch_execute(&sql).await else {
            return Ok(true);
        };
        let error = Error::from(e);
        if !error.is_sqlstate("55P03") {
            return Err(error);
        }
        self.session
            .client
            .batch_execute("rollback to savepoint locking; release savepoint locking")
            .await?;
        let switching: bool = self
            .session
            .client
            .query_one(
                "select coalesce(switching_until > clock_timestamp(), false)
                 from crossfade.migration where id = $1",
                &[&self.migration],
            )
            .await?
            .get(0);
        if switching { Ok(false) } else { Err(error) }
    }

    /// Leaves keys to the switch that holds the tables: it rebuilds them itself.
    async fn park(
        &self,
        plan: &Plan,
        source_id: i32,
        keys: &[Vec<Text>],
        quarantined: &[Entry],
    ) -> Result<()> {
        let parked = quarantined
            .iter()
            .filter(|e| e.leg == Leg::Reverse && e.reason == Reason::Locked)
            .count();
        if parked + keys.len() > PARKED {
            return Err(Error {
                sqlstate: Some("55P03".to_owned()),
                ..Error::new(
                    Kind::Contention,
                    format!("{} is locked by a switch", plan.source.name),
                )
            });
        }
        for key in keys {
            let entry = Entry {
                source_id,
                leg: Leg::Reverse,
                key: key_strings(key)?,
                reason: Reason::Locked,
                sqlstate: "55P03".to_owned(),
                message: "the tables are locked by a switch".to_owned(),
                retry: false,
            };
            quarantine::put(&self.session.client, &entry).await?;
        }
        Ok(())
    }

    async fn log(&mut self, plan: &Plan, chunks: &ChunkTable, page: &[&Touch]) -> Result<()> {
        if page.is_empty() {
            return Ok(());
        }
        let keys = key_arrays(page.iter().map(|t| t.key.as_slice()), plan.key.len())?;
        let xids: Vec<String> = page.iter().map(|t| t.xid.to_string()).collect();
        let lsns: Vec<String> = page.iter().map(|t| t.lsn.to_string()).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        for array in &keys {
            parameters.push(array);
        }
        parameters.push(&xids);
        parameters.push(&lsns);
        let sql = plan.log_changes(&chunks.change_log());
        let types = vec![postgres_types::Type::TEXT_ARRAY; parameters.len()];
        let statement = self.session.prepare(&sql, &types).await?;
        self.session.client.execute(&statement, &parameters).await?;
        Ok(())
    }

    /// Tries rows again that were set aside for a while, or by request.
    pub(super) async fn retry_set_aside(&mut self) -> Result<()> {
        let entries = quarantine::list(&self.gate, self.migration).await?;
        crate::metrics::table::QUARANTINE_ROWS.set_count(entries.len());
        let row = self
            .gate
            .query_one("select pg_snapshot_xmax(pg_current_snapshot())::text", &[])
            .await?;
        // An id that no snapshot up to now sees: nobody has verified these rows.
        let xid = row
            .get::<_, &str>(0)
            .parse()
            .map_err(|_| Error::new(Kind::Protocol, "the server sent no transaction id"))?;
        for source in 0..self.sources.len() {
            let id = self.sources[source].1.source_id;
            let page: Vec<Touch> = entries
                .iter()
                .filter(|e| e.source_id == id && e.leg == Leg::Reverse)
                .filter(|e| e.retry || e.reason != Reason::Bad)
                .map(|e| Touch {
                    key: e.key.iter().map(|k| Text::from(k.clone())).collect(),
                    xid,
                    lsn: self.checkpoint,
                })
                .collect();
            for page in page.chunks(SHARED_PAGE) {
                self.write_page(source, page, None).await?;
            }
        }
        Ok(())
    }
}

fn contains(keys: &[Vec<Text>], strings: &[String]) -> bool {
    keys.iter().any(|key| same(key, strings))
}

fn same(key: &[Text], strings: &[String]) -> bool {
    key.len() == strings.len()
        && key
            .iter()
            .zip(strings)
            .all(|(k, s)| k.as_ref() == s.as_bytes())
}
