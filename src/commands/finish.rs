//! `crossfade finish` and `crossfade abort`: what crossfade made goes away.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Client;

use super::Context;
use crate::config::{Config, Strategy};
use crate::cutover::Direction;
use crate::cutover::strategy::{self, contract::Contract};
use crate::error::{Error, Kind, Result};
use crate::pg::slot::{self, Active};
use crate::pg::{ConnInfo, QualifiedName};
use crate::phase::Phase;
use crate::state::{ChunkTable, DAEMON_LOCK, Migration, guard, migration, place};
use crate::transform::Module;

/// How long a running daemon may take to end.
const DAEMON: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// After the switch.
    Finish,
    /// Before it: the migration is given up.
    Abort,
}

/// Of `finish`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Where the migration that drops moved columns is written (strategy `columns`)
    /// [default: `migrations` beside the configuration file]
    #[arg(long, value_name = "DIR")]
    contract: Option<PathBuf>,
}

/// Drops slot, publication and state; never a table that holds rows of the
/// application. What is left is said.
///
/// # Errors
/// [`Kind::Phase`] in the wrong phase; connection errors. Safe to run again.
pub async fn run(context: &Context, verb: Verb, args: &Args) -> Result<ExitCode> {
    let (config, mut client) = context.open("finish").await?;
    let row = migration::require(&client, &config.name).await?;
    strategy::agrees(&config, &row)?;
    match (verb, row.phase) {
        (Verb::Finish, Phase::Switched) => {}
        (Verb::Abort, phase) if phase < Phase::Switched => {}
        (Verb::Finish, phase) => {
            return Err(Error::new(
                Kind::Phase,
                format!("migration {} is in phase {phase}, not switched", row.name),
            )
            .remedy("`crossfade switch` first, or `crossfade abort` to give it up"));
        }
        (Verb::Abort, _) => {
            return Err(
                Error::new(Kind::Phase, format!("migration {} has switched", row.name))
                    .remedy("`crossfade finish` cleans up after a switch"),
            );
        }
    }
    // What may fail comes before the daemon ends: with it ends the way back.
    let contracts = match verb {
        Verb::Finish => contracts(&mut client, &config, &row, context.contract_dir(args)).await?,
        Verb::Abort => Vec::new(),
    };
    if let Err(e) = end_daemon(&client, &row, verb).await {
        // Nothing is dropped yet: a daemon may go on, and a switch too.
        let again = "update crossfade.migration set stop = false where id = $1";
        client.execute(again, &[&row.id]).await?;
        return Err(e);
    }
    for name in [config.slot(), config.back_slot()] {
        slot::drop(&client, &name, Active::Terminate, Duration::from_secs(20)).await?;
        slot::drop_publication(&client, &name).await?;
    }
    drop_origin(&client, &config.slot()).await?;
    unguard(&mut client, &config.name).await?;
    // A switch back may have left columns that are not NOT NULL again yet.
    let info = ConnInfo::parse(&config.source_url)?;
    let unfinished = match verb {
        Verb::Finish => None,
        Verb::Abort => strategy::afterwards(&config, &info, row.id, Direction::Back).await,
    };
    // Read while the state still tells of them.
    let constraints = match verb {
        Verb::Finish => Vec::new(),
        Verb::Abort => strategy::mandatory::left_behind(&client, row.id).await?,
    };
    let mut left = clean(&mut client, &config, &row, verb).await?;
    left.extend(constraints);
    left.extend(
        unfinished
            .filter(|check| !check.passed())
            .map(|check| check.found),
    );
    left.extend(contracts.iter().map(|path| {
        format!(
            "{}: apply it when nothing reads the moved columns any more",
            path.display()
        )
    }));
    let done = match verb {
        Verb::Finish => "finished",
        Verb::Abort => "aborted",
    };
    let mut text = format!("{done}: slot, publication and this migration's state are gone\n");
    for what in &left {
        text.push_str(&format!("left: {what}\n"));
    }
    context.print(
        &json!({"name": config.name, "result": done, "left": left, "contracts": contracts}),
        &text,
    );
    Ok(ExitCode::SUCCESS)
}

impl Context {
    fn contract_dir(&self, args: &Args) -> PathBuf {
        args.contract.clone().unwrap_or_else(|| {
            let beside = self.config.parent().unwrap_or(Path::new("."));
            beside.join("migrations")
        })
    }
}

/// Writes what drops the moved columns, while the modules still are what was switched.
async fn contracts(
    client: &mut Client,
    config: &Config,
    row: &Migration,
    dir: PathBuf,
) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if config.switch.strategy != Strategy::Columns {
        return Ok(written);
    }
    for dir_of_module in &config.transforms {
        let module = Module::load(dir_of_module)?;
        let plan = place::bind(client, row.id, &module).await.map_err(first)?;
        if let Some(contract) = Contract::of(&plan) {
            written.push(contract.write(&dir)?);
        }
    }
    Ok(written)
}

fn first(problems: Vec<Error>) -> Error {
    problems
        .into_iter()
        .next()
        .unwrap_or_else(|| Error::new(Kind::Module, "the module does not fit"))
}

