//! The row of one migration: its phase and what operators asked of it.

use tokio_postgres::GenericClient;

use crate::error::{Error, Kind, Result};
use crate::phase::Phase;
use crate::transform::Plan;

/// One migration as stored.
#[derive(Debug, Clone)]
pub struct Migration {
    pub id: i32,
    pub name: String,
    pub phase: Phase,
    pub system_identifier: String,
    pub module_hash: String,
    pub paused: bool,
    pub stop: bool,
    /// Switches that committed, in either direction.
    pub switches: i32,
    /// How it was switched the last time, by the configuration's name for it.
    pub strategy: Option<String>,
}

/// The newest columns are read out of the row as a whole: a daemon looks for its migration
/// before it brings an older program's state up to date.
const FIND: &str = "
select m.id, m.name, m.phase, m.system_identifier, m.module_hash, m.paused, m.stop, m.switches,
       to_jsonb(m.*) ->> 'strategy',
       to_jsonb(m.*) ->> 'database_oid' <> d.oid::text
from crossfade.migration m, pg_catalog.pg_database d
where m.name = $1 and d.datname = current_database()";

/// Finds the migration of that name.
///
/// # Errors
/// Connection errors; a phase this version does not know; [`Kind::Precondition`] in a copy
/// of the database that it began in.
pub async fn find<C: GenericClient>(client: &C, name: &str) -> Result<Option<Migration>> {
    let Some(row) = client.query_opt(FIND, &[&name]).await? else {
        return Ok(None);
    };
    if row.get::<_, Option<bool>>(9) == Some(true) {
        return Err(Error::new(
            Kind::Precondition,
            format!(
                "this database is a copy of the one that migration {name} began in: its slots and its origin are the original's"
            ),
        )
        .remedy("work on the original; what the copy has of crossfade goes with DROP SCHEMA crossfade CASCADE"));
    }
    Ok(Some(Migration {
        id: row.get(0),
        name: row.get(1),
        phase: row.get::<_, String>(2).parse()?,
        system_identifier: row.get(3),
        module_hash: row.get(4),
        paused: row.get(5),
        stop: row.get(6),
        switches: row.get(7),
        strategy: row.get(8),
    }))
}

/// Finds the migration or says that it was not started.
///
/// # Errors
/// [`Kind::Phase`] where there is none.
pub async fn require<C: GenericClient>(client: &C, name: &str) -> Result<Migration> {
    let missing = || {
        Error::new(
            Kind::Phase,
            format!("migration {name} has not been started in this database"),
        )
        .remedy("start it with `crossfade run`")
    };
    let installed: bool = client
        .query_one("select to_regclass('crossfade.migration') is not null", &[])
        .await?
        .get(0);
    if !installed {
        return Err(missing());
    }
    find(client, name).await?.ok_or_else(missing)
}

/// Creates the row in phase `preparing`, unless it exists.
///
/// # Errors
/// Connection errors.
pub async fn create<C: GenericClient>(
    client: &C,
    name: &str,
    system_identifier: &str,
    module_hash: &str,
) -> Result<Migration> {
    client
        .execute(
            "insert into crossfade.migration
                 (name, phase, system_identifier, module_hash, database_oid)
             select $1, $2, $3, $4, oid from pg_catalog.pg_database
             where datname = current_database()
             on conflict (name) do nothing",
            &[
                &name,
                &Phase::Preparing.name(),
                &system_identifier,
                &module_hash,
            ],
        )
        .await?;
    require(client, name).await
}

/// Remembers in the switch's own transaction how it switches.
///
/// # Errors
/// Connection errors.
pub async fn switched_by<C: GenericClient>(client: &C, id: i32, strategy: &str) -> Result<()> {
    let sql = "update crossfade.migration set strategy = $2 where id = $1";
    client.execute(sql, &[&id, &strategy]).await?;
    Ok(())
}

/// Remembers the database of a migration that an older program began, and did not.
///
/// # Errors
/// Connection errors.
pub async fn settle_down<C: GenericClient>(client: &C, id: i32) -> Result<()> {
    let sql = "update crossfade.migration m set database_oid = d.oid from pg_catalog.pg_database d
               where m.id = $1 and m.database_oid is null and d.datname = current_database()";
    client.execute(sql, &[&id]).await?;
    Ok(())
}

