//! Installs and upgrades the state schema with its own numbered migrations, run by the
//! engine of `crossfade migrate`.

use tokio_postgres::{Client, Transaction};

use crate::error::{Context, Error, Kind, Result};
use crate::migrate::chain;
use crate::migrate::history::{self, Event, History, State};
use crate::migrate::{Folder, Migration};

macro_rules! step {
    ($number:literal, $name:literal, $file:literal) => {
        (
            $number,
            $name,
            include_str!(concat!("../../migrations/crossfade/", $file, ".up.sql")),
            include_str!(concat!("../../migrations/crossfade/", $file, ".down.sql")),
        )
    };
}

/// Every migration of the state schema, in order: number, name, up, down.
const STEPS: &[(i32, &str, &str, &str)] = &[
    step!(1, "state", "0001_state"),
    step!(2, "guards", "0002_guards"),
    step!(3, "reverse", "0003_reverse"),
    step!(4, "verification", "0004_verification"),
    step!(5, "switchover", "0005_switchover"),
    step!(6, "strategies", "0006_strategies"),
    step!(7, "operators", "0007_operators"),
    step!(8, "source_key", "0008_source_key"),
    step!(9, "publication", "0009_publication"),
    step!(10, "strategy", "0010_strategy"),
    step!(11, "database", "0011_database"),
    step!(12, "columns", "0012_columns"),
];

/// Brings the schema up to this version; safe to run twice and at the same time.
///
/// # Errors
/// [`Kind::Precondition`] where a newer crossfade made the schema,
/// [`Kind::Privilege`] where the role may not create it.
pub async fn install(client: &mut Client) -> Result<()> {
    // Fast path without any lock or DDL.
    if current(client).await? == Some(newest()) {
        return Ok(());
    }
    let folder = Folder::embedded(STEPS)?;
    let history = History {
        chain: chain::STATE.to_owned(),
    };
    let tx = client.transaction().await?;
    // One installer at a time; the lock ends with the transaction.
    tx.execute(
        "select pg_advisory_xact_lock($1, 0)",
        &[&super::DAEMON_LOCK],
    )
    .await?;
    history::create(&tx).await?;
    // What older programs look at; it goes on being kept beside the history.
    tx.batch_execute(
        "create table if not exists crossfade.schema_version (
             number int primary key, name text not null,
             applied_at timestamptz not null default clock_timestamp())",
    )
    .await
    .context("creating the schema crossfade")?;
    let done: i32 = tx
        .query_one(
            "select coalesce(max(number), 0) from crossfade.schema_version",
            &[],
        )
        .await?
        .get(0);
    if done > newest() {
        return Err(Error::new(
            Kind::Precondition,
            format!(
                "the schema crossfade has version {done}, this program knows {}",
                newest()
            ),
        )
        .remedy("use the newer crossfade that made it"));
    }
    adopt(&tx, &history, &folder, done).await?;
    for migration in folder.migrations.iter().filter(|m| m.number > done) {
        apply(&tx, &history, migration).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Writes into the history what a program without one has installed.
async fn adopt(tx: &Transaction<'_>, history: &History, folder: &Folder, done: i32) -> Result<()> {
    let known = history::read(tx, &history.chain).await?;
    for migration in folder.migrations.iter().filter(|m| m.number <= done) {
        if !known.iter().any(|r| r.number == migration.number) {
            history.put(tx, migration, State::Applied, None).await?;
        }
    }
    Ok(())
}

async fn apply(tx: &Transaction<'_>, history: &History, migration: &Migration) -> Result<()> {
    let what = || format!("state migration {} ({})", migration.number, migration.name);
    let since = std::time::Instant::now();
    for statement in migration.up.statements() {
        tx.batch_execute(&statement.text)
            .await
            .map_err(|e| crate::migrate::run::explain(&migration.up, statement, e))
            .context(what())?;
    }
    let took = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
    history
        .put(tx, migration, State::Applied, Some(took))
        .await
        .context(what())?;
    let event = Event {
        direction: "up",
        outcome: "done",
        duration_ms: took,
        statements: i32::try_from(migration.up.statements().count()).unwrap_or(i32::MAX),
        ..Event::default()
    };
    history
        .log(
            tx,
            migration.number,
            &migration.name,
            Some(&migration.up),
            &event,
        )
        .await?;
    tx.execute(
        "insert into crossfade.schema_version (number, name) values ($1, $2)",
        &[&migration.number, &migration.name],
    )
    .await?;
    Ok(())
}

/// Makes sure that the state, where there is one, is what this program reads and writes.
/// Only the daemon brings it up to date: everything else may meet an older daemon at work.
///
/// # Errors
/// [`Kind::Precondition`] where another version made it; connection errors.
pub async fn require_newest(client: &Client) -> Result<()> {
    let (found, own) = (current(client).await?, newest());
    let remedy = match found {
        Some(version) if version < own => {
            "start the daemon (`crossfade run`) of this version: it brings the state up to date"
        }
        Some(version) if version > own => "use the newer crossfade that made it",
        _ => return Ok(()),
    };
    let version = found.unwrap_or(0);
    Err(Error::new(
        Kind::Precondition,
        format!("the schema crossfade has version {version}, this program needs {own}"),
    )
    .remedy(remedy))
}

fn newest() -> i32 {
    STEPS.last().map_or(0, |s| s.0)
}

/// The installed version, `None` where there is no state schema.
///
/// # Errors
/// Connection errors.
pub async fn current(client: &Client) -> Result<Option<i32>> {
    let exists: bool = client
        .query_one(
            "select to_regclass('crossfade.schema_version') is not null",
            &[],
        )
        .await?
        .get(0);
    if !exists {
        return Ok(None);
    }
    let row = client
        .query_one("select max(number) from crossfade.schema_version", &[])
        .await?;
    Ok(row.get(0))
}
