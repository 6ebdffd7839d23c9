//! One session to the target database with its prepared statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::rows::{Change, Image, Rejected, image_arrays, key_arrays, key_strings};
use crate::error::{Context, Error, Result};
use crate::pg::{ConnInfo, connect};
use crate::transform::Plan;

pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// How commits of a session become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// COMMIT returns when the commit is on this server's disk. Not `on`: a standby
    /// that hangs must not stop the stream; rows and checkpoint survive or vanish
    /// together whatever fails.
    Local,
    /// COMMIT does not wait. For chunks: rows and chunk state are one transaction,
    /// and a later local commit makes them durable with it.
    Off,
}

/// How long the server may take to end the session that had an origin before.
const LEAVING: Duration = Duration::from_secs(10);

/// How long a session's generic plans are kept. The server makes such a plan once and
/// goes by the sizes of that moment: one made for a target that was empty scans it from
/// end to end, and still does when the copy has filled it, until some ANALYZE comes by.
///
/// Each generation lives as long as all before it together, so a table that the copy
/// fills evenly has at most doubled under a plan, and planning costs little.
#[derive(Debug)]
struct PlanAge {
    born: Instant,
    kept: Duration,
}

impl PlanAge {
    const FIRST: Duration = Duration::from_millis(250);
    /// A table may begin to fill at any time: the window of a copy opens, say.
    const LONGEST: Duration = Duration::from_secs(60);

    fn new(now: Instant) -> Self {
        Self {
            born: now,
            kept: Self::FIRST,
        }
    }

    /// Whether the plans are to be made anew; if so, a new generation begins.
    fn outgrown(&mut self, now: Instant) -> bool {
        let outgrown = now.duration_since(self.born) >= self.kept;
        if outgrown {
            self.born = now;
            self.kept = (self.kept * 2).min(Self::LONGEST);
        }
        outgrown
    }
}

/// A session that writes targets.
pub struct Session {
    pub client: Client,
    prepared: HashMap<String, Statement>,
    age: PlanAge,
    /// Foreign keys and triggers of the targets are not fired for this session.
    pub replica_role: bool,
}

impl Session {
    /// # Errors
    /// As [`connect`].
    pub async fn open(info: &ConnInfo, purpose: &str, durability: Durability) -> Result<Self> {
        let client = connect(info, purpose).await?;
        let sync = match durability {
            Durability::Local => "local",
            Durability::Off => "off",
        };
        // Staged rows have no statistics. A generic plan estimates few rows in an
        // array parameter, which makes index access the plan for them; JIT costs
        // more than such statements take.
        let plans = match durability {
            Durability::Local => {
                "set plan_cache_mode = force_generic_plan; set enable_mergejoin = off;"
            }
            Durability::Off => "",
        };
        client
            .batch_execute(&format!(
                "set synchronous_commit = {sync}; set jit = off; {plans}
                 select set_config('crossfade.session', 'on', false)"
            ))
            .await?;
        // Needs a privilege; without it foreign keys and triggers simply fire.
        let replica_role = client
            .batch_execute("set session_replication_role = replica")
            .await
            .is_ok();
        Ok(Self {
            client,
            prepared: HashMap::new(),
            age: PlanAge::new(Instant::now()),
            replica_role,
        })
    }

