//! From nothing to a slot with its start gate passed and the first tiles laid; each
//! step can be repeated after a crash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::gap;
use crate::config::Config;
use crate::error::{Context, Error, Kind, Result};
use crate::failpoint;
use crate::pg::{ConnInfo, slot};
use crate::phase::Phase;
use crate::preflight;
use crate::state::checkpoint::Leg;
use crate::state::{
    ChunkTable, Migration, back, checkpoint, guard, install, migration, place, publication,
    recovery,
};
use crate::transform::module::hash_all;
use crate::transform::{Module, Plan};

/// How long slot creation and start gate wait for open transactions.
const GATE: Duration = Duration::from_secs(600);

/// A migration ready to stream and copy.
pub struct Prepared {
    pub migration: Migration,
    pub sources: Vec<(Arc<Plan>, ChunkTable)>,
    /// Sum of the planner's estimates of the sources' rows.
    pub estimated_rows: i64,
}

impl Prepared {
    /// Which stream this incarnation of the daemon carries.
    #[must_use]
    pub fn leg(&self) -> Leg {
        leg(self.migration.phase)
    }
}

/// The old schema is followed until the switch, the new one after it.
pub(super) fn leg(phase: Phase) -> Leg {
    if phase == Phase::Switched {
        Leg::Reverse
    } else {
        Leg::Forward
    }
}

/// Reads every module of the configuration.
///
/// # Errors
/// Those of [`Module::load`].
pub fn modules(config: &Config) -> Result<Vec<Module>> {
    config
        .transforms
        .iter()
        .map(|dir| Module::load(dir))
        .collect()
}

/// Binds every module; reports every problem of the first that has any.
///
/// # Errors
/// [`Kind::Module`] or [`Kind::Precondition`].
pub async fn bind_all(
    client: &mut Client,
    migration: i32,
    modules: &[Module],
) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for module in modules {
        plans.push(
            place::bind(client, migration, module)
                .await
                .map_err(first)?,
        );
    }
    Ok(plans)
}

fn first(problems: Vec<Error>) -> Error {
    let more = problems.len().saturating_sub(1);
    let mut problems = problems.into_iter();
    let error = problems
        .next()
        .unwrap_or_else(|| Error::new(Kind::Module, "the module does not fit"));
    if more == 0 {
        return error;
    }
    let message = format!(
        "{} (and {more} more: see `crossfade preflight`)",
        error.message
    );
    Error { message, ..error }
}

/// Connects the owner's session and makes sure of state schema and migration row.
///
/// `again` says that this process has had the migration before: then a migration
/// that is gone was finished or aborted meanwhile, must not begin anew, and gives
/// `None`.
///
/// # Errors
/// Connection, privilege, module and precondition errors, before anything changed.
pub async fn open(conninfo: &ConnInfo, config: &Config, again: bool) -> Result<Option<Client>> {
    preflight::one_database(conninfo, config)?;
    let modules = modules(config)?;
    let mut client = super::session(conninfo, "daemon").await?;
    let mut begun = preflight::begun(&client, config).await?;
    if begun.is_none() && again {
        return Ok(None);
    }
    if begun.is_none() {
        let report = preflight::examine(&mut client, conninfo, config, begun).await;
        for check in report.warnings() {
            let remedy = check.remedy.as_deref().unwrap_or("-");
            tracing::warn!(check = check.name, remedy, "{}", check.found);
        }
        if let Err(refused) = report.refuse() {
            // Two that are started together: what stands in the way (a slot in use, rows in
            // the targets) may be the other one's work, and then this one stands by.
            begun = preflight::begun(&client, config).await?;
            if begun.is_none() {
                return Err(refused);
            }
        }
    }
    // Also under a migration that has begun: a newer program brings newer state.
    install::install(&mut client).await?;
    if begun.is_none() {
        let system = system_identifier(&client).await?;
        migration::create(&client, &config.name, &system, &hash_all(&modules)).await?;
    }
    Ok(Some(client))
}

async fn system_identifier(client: &Client) -> Result<String> {
    let row = client
        .query_one(
            "select system_identifier::text from pg_control_system()",
            &[],
        )
        .await
        .context("reading the server's identity")?;
    Ok(row.get(0))
}

