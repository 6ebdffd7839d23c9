//! Where the tables of a migration stand now: remembered by OID, since a switch
//! renames them, and a switch back too.

use tokio_postgres::{Client, GenericClient};

use crate::error::{Context, Error, Result};
use crate::pg::QualifiedName;
use crate::phase::Phase;
use crate::transform::bind::{self, Places};
use crate::transform::{Module, Plan};

/// Binds a module of a migration to its tables under their present names.
///
/// # Errors
/// All problems found, at least one.
pub async fn bind(
    client: &mut Client,
    migration: i32,
    module: &Module,
) -> Result<Plan, Vec<Error>> {
    let places = places(client, migration, module)
        .await
        .map_err(|e| vec![e])?;
    let mut module = module.clone();
    if moved(&module, &places) {
        follow(client, migration, &mut module)
            .await
            .map_err(|e| vec![e])?;
    }
    bind::bind_at(client, &module, &places).await
}

/// Whether a target has another name than the module gives it.
fn moved(module: &Module, places: &Places) -> bool {
    let targets = module.targets.iter().zip(&places.targets);
    targets
        .into_iter()
        .any(|(spec, place)| place.as_ref().is_some_and(|place| *place != spec.table))
}

/// The reverse names the targets as they are called before the switch. Once they have
/// other names it is taken from its view, which the server keeps by their OIDs.
async fn follow(client: &Client, migration: i32, module: &mut Module) -> Result<()> {
    let Some(reverse) = &mut module.reverse else {
        return Ok(());
    };
    let row = client
        .query_opt(
            "select crossfade.select_of(to_regclass('crossfade.back_' || id)) from crossfade.source
             where migration_id = $1 and module = $2",
            &[&migration, &module.name],
        )
        .await
        .context("reading the view that rebuilds the source")?;
    if let Some(select) = row.and_then(|r| r.get::<_, Option<String>>(0)) {
        select
            .trim_end()
            .trim_end_matches(';')
            .clone_into(&mut reverse.select);
    }
    Ok(())
}

/// What is remembered of the module's tables; tables that are not, or that are gone,
/// are looked for under the names that the module gives.
async fn places<C: GenericClient>(client: &C, migration: i32, module: &Module) -> Result<Places> {
    let rows = client
        .query(
            "select -1, n.nspname::text, c.relname::text from crossfade.source s
             join pg_class c on c.oid = s.table_oid join pg_namespace n on n.oid = c.relnamespace
             where s.migration_id = $1 and s.module = $2
             union all
             select t.position, n.nspname::text, c.relname::text from crossfade.source s
             join crossfade.target t on t.source_id = s.id
             join pg_class c on c.oid = t.table_oid join pg_namespace n on n.oid = c.relnamespace
             where s.migration_id = $1 and s.module = $2",
            &[&migration, &module.name],
        )
        .await
        .context("reading where the tables stand")?;
    let mut places = Places {
        source: None,
        targets: vec![None; module.targets.len()],
        live: live(client, migration).await?,
    };
    for row in &rows {
        let name = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        match usize::try_from(row.get::<_, i32>(0)) {
            Err(_) => places.source = Some(name),
            Ok(at) => {
                if let Some(place) = places.targets.get_mut(at) {
                    *place = Some(name);
                }
            }
        }
    }
    Ok(places)
}

/// Whether the migration has switched.
async fn live<C: GenericClient>(client: &C, migration: i32) -> Result<bool> {
    let sql = "select phase from crossfade.migration where id = $1";
    let row = client.query_opt(sql, &[&migration]).await?;
    Ok(row.is_some_and(|row| row.get::<_, &str>(0) == Phase::Switched.name()))
}

/// Remembers the targets of a source; the source itself is remembered with its id.
///
/// # Errors
/// Connection errors.
pub async fn remember<C: GenericClient>(client: &C, source_id: i32, plan: &Plan) -> Result<()> {
    for (position, target) in plan.targets.iter().enumerate() {
        client
            .execute(
                "insert into crossfade.target (source_id, position, table_oid) values ($1, $2, $3)
                 on conflict do nothing",
                &[
                    &source_id,
                    &i32::try_from(position).unwrap_or(i32::MAX),
                    &target.table.oid,
                ],
            )
            .await?;
    }
    Ok(())
}