    /// Marks what this session commits with a replication origin, so that whoever
    /// follows the written tables can tell it from the application's changes. Needs a
    /// privilege, and one session at a time has an origin: without it crossfade's own
    /// streams still begin behind everything that the other one wrote.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn mark_origin(&self, origin: &str) -> Result<bool> {
        let since = Instant::now();
        loop {
            match self.set_up_origin(origin).await {
                Ok(_) => return Ok(true),
                Err(e) if e.is_closed() => return Err(e.into()),
                // The session of before, whose end the server has not noticed yet.
                Err(e)
                    if e.code() == Some(&SqlState::OBJECT_IN_USE) && since.elapsed() < LEAVING =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => return Ok(false),
            }
        }
    }

    async fn set_up_origin(&self, origin: &str) -> std::result::Result<u64, tokio_postgres::Error> {
        self.client
            .execute(
                "select pg_replication_origin_create($1)
                 where not exists (select from pg_replication_origin where roname = $1)",
                &[&origin],
            )
            .await?;
        self.client
            .execute("select pg_replication_origin_session_setup($1)", &[&origin])
            .await
    }

    /// Opens a transaction in which deferrable constraints are checked at once: at COMMIT
    /// nobody could tell any more which row is at fault.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn begin(&self) -> Result<()> {
        self.client
            .batch_execute("begin; set constraints all immediate")
            .await?;
        Ok(())
    }

    /// Prepares once while its plans are young ([`PlanAge`]); parameters have the given
    /// types even where they are unused.
    ///
    /// # Errors
    /// The server's.
    pub async fn prepare(&mut self, sql: &str, types: &[Type]) -> Result<Statement> {
        if self.age.outgrown(Instant::now()) {
            self.forget_statements();
        }
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare_typed(sql, types).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Forgets every statement: the tables under them may have changed.
    pub fn forget_statements(&mut self) {
        self.prepared.clear();
    }

    pub(super) async fn run(&mut self, sql: &str, arrays: &[Parameter<'_>]) -> Result<u64> {
        let types = vec![Type::TEXT_ARRAY; arrays.len()];
        let statement = self.prepare(sql, &types).await?;
        let rows = self.client.execute(&statement, arrays).await?;
        crate::metrics::table::APPLY_STATEMENTS_TOTAL.add(1);
        Ok(rows)
    }

    /// Runs statements over the images and keys of these changes; how many rows each gave
    /// or wrote.
    async fn run_over(
        &mut self,
        plan: &Plan,
        statements: &[String],
        changes: &[&Change],
    ) -> Result<Vec<u64>> {
        let images = image_arrays(changes.iter().copied(), plan.used.len())?;
        let keys = key_arrays(changes.iter().map(|c| c.key.as_slice()), plan.key.len())?;
        let mut arrays: Vec<Parameter<'_>> = images.iter().map(|a| a as Parameter<'_>).collect();
        arrays.extend(keys.iter().map(|a| a as Parameter<'_>));
        let mut rows = Vec::new();
        for sql in statements {
            rows.push(self.run(sql, &arrays).await?);
        }
        Ok(rows)
    }

    /// Makes the active targets of the changed keys what the module makes of their
    /// images, in the open transaction. Rows that the targets refuse are isolated,
    /// their target rows removed, and returned; the rest is written.
    ///
    /// Keys must be distinct under the server's equality.
    ///
    /// # Errors
    /// Whatever is not one row's fault.
    pub async fn merge(
        &mut self,
        plan: &Arc<Plan>,
        active: &[usize],
        changes: &[&Change],
    ) -> Result<Vec<Rejected>> {
        if changes.is_empty() || active.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = plan.insert_lookups(&plan.source_images(), active);
        let lookups = statements.len();
        statements.extend(plan.merge(active));
        match self.attempt(plan, &statements, changes).await? {
            Ok(rows) if rows[lookups..].iter().any(|n| *n > 0) => Err(plan.stray()),
            Ok(_) => Ok(Vec::new()),
            Err(_) => self.replace(plan, active, changes).await,
        }
    }

    /// The way round a violation: all touched keys' rows are deleted first, so that
    /// values can move between rows in any order, then inserted in halves until
    /// what still fails stands alone.
    async fn replace(
        &mut self,
        plan: &Arc<Plan>,
        active: &[usize],
        changes: &[&Change],
    ) -> Result<Vec<Rejected>> {
        self.run_over(plan, &[plan.delete_touched(active)], changes)
            .await
            .context("removing the rows of a batch before writing them anew")?;
        let rows: Vec<&Change> = changes
            .iter()
            .copied()
            .filter(|c| c.image != Image::Gone)
            .collect();
        let mut statements = plan.insert_lookups(&plan.source_images(), active);
        statements.extend(plan.insert(&plan.source_images(), active, "select 1"));
        let mut rejected = Vec::new();
        let mut open = vec![rows.as_slice()];
        while let Some(part) = open.pop() {
            if part.is_empty() {
                continue;
            }
            let Err(error) = self.attempt(plan, &statements, part).await? else {
                continue;
            };
            if let [only] = part {
                rejected.push(Rejected {
                    key: key_strings(&only.key)?,
                    error,
                });
            } else {
                let (left, right) = part.split_at(part.len() / 2);
                // Popped from the end: the left half goes first.
                open.push(right);
                open.push(left);
            }
        }
        Ok(rejected)
    }

    /// Runs the statements under a savepoint; how many rows each gave or wrote. A row's
    /// fault is returned with the transaction as it was before; any other error is an error.
    async fn attempt(
        &mut self,
        plan: &Plan,
        statements: &[String],
        changes: &[&Change],
    ) -> Result<std::result::Result<Vec<u64>, Error>> {
        self.client.batch_execute("savepoint attempt").await?;
        match self.run_over(plan, statements, changes).await {
            Ok(rows) => {
                self.client
                    .batch_execute("release savepoint attempt")
                    .await?;
                Ok(Ok(rows))
            }
            Err(e) if e.is_bad_row() => {
                self.client
                    .batch_execute("rollback to savepoint attempt; release savepoint attempt")
                    .await?;
                Ok(Err(e))
            }
            Err(e) => Err(e),
        }
    }
}
