//! The locks of an attempt: how they are asked for, and what must hold once they are
//! there.

use std::time::{Duration, Instant};

use super::{Body, Failure, idle};
use crate::config::Switch;
use crate::cutover::Direction;
use crate::cutover::strategy::{self, Lock};
use crate::error::{Context, Error};
use crate::pg::QualifiedName;
use crate::state::publication;
use crate::write::Session;

/// What a vacuum may take to give way once it has been asked to, in seconds.
const GIVING_WAY: f64 = 5.0;

impl Body<'_> {
    /// Has autovacuum give way, which it does once somebody has waited for
    /// `deadlock_timeout`, longer than writers may be kept waiting. This lock keeps
    /// no writer and no reader waiting, keeps autovacuum away until the end, and
    /// cannot deadlock when it is raised later: it conflicts with no row lock mode.
    pub(super) async fn displace_vacuum(&self, session: &Session) -> Result<(), Failure> {
        let sources = self.prepared.sources.iter().map(|(p, _)| &p.source.name);
        let renamed = self
            .prepared
            .sources
            .iter()
            .flat_map(|(p, _)| &p.targets)
            .filter(|t| t.rename_to.is_some() || self.prepared.direction == Direction::Back)
            .map(|t| &t.table.name);
        let mut names: Vec<String> = sources.chain(renamed).map(QualifiedName::sql).collect();
        names.sort();
        names.dedup();
        let wait: f64 = session
            .client
            .query_one(
                "select extract(epoch from current_setting('deadlock_timeout')::interval)::float8",
                &[],
            )
            .await?
            .get(0);
        let limits = &self.prepared.config.switch;
        session
            .client
            .batch_execute(&format!(
                "set local lock_timeout = '{}ms'; set local statement_timeout = 0;
                 lock table {} in share update exclusive mode;
                 set local lock_timeout = {}; set local statement_timeout = {}",
                ((wait + GIVING_WAY) * 1000.0).round(),
                names.join(", "),
                limits.lock_timeout_ms,
                limits.lock_timeout_ms + limits.max_stall_ms
            ))
            .await
            .context("waiting for a vacuum or an index build to end")?;
        Ok(())
    }

    /// Each table in the mode that it is needed in at once: a weaker lock that is raised
    /// later deadlocks with transactions that read first and write then. All together
    /// are waited for no longer than `lock_timeout`, and meanwhile it is seen who is in
    /// the way.
    pub(super) async fn lock(&mut self, session: &Session, pid: i32) -> Result<(), Failure> {
        let locks = self.locks();
        let limits = &self.prepared.config.switch;
        let before = self.learned.blockers.clone();
        let locked = tokio::select! {
            biased;
            locked = lock_all(session, &locks, limits) => locked,
            never = self.learned.blockers.watch(self.sessions.watcher, pid) => match never {},
        };
        if let Err((table, error)) = locked {
            self.learned.first = Some(table.clone());
            let error = error.context(format!("locking {table}"));
            let seen = self.learned.blockers.since(&before);
            return Err(match Failure::from(error) {
                Failure::Again(why) if !seen.is_empty() => {
                    Failure::Again(format!("{why}; in the way: {seen}"))
                }
                other => other,
            });
        }
        self.own(session).await
    }

    /// Every lock of every module, each table once and in its strongest mode; first the
    /// one that was not had the last time.
    fn locks(&self) -> Vec<Lock> {
        let mut locks: Vec<Lock> = Vec::new();
        for (plan, _) in &self.prepared.sources {
            for lock in strategy::locks(self.prepared.config, plan, self.prepared.direction) {
                match locks.iter_mut().find(|l| l.table == lock.table) {
                    Some(known) => known.mode = known.mode.max(lock.mode),
                    None => locks.push(lock),
                }
            }
        }
        put_first(&mut locks, self.learned.first.as_ref());
        locks
    }

    /// The migration is still to be switched: nobody aborts it, nobody else has
    /// switched it. The row stays locked until the end: FOR UPDATE, which is also what
    /// turns away a transaction above READ COMMITTED that asks in a target's guard whether
    /// it may write (`crossfade.guard_target`); a weaker lock would let it through.
    async fn own(&self, session: &Session) -> Result<(), Failure> {
        let row = session
            .client
            .query_opt(
                "select from crossfade.migration
                 where id = $1 and phase = $2 and not stop for update",
                &[
                    &self.prepared.migration.id,
                    &self.prepared.direction.from().name(),
                ],
            )
            .await?;
        if row.is_none() {
            return Err(self.moved_on());
        }
        self.all_streamed(session).await
    }

    /// No table was taken out of the publication since the gates looked, and none can be
    /// from here on: that takes a lock on the table.
    async fn all_streamed(&self, session: &Session) -> Result<(), Failure> {
        let prepared = &self.prepared;
        let name = match prepared.direction {
            Direction::Forward => prepared.config.slot(),
            Direction::Back => prepared.config.back_slot(),
        };
        match publication::changed(&session.client, prepared.migration.id, &name).await? {
            None => Ok(()),
            Some(changed) => Err(Failure::Refused(changed)),
        }
    }

    pub(super) fn moved_on(&self) -> Failure {
        Failure::Refused(format!(
            "the migration is no longer in phase {}, or is being ended",
            self.prepared.direction.from()
        ))
    }
}

/// A stable sort: the others stay in their order.
fn put_first(locks: &mut [Lock], first: Option<&QualifiedName>) {
    locks.sort_by_key(|lock| Some(&lock.table) != first);
}

/// Takes the locks one after another within one `lock_timeout`; on failure says which
/// was not had.
async fn lock_all(
    session: &Session,
    locks: &[Lock],
    limits: &Switch,
) -> Result<(), (QualifiedName, Error)> {
    let since = Instant::now();
    let whole = Duration::from_millis(limits.lock_timeout_ms.into());
    let idle = idle(limits);
    for (number, lock) in locks.iter().enumerate() {
        // Zero would mean for ever.
        let left = whole.saturating_sub(since.elapsed()).as_millis().max(1);
        let first = if number == 0 {
            format!("set local idle_in_transaction_session_timeout = {idle};")
        } else {
            String::new()
        };
        let last = if number + 1 == locks.len() {
            format!("; set local lock_timeout = {}", limits.lock_timeout_ms)
        } else {
            String::new()
        };
        session
            .client
            .batch_execute(&format!(
                "{first} set local lock_timeout = {left}; {}{last}",
                lock.sql()
            ))
            .await
            .map_err(|e| (lock.table.clone(), e.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cutover::strategy::LockMode;

    #[test]
    fn the_table_that_was_not_had_is_asked_for_first_and_the_others_keep_their_order() {
        let lock = |name: &str| Lock {
            table: QualifiedName::new("s".to_owned(), name.to_owned()),
            mode: LockMode::Exclusive,
        };
        let mut locks = vec![lock("a"), lock("b"), lock("c")];
        put_first(&mut locks, Some(&lock("c").table));
        assert_eq!(locks, [lock("c"), lock("a"), lock("b")]);
        put_first(&mut locks, None);
        assert_eq!(locks, [lock("c"), lock("a"), lock("b")]);
    }
}