/// Brings the migration to phase `copying` or finds it there.
///
/// # Errors
/// [`Kind::Slot`] when the stream has a gap, [`Kind::SchemaChange`] when modules or
/// tables changed under a migration that has begun.
pub async fn prepare(
    client: &mut Client,
    conninfo: &ConnInfo,
    config: &Config,
    mut row: Migration,
) -> Result<Prepared> {
    let modules = modules(config)?;
    if row.module_hash != hash_all(&modules) {
        return Err(Error::new(
            Kind::SchemaChange,
            "the modules are not those this migration began with: rows already copied were made by the old ones",
        )
        .remedy("restore the module's text, or `crossfade abort`, empty the targets and start again"));
    }
    if row.system_identifier != system_identifier(client).await? {
        return Err(Error::new(
            Kind::Slot,
            "this is not the server that the migration began on",
        )
        .remedy(
            "connect to the original server; after a failover: `crossfade abort`, then start again",
        ));
    }
    migration::settle_down(client, row.id).await?;
    let plans = bind_all(client, row.id, &modules).await?;
    let estimated_rows = plans.iter().map(|p| p.source.estimated_rows.max(0)).sum();
    if leg(row.phase) == Leg::Forward && row.phase != Phase::Preparing {
        begin_again(client, config, &mut row).await?;
    }
    if row.phase == Phase::Preparing {
        preflight::check_identity(client, &plans).await?;
        // Begun anew, the targets hold rows, and their guards are there.
        if !recovery::has_begun(client, row.id).await? {
            preflight::check_empty(client, &plans).await?;
            guard_targets(client, config, &plans).await;
        }
        create_slot(client, config, &plans, &row).await?;
        row.phase = Phase::Gating;
    }
    let sources = sources(client, &row, plans).await?;
    if row.phase == Phase::Gating {
        start_gate(client, row.id).await?;
        seed(client, &row, &sources).await?;
        row.phase = Phase::Copying;
    }
    gap::check(client, config, &row).await?;
    recovery::found(client, row.id).await?;
    tracing::info!(phase = %row.phase, server = %conninfo.display(), "ready");
    Ok(Prepared {
        migration: row,
        sources,
        estimated_rows,
    })
}

/// Where changes are missing from the stream, sends the migration back to where the
/// stream begins; everything else stays as it is.
async fn begin_again(client: &mut Client, config: &Config, row: &mut Migration) -> Result<()> {
    let why = match gap::check(client, config, row).await {
        Err(e) if e.kind == Kind::Slot => e,
        done => return done,
    };
    tracing::warn!(error = %why, "beginning the stream anew");
    failpoint::hit("recovery.before_begin").await;
    let tx = client.transaction().await?;
    recovery::begin(&tx, row).await?;
    tx.commit().await?;
    failpoint::hit("recovery.begun").await;
    row.phase = Phase::Preparing;
    Ok(())
}

/// Keeps strangers from writing the targets. Without the privilege the migration
/// goes on: verify would show what they did.
async fn guard_targets(client: &Client, config: &Config, plans: &[Plan]) {
    for (_, target) in plans.iter().flat_map(Plan::row_targets) {
        if let Err(e) = guard::target(client, &target.table.name, &config.name).await {
            tracing::warn!(error = %e, "the target is not guarded against other writers");
        }
    }
}

/// Publication, then slot (a slot that is older than its publication fails at the
/// first change), then both facts in one transaction. A crash in between leaves
/// phase `preparing`, and the next start makes the slot anew.
async fn create_slot(
    client: &mut Client,
    config: &Config,
    plans: &[Plan],
    row: &Migration,
) -> Result<()> {
    let name = config.slot();
    for old in [&name, &config.back_slot()] {
        slot::drop(client, old, slot::Active::Wait, Duration::from_secs(10)).await?;
        slot::drop_publication(client, old).await?;
    }
    let tables = plans.iter().map(|p| p.source.from_sql()).collect();
    if failpoint::omitted("seed_after_slot") {
        // The mutant: the highest key is read before the slot exists.
        client
            .batch_execute(&format!(
                "create table crossfade.early_top as select max({}) as k from {}",
                plans[0].key_list("").join(", "),
                plans[0].source.from_sql()
            ))
            .await?;
    }
    failpoint::hit("prepare.before_slot").await;
    slot::create_publication(client, &name, &tables).await?;
    publication::remember(client, row.id, &name).await?;
    // The server lets every transaction that is writing now end first.
    waits(
        client,
        row.id,
        Some("making the slot: open write transactions must end first"),
    )
    .await?;
    let lsn = slot::create(client, &name, GATE, config.slot_guard.failover).await?;
    waits(client, row.id, None).await?;
    let tx = client.transaction().await?;
    checkpoint::create(&tx, row.id, lsn).await?;
    own(migration::advance(&tx, row.id, Phase::Preparing, Phase::Gating).await?)?;
    recovery::found(&tx, row.id).await?;
    tx.commit().await?;
    Ok(())
}

/// A phase that somebody else has moved: a dead daemon's last transaction must not
/// lay a second set of tiles, nor may ours.
fn own(moved: bool) -> Result<()> {
    if moved {
        return Ok(());
    }
    Err(Error::new(
        Kind::Ownership,
        "another process has moved the migration on",
    ))
}

