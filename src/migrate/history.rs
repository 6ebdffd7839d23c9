//! What a database remembers of its migrations: which are applied, with their texts;
//! how far one without a transaction has come; and everything that was ever done.

use tokio_postgres::{Client, GenericClient};

use super::folder::{Down, Migration};
use super::script::Script;
use crate::error::{Error, Kind, Result};

/// One way through a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Where a migration is that is not simply pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    /// Some of its steps are committed; the rest goes on from there.
    Halfway(Direction),
}

impl State {
    fn of(text: &str) -> Self {
        match text {
            "going up" => Self::Halfway(Direction::Up),
            "going down" => Self::Halfway(Direction::Down),
            _ => Self::Applied,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Halfway(Direction::Up) => "going up",
            Self::Halfway(Direction::Down) => "going down",
        }
    }
}

/// A migration that the database has, as it was when it was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub number: i32,
    pub name: String,
    pub state: State,
    /// Of the way up.
    pub checksum: String,
    pub up: String,
    /// `None` where it was irreversible.
    pub down: Option<String>,
    pub by: String,
    /// As text, in UTC.
    pub at: String,
    pub duration_ms: Option<i64>,
}

impl Record {
    #[must_use]
    pub fn label(&self) -> String {
        format!("{:04}_{}", self.number, self.name)
    }
}

/// What is kept of a step of a file without a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Counted from 0.
    pub step: i32,
    pub hash: String,
    /// False while it is not known whether the statement took effect.
    pub done: bool,
    /// The last key of a batched step.
    pub last_key: Option<String>,
    pub rows: i64,
}

/// A line of the log of everything done.
#[derive(Debug, Clone, Default)]
pub struct Event<'a> {
    pub direction: &'a str,
    pub outcome: &'a str,
    pub duration_ms: i64,
    pub statements: i32,
    pub accepted: &'a [String],
    pub note: Option<&'a str>,
}

const TABLES: &str = "
create schema if not exists crossfade;
create table if not exists crossfade.schema_migration (
    chain        text not null,
    number       integer not null,
    name         text not null,
    state        text not null check (state in ('applied', 'going up', 'going down')),
    checksum     text not null,
    up           text not null,
    down         text,
    applied_by   text not null default session_user,
    applied_at   timestamptz not null default clock_timestamp(),
    duration_ms  bigint,
    primary key (chain, number)
);
create table if not exists crossfade.schema_step (
    chain      text not null,
    number     integer not null,
    direction  text not null check (direction in ('up', 'down')),
    step       integer not null,
    hash       text not null,
    done       boolean not null,
    last_key   text,
    rows_done  bigint not null default 0,
    began_at   timestamptz not null default clock_timestamp(),
    primary key (chain, number, direction, step)
);
create table if not exists crossfade.schema_event (
    id           bigint generated always as identity primary key,
    chain        text not null,
    number       integer not null,
    name         text not null,
    direction    text not null check (direction in ('up', 'down', 'repair')),
    outcome      text not null check (outcome in ('done', 'failed')),
    checksum     text,
    role         text not null default session_user,
    client       text not null,
    program      text not null,
    ended_at     timestamptz not null default clock_timestamp(),
    duration_ms  bigint not null,
    statements   integer not null,
    accepted     text[] not null default '{}',
    note         text
);
comment on table crossfade.schema_migration is
    'Migrations that are applied or halfway, with their texts; kept by crossfade migrate';
comment on table crossfade.schema_step is
    'How far migrations without a transaction have come';
comment on table crossfade.schema_event is
    'Who has applied, taken back or repaired which migration, when, and how long it took'";

