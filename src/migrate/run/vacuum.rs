//! Autovacuum in the way of a statement.

use super::{Attempts, Run};
use crate::error::{Error, Result};
use crate::migrate::watch::Seen;

/// What a vacuum may take to give way once it has been asked to, in milliseconds.
const GIVING_WAY: u32 = 5000;

impl Run<'_> {
    /// Which tables autovacuum worked on when it was in the way. It gives way to whoever has
    /// waited for `deadlock_timeout`, and a statement that waits no longer than that, as with
    /// the defaults, would fail again and again, for as long as the vacuum takes.
    pub(super) async fn vacuumed(&self, seen: &Seen) -> Result<Vec<String>> {
        let workers: Vec<i32> = seen
            .blockers
            .iter()
            .filter(|b| b.state == "autovacuum worker")
            .map(|b| b.pid)
            .collect();
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .session
            .client
            .query(
                "select distinct pg_catalog.format('%I.%I', n.nspname, c.relname)
                 from pg_catalog.pg_locks l
                 join pg_catalog.pg_class c on c.oid = l.relation and c.relkind in ('r', 'p')
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 where l.pid = any ($1) and l.granted and l.mode = 'ShareUpdateExclusiveLock'
                   and l.database = (select oid from pg_catalog.pg_database
                                     where datname = current_database())
                 order by 1",
                &[&workers],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Has autovacuum give way to this transaction, which has just begun. This lock keeps no
    /// reader and no writer waiting, so it may be waited for longer, and autovacuum stays away
    /// until the end. It cannot deadlock when it is raised: it conflicts with no row lock mode.
    pub(super) async fn displace(&self, attempts: &Attempts) -> Result<()> {
        if attempts.vacuumed.is_empty() {
            return Ok(());
        }
        let client = &self.session.client;
        let wait = format!(
            "savepoint vacuum;
             select pg_catalog.set_config('lock_timeout', (s.setting::int + {GIVING_WAY})::text, true)
             from pg_catalog.pg_settings s where s.name = 'deadlock_timeout';
             lock table only {} in share update exclusive mode;
             select pg_catalog.set_config('lock_timeout', '{}', true);
             release vacuum",
            attempts.vacuumed.join(", "),
            self.session.limits.lock_timeout.as_millis(),
        );
        match client.batch_execute(&wait).await.map_err(Error::from) {
            // One against the wraparound of transaction numbers does not give way, and what
            // was vacuumed may be gone or another's: the statement itself will tell.
            Err(e) if e.sqlstate.is_some() => Ok(client
                .batch_execute("rollback to vacuum; release vacuum")
                .await?),
            done => done,
        }
    }
}
