//! Asks the database what can slow the copy, where a limit is set: on sessions of its
//! own, so that a database that answers late is noticed and holds up nothing else.

mod answers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::Client;

use super::{Shared, count};
use crate::config::{Live, Throttle};
use crate::copy::throttle::Probed;
use crate::copy::throttle::signal::objection;
use crate::error::Result;
use crate::metrics::table;
use crate::pg::connect::SessionLimits;
use crate::pg::connect_with;
use crate::pg::standby::Standbys;
use answers::Answers;

/// Small statements a second are enough to see what one in ten waits.
const SMALL: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_millis(500);
/// A probe that takes longer is as good as no answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Commits whose mean is taken.
const COMMITS: usize = 4;

/// What the probes have found, and when.
#[derive(Debug, Clone, Default)]
pub struct Probes(Arc<Mutex<Found>>);

#[derive(Debug)]
struct Found {
    probed: Probed,
    /// When the database last answered; at first, when it was first to be asked.
    at: Instant,
    commit: Commits,
    answers: Answers,
    /// The applier's commits, which wait for the same disk as those of others do: a
    /// commit has to flush whatever the copy has written before it.
    commits: Answers,
    /// Sessions of others have worked within the last second.
    others: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            probed: Probed::default(),
            at: Instant::now(),
            commit: Commits::default(),
            answers: Answers::default(),
            commits: Answers::default(),
            others: false,
        }
    }
}

impl Found {
    /// Nobody waits where nobody is. Commits may take twice their best: disks are that
    /// uneven by themselves, and the slower, the more.
    fn delay(&self, now: Instant) -> Option<Duration> {
        let delay = self.answers.delay(now, 1).max(self.commits.delay(now, 2));
        delay.filter(|_| self.others)
    }
}

/// Commit latencies; one that is under way counts with the time it has taken so far.
#[derive(Debug, Default)]
struct Commits {
    last: Vec<Duration>,
    begun: Option<Instant>,
}

impl Commits {
    fn mean(&self, now: Instant) -> Option<Duration> {
        let under_way = self.begun.map(|b| now.duration_since(b));
        let count = u32::try_from(self.last.len()).ok().filter(|c| *c > 0);
        let mean = count.map(|c| self.last.iter().sum::<Duration>() / c);
        mean.max(under_way.filter(|u| mean.is_none_or(|m| *u > m)))
    }
}

impl Probes {
    /// What was last found.
    #[must_use]
    pub fn latest(&self) -> Probed {
        let Ok(found) = self.0.lock() else {
            return Probed::default();
        };
        let now = Instant::now();
        let mut probed = found.probed.clone();
        probed.commit = found.commit.mean(now);
        probed.delay = found.delay(now);
        probed.silent = now.duration_since(found.at);
        probed
    }

    fn put(&self, change: impl FnOnce(&mut Found)) {
        if let Ok(mut found) = self.0.lock() {
            change(&mut found);
        }
    }
}

/// Probes until the stop signal, reconnecting as often as it takes.
pub async fn run(shared: Shared, settings: watch::Receiver<Live>, probes: Probes) {
    let mut stop = shared.stop.clone();
    let asking = keep(|| ask(&shared, &settings, &probes));
    let committing = keep(|| commit(&shared, &settings, &probes));
    let answering = keep(|| answer(&shared, &settings, &probes));
    tokio::select! {
        _ = stop.wait_for(|s| *s) => {}
        () = asking => {}
        () = committing => {}
        () = answering => {}
    }
}

/// Again and again: each only ends by an error.
async fn keep<F: Future<Output = Result<()>>>(mut once: impl FnMut() -> F) {
    loop {
        if let Err(error) = once().await {
            count(&error);
            tracing::debug!(%error, "a probe broke off");
        }
        tokio::time::sleep(2 * EVERY).await;
    }
}

async fn session(shared: &Shared) -> Result<Client> {
    let limits = SessionLimits {
        lock: Some(PATIENCE),
        statement: Some(PATIENCE),
        idle_in_transaction: Some(PATIENCE),
    };
    connect_with(&shared.conninfo, "probe", limits).await
}

async fn ask(shared: &Shared, settings: &watch::Receiver<Live>, probes: &Probes) -> Result<()> {
    let client = session(shared).await?;
    let mut standbys = Standbys::default();
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let limits = settings.borrow().throttle.clone();
        let mut probed = Probed::default();
        if limits.max_replica_lag_seconds.is_some() {
            probed.replica = standbys.slowest(&client, 2 * EVERY).await?;
            let seconds = probed.replica.as_ref().map_or(0.0, |r| r.1);
            table::REPLICA_LAG.set(seconds);
        }
        if limits.max_active_sessions.is_some() {
            let active = active_sessions(&client).await?;
            table::ACTIVE_SESSIONS.set(f64::from(active));
            probed.active_sessions = Some(active);
        }
        let others = limits.max_delay_ms.is_some() && others(&client).await?;
        if let Some(window) = &limits.window {
            probed.minute = minute(&client, &window.zone).await;
        }
        if let Some(query) = &limits.query {
            probed.query = query_says(&client, query).await?;
        }
        probes.put(|found| {
            found.probed = probed;
            found.others = others;
            found.at = Instant::now();
        });
    }
}

/// What crossfade itself does is not what it should yield to.
async fn active_sessions(client: &Client) -> Result<u32> {
    let row = client
        .query_one(
            "select count(*)::int from pg_catalog.pg_stat_activity
             where state = 'active' and backend_type = 'client backend'
               and pid <> pg_backend_pid() and application_name not like 'crossfade %'",
            &[],
        )
        .await?;
    Ok(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0))
}