/// Whether the tables are there.
///
/// # Errors
/// Connection errors.
pub async fn exists(client: &impl GenericClient) -> Result<bool> {
    let row = client
        .query_one(
            "select to_regclass('crossfade.schema_event') is not null",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// Makes the tables where they are missing; safe to run at the same time.
///
/// # Errors
/// [`Kind::Privilege`] where the role may not.
pub async fn ensure(client: &mut Client) -> Result<()> {
    if exists(client).await? {
        return Ok(());
    }
    let tx = client.transaction().await?;
    // Another chain may be making them at this moment. Nobody queues behind this wait, so it
    // is no matter for the limit of a migration's own locks.
    tx.batch_execute("set local lock_timeout = '60s'").await?;
    create(&tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The same inside of a transaction.
///
/// # Errors
/// As [`ensure`].
pub async fn create(tx: &impl GenericClient) -> Result<()> {
    if exists(tx).await? {
        return Ok(());
    }
    // CREATE … IF NOT EXISTS of two sessions at once is an error for one of them.
    tx.execute(
        "select pg_advisory_xact_lock($1, 0)",
        &[&super::session::LOCK_CLASS],
    )
    .await?;
    tx.batch_execute(TABLES).await.map_err(|e| {
        let error = Error::from(e).context("creating the history in the schema crossfade");
        match error.kind {
            Kind::Privilege => error.remedy(
                "let a role run it once that has CREATE on the database, and grant this one the schema crossfade",
            ),
            _ => error,
        }
    })
}

/// Every migration that the database has, by number.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &impl GenericClient, chain: &str) -> Result<Vec<Record>> {
    if !exists(client).await? {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "select number, name, state, checksum, up, down, applied_by,
                    to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), duration_ms
             from crossfade.schema_migration where chain = $1 order by number",
            &[&chain],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Record {
            number: row.get(0),
            name: row.get(1),
            state: State::of(row.get(2)),
            checksum: row.get(3),
            up: row.get(4),
            down: row.get(5),
            by: row.get(6),
            at: row.get(7),
            duration_ms: row.get(8),
        })
        .collect())
}

/// Where the history is written: a chain in one database.
#[derive(Debug, Clone)]
pub struct History {
    pub chain: String,
}

impl History {
    /// Writes that a migration is in a state, with its texts as they are now.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn put(
        &self,
        client: &impl GenericClient,
        migration: &Migration,
        state: State,
        duration_ms: Option<i64>,
    ) -> Result<()> {
        let down = match &migration.down {
            Down::Script(script) => Some(script.stored()),
            Down::Irreversible(_) => None,
        };
        client
            .execute(
                "insert into crossfade.schema_migration
                     (chain, number, name, state, checksum, up, down, duration_ms)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (chain, number) do update set
                     name = excluded.name, state = excluded.state, checksum = excluded.checksum,
                     up = excluded.up, down = excluded.down, applied_by = session_user,
                     applied_at = clock_timestamp(), duration_ms = excluded.duration_ms",
                &[
                    &self.chain,
                    &migration.number,
                    &migration.name,
                    &state.name(),
                    &migration.up.checksum(),
                    &migration.up.stored(),
                    &down,
                    &duration_ms,
                ],
            )
            .await?;
        Ok(())
    }

    /// Marks a migration as being on its way; its texts stay as they were applied.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn mark(&self, client: &impl GenericClient, number: i32, state: State) -> Result<()> {
        client
            .execute(
                "update crossfade.schema_migration set state = $3 where chain = $1 and number = $2",
                &[&self.chain, &number, &state.name()],
            )
            .await?;
        Ok(())
    }

    /// Forgets a migration and its steps.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn forget(&self, client: &impl GenericClient, number: i32) -> Result<()> {
        client
            .execute(
                "delete from crossfade.schema_migration where chain = $1 and number = $2",
                &[&self.chain, &number],
            )
            .await?;
        self.clear_steps(client, number).await
    }

    /// # Errors
    /// Connection errors.
    pub async fn clear_steps(&self, client: &impl GenericClient, number: i32) -> Result<()> {
        client
            .execute(
                "delete from crossfade.schema_step where chain = $1 and number = $2",
                &[&self.chain, &number],
            )
            .await?;
        Ok(())
    }

    /// The steps of one direction that have begun or are done.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn steps(
        &self,
        client: &impl GenericClient,
        number: i32,
        direction: Direction,
    ) -> Result<Vec<StepRecord>> {
        let rows = client
            .query(
                "select step, hash, done, last_key, rows_done from crossfade.schema_step
                 where chain = $1 and number = $2 and direction = $3 order by step",
                &[&self.chain, &number, &direction.name()],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| StepRecord {
                step: row.get(0),
                hash: row.get(1),
                done: row.get(2),
                last_key: row.get(3),
                rows: row.get(4),
            })
            .collect())
    }

    /// Writes how far a step is; in the step's own transaction where it has one.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn put_step(
        &self,
        client: &impl GenericClient,
        number: i32,
        direction: Direction,
        step: &StepRecord,
    ) -> Result<()> {
        client
            .execute(
                "insert into crossfade.schema_step
                     (chain, number, direction, step, hash, done, last_key, rows_done)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (chain, number, direction, step) do update set
                     hash = excluded.hash, done = excluded.done,
                     last_key = excluded.last_key, rows_done = excluded.rows_done",
                &[
                    &self.chain,
                    &number,
                    &direction.name(),
                    &step.step,
                    &step.hash,
                    &step.done,
                    &step.last_key,
                    &step.rows,
                ],
            )
            .await?;
        Ok(())
    }

    /// Adds a line to the log.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn log(
        &self,
        client: &impl GenericClient,
        number: i32,
        name: &str,
        script: Option<&Script>,
        event: &Event<'_>,
    ) -> Result<()> {
        client
            .execute(
                "insert into crossfade.schema_event
                     (chain, number, name, direction, outcome, checksum, client, program,
                      duration_ms, statements, accepted, note)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                &[
                    &self.chain,
                    &number,
                    &name,
                    &event.direction,
                    &event.outcome,
                    &script.map(Script::checksum),
                    &whoami(),
                    &concat!("crossfade ", env!("CARGO_PKG_VERSION")),
                    &event.duration_ms,
                    &event.statements,
                    &event.accepted,
                    &event.note,
                ],
            )
            .await?;
        Ok(())
    }
}

/// `user@host` of this process.
fn whoami() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let user = std::env::var("USER").unwrap_or_else(|_| {
        let own = std::fs::metadata("/proc/self");
        own.map_or_else(|_| "?".to_owned(), |m| format!("uid {}", m.uid()))
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

/// The error for a database whose history does not fit the files.
#[must_use]
pub fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::new(Kind::Precondition, message).remedy(remedy)
}
