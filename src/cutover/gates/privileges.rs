//! What the switch's own statements need: found out before the lock, not under it.

use tokio_postgres::Client;

use super::{Check, check as gate};
use crate::config::{Config, Strategy};
use crate::cutover::sequences::Need;
use crate::cutover::{Direction, sequences};
use crate::error::Result;
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;

/// Renaming needs the table's owner and CREATE on its schema, moving it CREATE on
/// the new schema; a guard needs the owner, `setval` UPDATE on the sequence.
pub(super) async fn check(
    client: &Client,
    config: &Config,
    plan: &Plan,
    direction: Direction,
) -> Result<Check> {
    let mut owned = vec![&plan.source.name];
    let mut schemas = Vec::new();
    if matches!(config.switch.strategy, Strategy::Rename | Strategy::View) {
        schemas.push(plan.source.name.schema.as_str());
        for (spec, target) in plan.module.targets.iter().zip(&plan.targets) {
            if let Some(to) = &target.rename_to {
                owned.push(&target.table.name);
                schemas.extend([spec.table.schema.as_str(), to.schema.as_str()]);
            }
        }
    }
    schemas.sort_unstable();
    schemas.dedup();
    let role: String = client
        .query_one("select current_user::text", &[])
        .await?
        .get(0);
    let role = quote(&role);
    let mut missing = Vec::new();
    let mut remedies = Vec::new();
    for table in owned {
        if let Some(owner) = foreign_owner(client, table).await? {
            missing.push(format!("{table} belongs to {owner}"));
            remedies.push(format!("GRANT {} TO {role}", quote(&owner)));
        }
    }
    for schema in schemas {
        if !may_create(client, schema).await? {
            missing.push(format!("no CREATE on schema {schema}"));
            remedies.push(format!(
                "GRANT CREATE ON SCHEMA {} TO {role}",
                quote(schema)
            ));
        }
    }
    for sequence in sequences::of(client, plan, direction).await? {
        let set = matches!(sequence.need, Need::Beyond(_));
        if set && !may_set(client, &sequence.name).await? {
            missing.push(format!("no UPDATE on sequence {}", sequence.name));
            remedies.push(format!(
                "GRANT SELECT, UPDATE ON SEQUENCE {} TO {role}",
                sequence.name
            ));
        }
    }
    remedies.dedup();
    let found = if missing.is_empty() {
        format!("{role} may do what the switch of {} does", plan.source.name)
    } else {
        missing.join("; ")
    };
    Ok(gate(
        "privileges",
        missing.is_empty(),
        found,
        remedies.join("; "),
    ))
}

/// The table's owner, where this role is not a member of it.
async fn foreign_owner(client: &Client, table: &QualifiedName) -> Result<Option<String>> {
    let row = client
        .query_one(
            "select pg_catalog.pg_get_userbyid(relowner)::text, pg_catalog.pg_has_role(relowner, 'usage')
             from pg_catalog.pg_class where oid = $1::text::regclass",
            &[&table.sql()],
        )
        .await?;
    Ok((!row.get::<_, bool>(1)).then(|| row.get(0)))
}

/// A schema that is not there is another check's matter.
async fn may_create(client: &Client, schema: &str) -> Result<bool> {
    let row = client
        .query_opt(
            "select pg_catalog.has_schema_privilege(oid, 'CREATE')
             from pg_catalog.pg_namespace where nspname = $1",
            &[&schema],
        )
        .await?;
    Ok(row.is_none_or(|row| row.get(0)))
}

async fn may_set(client: &Client, sequence: &str) -> Result<bool> {
    Ok(client
        .query_one(
            "select pg_catalog.has_sequence_privilege($1, 'UPDATE')
                and pg_catalog.has_sequence_privilege($1, 'SELECT')",
            &[&sequence],
        )
        .await?
        .get(0))
}
