//! What the role may do.

use tokio_postgres::Client;

use super::{Finding, Report, Scene};
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, quote};
use crate::wal::transport::Transport;

pub(super) async fn check(client: &mut Client, scene: &Scene<'_>, report: &mut Report) {
    report.add("replication", replication(client, scene.info).await);
    report.add(
        "create_privilege",
        database(
            client,
            "CREATE",
            "the publication and the schema crossfade are made",
        )
        .await,
    );
    report.add(
        "temp_privilege",
        database(
            client,
            "TEMP",
            "modules are compiled against a temporary table",
        )
        .await,
    );
    report.add("replica_role", replica_role(client).await);
}

/// What counts is that the server lets a replication session in: managed servers
/// grant it without the attribute, and `pg_hba.conf` can refuse it with.
async fn replication(client: &Client, info: &ConnInfo) -> Result<Finding> {
    let row = client
        .query_one(
            "select rolname::text, rolreplication or rolsuper from pg_catalog.pg_roles
             where rolname = current_user",
            &[],
        )
        .await?;
    let (role, has): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    let login = info.clone();
    let tried = tokio::task::spawn_blocking(move || {
        Transport::connect(&login, "preflight").map(Transport::terminate)
    })
    .await
    .map_err(|e| Error::new(Kind::Io, format!("the login could not be tried: {e}")))?;
    match tried {
        Ok(()) if has => Ok(Finding::ok(format!(
            "{role} may replicate and can log in for it"
        ))),
        Ok(()) => Ok(Finding::ok(format!(
            "the server lets {role} replicate, though the role has not the attribute"
        ))),
        Err(e) if !has => Err(Error {
            kind: Kind::Privilege,
            ..Error::new(e.kind, format!("role {role} may not replicate: {e}"))
        }
        .remedy(format!("ALTER ROLE {} REPLICATION", quote(&role)))),
        Err(e) => Err(e.context("a replication session is refused")),
    }
}

async fn database(client: &Client, privilege: &str, why: &str) -> Result<Finding> {
    let row = client
        .query_one(
            "select pg_catalog.has_database_privilege(current_database(), $1),
                    current_database()::text, current_user::text",
            &[&privilege],
        )
        .await?;
    let (has, name, role): (bool, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if has {
        return Ok(Finding::ok(format!(
            "{role} has {privilege} on the database: {why}"
        )));
    }
    Err(Error::new(
        Kind::Privilege,
        format!("role {role} has not {privilege} on the database {name}: {why}"),
    )
    .remedy(format!(
        "GRANT {privilege} ON DATABASE {} TO {}",
        quote(&name),
        quote(&role)
    )))
}

async fn replica_role(client: &mut Client) -> Result<Finding> {
    if may_be_replica(client).await? {
        return Ok(Finding::ok(
            "the role may set session_replication_role: foreign keys and triggers do not fire on what crossfade writes",
        ));
    }
    Ok(Finding::warning(
        "the role may not set session_replication_role: foreign keys and triggers fire on what crossfade writes",
        "GRANT SET ON PARAMETER session_replication_role TO the role (before PostgreSQL 15 only superusers can)",
    ))
}

/// Tried, since every server version has its own rule.
///
/// # Errors
/// Connection errors.
pub(super) async fn may_be_replica(client: &mut Client) -> Result<bool> {
    let tx = client.transaction().await?;
    let tried = tx
        .batch_execute("set local session_replication_role = replica")
        .await;
    tx.rollback().await?;
    match tried.map_err(Error::from) {
        Ok(()) => Ok(true),
        Err(e) if e.kind == Kind::Connection => Err(e),
        Err(_) => Ok(false),
    }
}
