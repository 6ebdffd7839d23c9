//! The source table of one module.

use tokio_postgres::{Client, Row};

use super::{Finding, Report, identity};
use crate::error::{Error, Kind, Result};
use crate::pg::catalog::{ReplicaIdentity, Table, TableKind};
use crate::pg::quote;
use crate::transform::Plan;

const FACTS: &str = "
select pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.pg_has_role(c.relowner, 'usage'),
       pg_catalog.pg_get_userbyid(c.relowner)::text,
       current_user::text,
       c.relpersistence::text,
       pg_catalog.row_security_active(c.oid),
       exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid)
from pg_catalog.pg_class c where c.oid = $1";

pub(super) async fn check(client: &Client, plan: &Plan, report: &mut Report) {
    let table = &plan.source;
    report.add("source_key", key(plan));
    let columns: Vec<&str> = plan.key_columns().map(|c| c.name.as_str()).collect();
    report.add(
        "source_identity",
        identity::check(client, table, &columns).await,
    );
    let row = match client.query_one(FACTS, &[&table.oid]).await {
        Ok(row) => row,
        Err(e) => return report.add("source_privileges", Err(e.into())),
    };
    report.add("source_privileges", privileges(table, &row));
    report.add("source_owner", owner(table, &row));
    report.add("source_logged", logged(table, &row));
    report.add("source_row_security", row_security(table, &row));
    if plan.reverse.is_some() {
        report.add("source_constraints", deferrable(client, table).await);
    }
    if table.kind == TableKind::Partitioned {
        report.add("source_partitions", Ok(partitions(table)));
    } else if row.get(6) {
        report.add("source_children", Ok(children(table)));
    }
}

/// A deferrable unique or exclusion constraint is enforced by a trigger of its own, which
/// the replica role does not fire: rows written in that role would get past it.
///
/// # Errors
/// [`Kind::Precondition`] naming the constraints.
pub(super) async fn deferrable(client: &Client, table: &Table) -> Result<Finding> {
    let rows = client
        .query(
            "select conname::text from pg_catalog.pg_constraint
             where conrelid = $1 and condeferrable and contype in ('u', 'x', 'p') order by 1",
            &[&table.oid],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Finding::ok(format!(
            "no deferrable unique constraint on {}",
            table.name
        )));
    }
    let names: Vec<String> = rows.iter().map(|r| quote(r.get(0))).collect();
    Err(Error::new(
        Kind::Precondition,
        format!(
            "{} has deferrable constraints, which would not be enforced on what crossfade writes: {}",
            table.name,
            names.join(", ")
        ),
    )
    .remedy("make them NOT DEFERRABLE; where it is the source's, leaving [reverse] out will do, and then there is no way back"))
}

fn key(plan: &Plan) -> Result<Finding> {
    let table = &plan.source;
    let columns = plan.key_list("").join(", ");
    let identity = match &table.identity {
        ReplicaIdentity::Default => "the primary key".to_owned(),
        ReplicaIdentity::Full => "the primary key (replica identity full)".to_owned(),
        ReplicaIdentity::Index(name) => format!("replica identity index {name}"),
        ReplicaIdentity::Nothing => return table.key().map(|_| Finding::ok("")),
    };
    Ok(Finding::ok(format!(
        "{}: {identity}, ({columns})",
        table.name
    )))
}

fn privileges(table: &Table, row: &Row) -> Result<Finding> {
    if row.get(0) {
        return Ok(Finding::ok(format!("SELECT on {}", table.name)));
    }
    let role: String = row.get(3);
    Err(Error::new(
        Kind::Privilege,
        format!("role {role} has not SELECT on {}", table.name),
    )
    .remedy(format!(
        "GRANT SELECT ON {} TO {}",
        table.name.sql(),
        quote(&role)
    )))
}

fn owner(table: &Table, row: &Row) -> Result<Finding> {
    let (owner, role): (String, String) = (row.get(2), row.get(3));
    if row.get(1) {
        return Ok(Finding::ok(format!("{} belongs to {owner}", table.name)));
    }
    Err(Error::new(
        Kind::Privilege,
        format!(
            "{} belongs to {owner}, not to {role}: publishing its changes and switching need its owner",
            table.name
        ),
    )
    .remedy(format!("GRANT {} TO {}", quote(&owner), quote(&role))))
}

fn logged(table: &Table, row: &Row) -> Result<Finding> {
    if row.get::<_, String>(4) == "p" {
        return Ok(Finding::ok(format!("{} writes WAL", table.name)));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("{} is unlogged: its changes are not in the WAL", table.name),
    )
    .remedy(format!("ALTER TABLE {} SET LOGGED", table.name.sql())))
}

/// A policy would hide rows from the copy and from every re-read, silently.
pub(super) fn row_security(table: &Table, row: &Row) -> Result<Finding> {
    if !row.get::<_, bool>(5) {
        return Ok(Finding::ok(format!(
            "every row of {} is visible",
            table.name
        )));
    }
    let role: String = row.get(3);
    Err(Error::new(
        Kind::Privilege,
        format!("row security hides rows of {} from role {role}", table.name),
    )
    .remedy(format!("ALTER ROLE {} BYPASSRLS", quote(&role))))
}

fn partitions(table: &Table) -> Finding {
    Finding::warning(
        format!(
            "{} is partitioned: TRUNCATE or DETACH of a single partition sends nothing, and its rows stay in the targets",
            table.name
        ),
        "while the migration runs, DELETE the rows instead, or TRUNCATE the whole table",
    )
}

fn children(table: &Table) -> Finding {
    Finding::warning(
        format!(
            "{} has inheritance children: their rows are neither copied nor followed",
            table.name
        ),
        "give each child a module of its own, if its rows are to be moved",
    )
}

/// Whether the changes of every source will name their rows, partitions looked at one by one.
///
/// # Errors
/// [`Kind::Precondition`] for the first table whose changes will not.
pub async fn check_identity(client: &Client, plans: &[Plan]) -> Result<()> {
    for plan in plans {
        let key: Vec<&str> = plan.key_columns().map(|c| c.name.as_str()).collect();
        identity::check(client, &plan.source, &key).await?;
    }
    Ok(())
}