/// Asks a running daemon to end, waits for its lock and keeps it, so that neither a
/// standby nor a restarted daemon comes in between.
///
/// The phase is checked by the same statement: a switch that commits first makes an
/// abort fail here, and an abort that is first makes the switch fail. A daemon that goes
/// from one phase to the next meanwhile, as one that has just been started does, hinders
/// neither.
async fn end_daemon(client: &Client, row: &Migration, verb: Verb) -> Result<()> {
    let asked = client
        .execute(
            "update crossfade.migration set stop = true
             where id = $1 and (phase = $2) = $3",
            &[&row.id, &Phase::Switched.name(), &(verb == Verb::Finish)],
        )
        .await?;
    if asked == 0 {
        return Err(Error::new(
            Kind::Phase,
            format!("migration {} is no longer in phase {}", row.name, row.phase),
        )
        .remedy("somebody else switches, finishes or aborts it: see `crossfade status`"));
    }
    let since = Instant::now();
    loop {
        let free: bool = client
            .query_one(
                "select pg_try_advisory_lock($1, $2)",
                &[&DAEMON_LOCK, &row.id],
            )
            .await?
            .get(0);
        if free {
            return Ok(());
        }
        if since.elapsed() > DAEMON {
            return Err(Error::new(
                Kind::Ownership,
                format!("the daemon of {} does not end", row.name),
            )
            .remedy("stop it by hand, then run this again"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Removes the origin of the migration's own writes; who may not make origins has none.
///
/// The daemon's lock and its origin are held by two sessions, which end in any order: one
/// that still has the origin (55006) is waited for.
async fn drop_origin(client: &Client, name: &str) -> Result<()> {
    // A role that could not make one may not ask for one to be dropped either, not even for
    // none.
    let sql = "select from pg_catalog.pg_replication_origin where roname = $1";
    if client.query_opt(sql, &[&name]).await?.is_none() {
        return Ok(());
    }
    let since = Instant::now();
    loop {
        let dropped = client
            .execute(
                "select pg_replication_origin_drop(roname)
                 from pg_catalog.pg_replication_origin where roname = $1",
                &[&name],
            )
            .await
            .map_err(Error::from);
        match dropped {
            Ok(_) => return Ok(()),
            Err(e) if e.is_sqlstate("42704") => return Ok(()),
            Err(e) if e.is_sqlstate("55006") && since.elapsed() < DAEMON => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(e) => {
                return Err(e.context(format!("cannot drop the replication origin {name}")));
            }
        }
    }
}

/// Removes the migration's guards of targets, under whatever names these are now:
/// live tables after a switch, so a lock that is not had at once is asked for again
/// a little later.
async fn unguard(client: &mut Client, name: &str) -> Result<()> {
    for table in guard::targets(client, name).await? {
        let mut pause = Duration::from_millis(100);
        while let Err(e) = unguard_one(client, &table).await {
            if !e.is_sqlstate("55P03") || pause > Duration::from_secs(5) {
                return Err(e);
            }
            tokio::time::sleep(pause).await;
            pause = pause * 3 / 2;
        }
    }
    Ok(())
}

async fn unguard_one(client: &mut Client, name: &QualifiedName) -> Result<()> {
    let tx = client.transaction().await?;
    guard::remove_gently(&tx, name).await?;
    tx.commit().await?;
    Ok(())
}

/// What a switch has left of the old table.
fn old_table(config: &Config, old: &QualifiedName) -> Option<String> {
    match config.switch.strategy {
        // It stays for good; its moved columns are the contract's.
        Strategy::Columns => None,
        Strategy::View => Some(format!(
            "{old}, guarded against writes, and the view that has taken its name with the function behind it; drop them when nobody needs them"
        )),
        Strategy::Rename | Strategy::Sql => Some(format!(
            "{old}, guarded against writes; drop it when nobody needs it"
        )),
    }
}

/// Removes the state in one transaction; returns what stays.
async fn clean(
    client: &mut Client,
    config: &Config,
    row: &Migration,
    verb: Verb,
) -> Result<Vec<String>> {
    let tx = client.transaction().await?;
    let sources = tx
        .query(
            "select s.id, s.module, n.nspname::text, c.relname::text from crossfade.source s
             left join pg_class c on c.oid = s.table_oid
             left join pg_namespace n on n.oid = c.relnamespace
             where s.migration_id = $1 order by s.id",
            &[&row.id],
        )
        .await?;
    let mut left = Vec::new();
    for source in &sources {
        let (chunk, log) = ChunkTable::names(source.get(0));
        let back = ChunkTable::back_view(source.get(0));
        tx.batch_execute(&format!(
            "drop view if exists {back}; drop table if exists {chunk}, {log}"
        ))
        .await?;
        let (schema, name): (Option<String>, Option<String>) = (source.get(2), source.get(3));
        if let (Verb::Finish, Some(schema), Some(name)) = (verb, schema, name) {
            left.extend(old_table(config, &QualifiedName::new(schema, name)));
        }
    }
    for dir in &config.transforms {
        let Ok(module) = Module::load(dir) else {
            continue;
        };
        for target in module.targets.iter().filter(|_| verb == Verb::Abort) {
            left.push(format!(
                "{} with the rows written so far; TRUNCATE it before another start",
                target.table
            ));
        }
    }
    tx.execute("delete from crossfade.migration where id = $1", &[&row.id])
        .await?;
    tx.commit().await?;
    Ok(left)
}