async fn sources(
    client: &mut Client,
    row: &Migration,
    plans: Vec<Plan>,
) -> Result<Vec<(Arc<Plan>, ChunkTable)>> {
    let mut sources = Vec::new();
    for plan in plans {
        let tx = client.transaction().await?;
        let id = migration::source_id(&tx, row.id, &plan).await?;
        let mut chunks = ChunkTable::new(id, &plan);
        chunks.again = recovery::is_again(&tx, id).await?;
        let exists: bool = tx
            .query_one("select to_regclass($1) is not null", &[&chunks.name()])
            .await?
            .get(0);
        if exists {
            chunks.sorts_alike(&tx, &plan).await?;
        } else {
            chunks.create(&tx, &plan).await?;
        }
        place::remember(&tx, id, &plan).await?;
        back::create(&tx, &plan, id).await?;
        tx.commit().await?;
        sources.push((Arc::new(plan), chunks));
    }
    Ok(sources)
}

/// Waits until every transaction that could be in neither the stream nor a later
/// snapshot has become visible: a commit record before the slot's consistent point
/// whose backend has not left the proc array yet.
async fn start_gate(client: &Client, migration: i32) -> Result<()> {
    failpoint::hit("prepare.start_gate").await;
    if failpoint::omitted("start_gate") {
        return Ok(());
    }
    let until: String = client
        .query_one("select pg_current_xact_id()::text", &[])
        .await?
        .get(0);
    let since = Instant::now();
    let mut said = false;
    loop {
        let row = client
            .query_one(
                "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8,
                        (select string_agg(format('pid %s (%s)', pid, application_name), ', ')
                         from pg_stat_activity
                         where backend_xid is not null and pid <> pg_backend_pid()),
                        (select string_agg(format('prepared transaction %s', transaction), ', ')
                         from pg_prepared_xacts)",
                &[&until],
            )
            .await?;
        if row.get(0) {
            if said {
                waits(client, migration, None).await?;
            }
            return Ok(());
        }
        let names: Vec<String> = [row.get::<_, Option<String>>(1), row.get(2)]
            .into_iter()
            .flatten()
            .collect();
        let what = format!("waiting for open transactions to end: {}", names.join(", "));
        if since.elapsed() > GATE {
            return Err(Error::new(Kind::Contention, what)
                .remedy("end these sessions or let them finish; the daemon tries again"));
        }
        if since.elapsed() > Duration::from_secs(2) && !said {
            said = true;
            tracing::warn!("{what}");
            waits(client, migration, Some(&what)).await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tells `status` what a start waits for.
async fn waits(client: &Client, migration: i32, what: Option<&str>) -> Result<()> {
    client
        .execute(
            "update crossfade.daemon set waiting = $2, seen_at = clock_timestamp()
             where migration_id = $1",
            &[&migration, &what],
        )
        .await?;
    Ok(())
}

/// Lays the first tiles of every source in one snapshot; where the stream was begun
/// anew, takes back what was copied.
async fn seed(
    client: &mut Client,
    row: &Migration,
    sources: &[(Arc<Plan>, ChunkTable)],
) -> Result<()> {
    let claimed = !failpoint::omitted("recovery_claims");
    for (_, chunks) in sources.iter().filter(|(_, chunks)| claimed && chunks.again) {
        // A copier of a daemon that is not quite dead may hold a snapshot from before the
        // gate: what it copies is taken back below. Who claims later has a later one.
        let pending = chunks.pending_ids(client).await?;
        chunks.wait_unclaimed(client, &pending).await?;
    }
    let tx = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await?;
    // All locks before the snapshot that the first query takes.
    for (plan, _) in sources {
        tx.batch_execute(&format!(
            "lock table {} in access share mode",
            plan.source.name.sql()
        ))
        .await
        .context(format!("locking {}", plan.source.name))?;
    }
    for (plan, chunks) in sources {
        if chunks.again {
            let taken = chunks.reset(&tx, plan).await?;
            tracing::warn!(table = %plan.source.name, chunks = taken.chunks, rows = taken.rows,
                "the stream was begun anew: what was copied is compared, and copied again where it differs");
        } else {
            chunks.seed(&tx, plan).await?;
        }
        if failpoint::omitted("seed_after_slot") {
            let sql = format!(
                "update {} set hi_0 = (select k from crossfade.early_top) where state = 'unplanned'",
                chunks.name()
            );
            tx.execute(&sql, &[]).await?;
            let sql = format!(
                "update {} set lo_0 = (select k from crossfade.early_top) where hi_0 is null",
                chunks.name()
            );
            tx.execute(&sql, &[]).await?;
        }
    }
    own(migration::advance(&tx, row.id, Phase::Gating, Phase::Copying).await?)?;
    tx.commit().await?;
    Ok(())
}