/// Moves the migration from one phase to the next; does nothing when it is not in
/// `from` (somebody else moved it), and says whether it did.
///
/// # Errors
/// Connection errors.
pub async fn advance<C: GenericClient>(
    client: &C,
    id: i32,
    from: Phase,
    to: Phase,
) -> Result<bool> {
    let stamp = match to {
        Phase::Copying => ", copy_started_at = coalesce(copy_started_at, clock_timestamp())",
        Phase::Streaming if from == Phase::Switched => {
            ", switched_at = null, switches = switches + 1"
        }
        Phase::Streaming => ", copy_finished_at = clock_timestamp()",
        Phase::Switched => ", switched_at = clock_timestamp(), switches = switches + 1",
        Phase::Preparing | Phase::Gating => "",
    };
    // A switch and an abort meet in this row: who writes it first wins.
    let sql = format!(
        "update crossfade.migration set phase = $3 {stamp}
         where id = $1 and phase = $2 and (not stop or $3 not in ('streaming', 'switched'))"
    );
    Ok(client
        .execute(&sql, &[&id, &from.name(), &to.name()])
        .await?
        == 1)
}

/// Whether a daemon of this migration runs anywhere. Read from the lock table: to
/// try for the lock could keep a daemon that is starting from getting it.
///
/// # Errors
/// Connection errors.
pub async fn has_daemon<C: GenericClient>(client: &C, id: i32) -> Result<bool> {
    let row = client
        .query_one(
            "select exists(select from pg_catalog.pg_locks l
             where l.locktype = 'advisory' and l.granted and l.objsubid = 2
               and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
               and l.classid = $1::int4::oid and l.objid = $2::int4::oid)",
            &[&super::DAEMON_LOCK, &id],
        )
        .await?;
    Ok(row.get(0))
}

/// The number of a module's source in the state schema, made if it is new.
///
/// # Errors
/// [`Kind::SchemaChange`] where the table was dropped and made anew meanwhile, or has
/// another key.
pub async fn source_id<C: GenericClient>(client: &C, migration: i32, plan: &Plan) -> Result<i32> {
    let module = &plan.module.name;
    let key: Vec<i16> = plan.key_columns().map(|c| c.attnum).collect();
    client
        .execute(
            "insert into crossfade.source as s (migration_id, module, table_oid, key_columns)
             values ($1, $2, $3, $4)
             on conflict (migration_id, module) do update set key_columns = excluded.key_columns
             where s.key_columns is null and s.table_oid = excluded.table_oid",
            &[&migration, module, &plan.source.oid, &key],
        )
        .await?;
    let row = client
        .query_one(
            "select id, table_oid, key_columns from crossfade.source
             where migration_id = $1 and module = $2",
            &[&migration, module],
        )
        .await?;
    if row.get::<_, u32>(1) != plan.source.oid {
        return Err(Error::new(
            Kind::SchemaChange,
            format!("the source table of module {module} is not the one this migration began with"),
        )
        .remedy("`crossfade abort`, then start again"));
    }
    let began: Vec<i16> = row.get::<_, Option<_>>(2).unwrap_or_default();
    if began != key {
        return Err(another_key(plan, &began));
    }
    Ok(row.get(0))
}

/// The stream would name rows by a key that chunks and targets do not know.
fn another_key(plan: &Plan, began: &[i16]) -> Error {
    let table = &plan.source;
    let named: Vec<_> = began
        .iter()
        .map(|number| {
            let column = table.columns.iter().find(|c| c.attnum == *number);
            column.map_or_else(|| "a column that is gone".to_owned(), |c| c.quoted())
        })
        .collect();
    let now: Vec<_> = plan.key_columns().map(|c| c.quoted()).collect();
    Error::new(
        Kind::SchemaChange,
        format!(
            "the key of {} was ({}) when this migration began and is ({}) now",
            table.name,
            named.join(", "),
            now.join(", ")
        ),
    )
    .remedy(
        "give the table its primary key or replica identity back (ALTER TABLE … REPLICA IDENTITY), if no row was written meanwhile; else `crossfade abort`, then start again",
    )
}