/// Whether sessions of others have done something within the last second. What a role may
/// not see counts.
async fn others(client: &Client) -> Result<bool> {
    let row = client
        .query_one(
            "select exists(
               select from pg_catalog.pg_stat_activity
               where backend_type = 'client backend' and pid <> pg_backend_pid()
                 and application_name not like 'crossfade %'
                 and coalesce(state <> 'idle' or state_change > clock_timestamp() - interval '1 second', true))",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// Takes the time of small statements, on a session that has nothing else to do, and
/// collects that of the applier's commits.
async fn answer(shared: &Shared, settings: &watch::Receiver<Live>, probes: &Probes) -> Result<()> {
    let wanted = |limits: &Throttle| limits.max_delay_ms.is_some();
    let mut settings = settings.clone();
    let _ = settings.wait_for(|live| wanted(&live.throttle)).await;
    let client = session(shared).await?;
    let mut tick = tokio::time::interval(SMALL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while wanted(&settings.borrow().throttle) {
        tick.tick().await;
        probes.put(|found| found.answers.begin(Instant::now()));
        let done = client.batch_execute("select").await;
        probes.put(|found| {
            let now = Instant::now();
            found.answers.end(now);
            for (ended, took) in shared.stats.take_commits() {
                found.commits.took(ended, took);
            }
            table::DELAY.set(found.delay(now).unwrap_or_default().as_secs_f64());
        });
        done?;
    }
    table::DELAY.set(0.0);
    probes.put(|found| {
        found.answers = Answers::default();
        found.commits = Answers::default();
    });
    Ok(())
}

/// The minute of the day in a zone; `None`, which keeps the copy standing, where the
/// server does not know the zone.
async fn minute(client: &Client, zone: &str) -> Option<u32> {
    let row = client
        .query_one(
            "select (extract(epoch from (clock_timestamp() at time zone $1)::time) / 60)::float8",
            &[&zone],
        )
        .await
        .ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(row.get::<_, f64>(0) as u32)
}

/// Runs the user's query read-only; a query that fails objects too: whoever set it
/// relies on it.
async fn query_says(client: &Client, query: &str) -> Result<Option<String>> {
    client.batch_execute("begin read only").await?;
    let query = query.trim_end().trim_end_matches(';');
    let sql = format!("select (q.v)::text from ({query}\n) q(v) limit 1");
    let asked = client.query_opt(&sql, &[]).await;
    client.batch_execute("rollback").await?;
    Ok(match asked {
        Ok(row) => {
            let answer: Option<String> = row.and_then(|r| r.get(0));
            objection(answer.as_deref())
        }
        Err(e) => Some(format!(
            "nothing: it fails with {}",
            crate::error::Error::from(e)
        )),
    })
}

/// Commits something small as the application's sessions would, and takes the time.
async fn commit(shared: &Shared, settings: &watch::Receiver<Live>, probes: &Probes) -> Result<()> {
    let wanted = |limits: &Throttle| limits.max_commit_latency_ms.is_some();
    let mut settings = settings.clone();
    // The sender lives as long as the daemon's life that this belongs to.
    let _ = settings.wait_for(|live| wanted(&live.throttle)).await;
    let client = session(shared).await?;
    let mut tick = tokio::time::interval(EVERY);
    while wanted(&settings.borrow().throttle) {
        tick.tick().await;
        client
            .batch_execute(
                "begin; select pg_catalog.pg_logical_emit_message(true, 'crossfade', 'probe')",
            )
            .await?;
        let begun = Instant::now();
        probes.put(|found| found.commit.begun = Some(begun));
        let done = client.batch_execute("commit").await;
        probes.put(|found| {
            found.commit.begun = None;
            found.commit.last.push(begun.elapsed());
            if found.commit.last.len() > COMMITS {
                found.commit.last.remove(0);
            }
            let mean = found.commit.mean(Instant::now()).unwrap_or_default();
            table::COMMIT_LATENCY.set(mean.as_secs_f64());
        });
        done?;
    }
    probes.put(|found| found.commit = Commits::default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_hangs_counts_while_it_hangs() {
        let now = Instant::now();
        let mut commits = Commits::default();
        assert_eq!(commits.mean(now), None);
        commits.last = vec![Duration::from_millis(10), Duration::from_millis(30)];
        assert_eq!(commits.mean(now), Some(Duration::from_millis(20)));
        commits.begun = Some(now);
        let later = now + Duration::from_secs(2);
        assert_eq!(commits.mean(later), Some(Duration::from_secs(2)));
    }

    #[test]
    fn commits_beyond_twice_their_best_are_a_delay_while_others_work() {
        let begun = Instant::now();
        let mut found = Found {
            others: true,
            ..Found::default()
        };
        assert_eq!(found.delay(begun), None);
        for n in 0..20 {
            let took = Duration::from_millis(if n < 10 { 1 } else { 6 });
            found.commits.took(begun + Duration::from_millis(n), took);
        }
        let now = begun + Duration::from_millis(20);
        let delay = found.delay(now).unwrap();
        let wanted = Duration::from_millis(4);
        assert!(
            delay.abs_diff(wanted) < Duration::from_micros(100),
            "{delay:?}"
        );
        found.others = false;
        assert_eq!(found.delay(now), None);
    }
}
