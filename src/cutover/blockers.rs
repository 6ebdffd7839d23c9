//! Who holds the lock that the switch asks for: sampled from another session while it
//! waits, and named. Never a query's text, which may hold values.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Client;

use crate::error::Result;

/// How often the server is asked while the lock is waited for. Each look takes the
/// lock manager's own locks for a moment.
const EVERY: Duration = Duration::from_millis(25);

/// Above this many only the first are kept.
const MOST: usize = 20;

/// A session that the lock had to wait for, as it was last seen in the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocker {
    /// 0 for a prepared transaction.
    pub pid: i32,
    pub application_name: String,
    /// As in `pg_stat_activity`; what the role may not see is empty.
    pub state: String,
    /// Anything but `client backend` where it is a server process (`autovacuum worker`).
    pub backend: String,
    pub query_seconds: Option<f64>,
    pub transaction_seconds: Option<f64>,
    /// For how long it was seen in the way, in all attempts together.
    pub waited: Duration,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction (pg_prepared_xacts)");
        }
        write!(f, "pid {} ({:?}", self.pid, self.application_name)?;
        for word in [&self.backend, &self.state] {
            if !word.is_empty() && word != "client backend" {
                write!(f, ", {word}")?;
            }
        }
        if let Some(seconds) = self.query_seconds {
            write!(f, ", query {seconds:.1} s")?;
        }
        if let Some(seconds) = self.transaction_seconds {
            write!(f, ", transaction {seconds:.1} s")?;
        }
        f.write_str(")")
    }
}

/// Everybody seen in the way of a switch.
#[derive(Debug, Clone, Default)]
pub struct Blockers(Vec<Blocker>);

impl Blockers {
    /// The longest in the way first.
    #[must_use]
    pub fn list(&self) -> Vec<Blocker> {
        let mut list = self.0.clone();
        list.sort_by_key(|b| std::cmp::Reverse(b.waited));
        list
    }

    /// Those seen in the way since `before`, in words; the longest first.
    #[must_use]
    pub fn since(&self, before: &Self) -> String {
        let known = |b: &Blocker| before.0.iter().find(|k| k.pid == b.pid).map(|k| k.waited);
        let new: Vec<String> = self
            .list()
            .iter()
            .filter(|b| known(b) != Some(b.waited))
            .map(ToString::to_string)
            .collect();
        new.join(", ")
    }

    /// What one look found; `since` the last one.
    fn see(&mut self, seen: Vec<Blocker>, since: Duration) {
        for mut blocker in seen {
            blocker.waited = since;
            if let Some(known) = self.0.iter_mut().find(|b| b.pid == blocker.pid) {
                blocker.waited += known.waited;
                *known = blocker;
            } else if self.0.len() < MOST {
                self.0.push(blocker);
            }
        }
    }

    /// Looks again and again until dropped. `watcher` must be a session that nobody
    /// else waits for: a look under way must not keep the switch from going on once
    /// it has its lock.
    pub async fn watch(&mut self, watcher: &Client, waiting: i32) -> std::convert::Infallible {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        every.tick().await;
        let mut last = std::time::Instant::now();
        loop {
            every.tick().await;
            match look(watcher, waiting).await {
                Ok(seen) => self.see(seen, last.elapsed()),
                // To name them is a courtesy: the switch does not fail for want of it.
                Err(e) => tracing::debug!("cannot see who is in the way: {e}"),
            }
            last = std::time::Instant::now();
        }
    }
}

/// Who blocks the session `waiting` at this moment.
///
/// # Errors
/// Connection errors.
pub async fn look(watcher: &Client, waiting: i32) -> Result<Vec<Blocker>> {
    let rows = watcher
        .query(
            "select b.pid, coalesce(a.application_name, ''), coalesce(a.state, ''),
                    coalesce(a.backend_type, ''),
                    case when a.state = 'active'
                         then extract(epoch from clock_timestamp() - a.query_start)::float8 end,
                    extract(epoch from clock_timestamp() - a.xact_start)::float8
             from (select distinct unnest(pg_catalog.pg_blocking_pids($1))) b(pid)
             left join pg_catalog.pg_stat_activity a on a.pid = b.pid
             order by a.xact_start",
            &[&waiting],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Blocker {
            pid: row.get(0),
            application_name: row.get(1),
            state: row.get(2),
            backend: row.get(3),
            query_seconds: row.get(4),
            transaction_seconds: row.get(5),
            waited: Duration::ZERO,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker(pid: i32, state: &str) -> Blocker {
        Blocker {
            pid,
            application_name: "shop \"1\"".to_owned(),
            state: state.to_owned(),
            backend: "client backend".to_owned(),
            query_seconds: None,
            transaction_seconds: Some(12.34),
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn who_was_longest_in_the_way_comes_first_as_last_seen() {
        let mut all = Blockers::default();
        let tick = Duration::from_millis(10);
        all.see(vec![blocker(1, "active"), blocker(2, "active")], tick);
        all.see(vec![blocker(2, "idle in transaction")], tick);
        let list = all.list();
        assert_eq!(list.iter().map(|b| b.pid).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(list[0].waited, tick * 2);
        assert_eq!(
            list[0].to_string(),
            "pid 2 (\"shop \\\"1\\\"\", idle in transaction, transaction 12.3 s)"
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let mut all = Blockers::default();
        for pid in 1..1000 {
            all.see(vec![blocker(pid, "active")], Duration::ZERO);
        }
        assert_eq!(all.list().len(), MOST);
    }
}
