//! The names crossfade is about to use: slot, publication, schema.

use tokio_postgres::Client;

use super::{Finding, Report, Scene};
use crate::error::{Error, Kind, Result};
use crate::pg::ident::literal;
use crate::pg::slot::WalStatus;
use crate::pg::{quote, slot};
use crate::state::install;

pub(super) async fn check(client: &Client, scene: &Scene<'_>, report: &mut Report) {
    report.add("slot", slot(client, scene).await);
    report.add("publication", publication(client, scene).await);
    report.add("state_schema", state_schema(client).await);
}

/// Slots are the whole server's: a migration of the same name in another database
/// has the same slot, and dropping it would break that one.
async fn slot(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let name = scene.config.slot();
    let found = slot::read(client, &name).await?;
    let row = client
        .query_one("select current_database()::text", &[])
        .await?;
    let here: String = row.try_get(0)?;
    let Some(info) = found else {
        if scene.makes_slot() {
            return Ok(Finding::ok(format!("{name} will be created")));
        }
        return Err(Error::new(
            Kind::Slot,
            format!("the slot {name} is gone: changes since the checkpoint are lost"),
        ));
    };
    if info.database.as_deref() != Some(here.as_str()) {
        let other = info.database.unwrap_or_else(|| "no database".to_owned());
        return Err(Error::new(
            Kind::Precondition,
            format!("the slot {name} exists and belongs to {other}"),
        )
        .remedy("give this migration another `name` in crossfade.toml: slots are shared by all databases of a server"));
    }
    if !scene.makes_slot() {
        return match info.wal_status {
            Some(WalStatus::Lost) => Err(Error::new(
                Kind::Slot,
                format!("the slot {name} has lost WAL that it needs"),
            )
            .remedy("raise max_slot_wal_keep_size; then start the daemon again: it compares what was copied and copies again what differs")),
            _ => Ok(Finding::ok(format!("{name} is there"))),
        };
    }
    if let Some(pid) = info.active_pid {
        return Err(Error::new(
            Kind::Precondition,
            format!("the slot {name} is in use by pid {pid}, and no migration of this name has begun here"),
        )
        .remedy("end that session if it is a left-over, or give this migration another `name`"));
    }
    Ok(Finding::warning(
        format!("the slot {name} exists already and keeps WAL; `run` drops it and makes it anew"),
        format!("SELECT pg_drop_replication_slot({})", literal(&name)),
    ))
}

async fn publication(client: &Client, scene: &Scene<'_>) -> Result<Finding> {
    let name = scene.config.slot();
    let row = client
        .query_opt(
            "select pg_catalog.pg_has_role(pubowner, 'usage'), pg_catalog.pg_get_userbyid(pubowner)::text
             from pg_catalog.pg_publication where pubname = $1",
            &[&name],
        )
        .await?;
    let Some(row) = row else {
        if scene.makes_slot() {
            return Ok(Finding::ok(format!("{name} will be created")));
        }
        return Err(Error::new(
            Kind::Slot,
            format!("the publication {name} is gone: the stream cannot go on"),
        ));
    };
    let (ours, owner): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
    if !scene.makes_slot() {
        return Ok(Finding::ok(format!("{name} is there")));
    }
    if !ours {
        return Err(Error::new(
            Kind::Privilege,
            format!("the publication {name} exists already and belongs to {owner}"),
        )
        .remedy(format!("as {owner}: DROP PUBLICATION {}", quote(&name))));
    }
    Ok(Finding::warning(
        format!("the publication {name} exists already; `run` drops it and makes it anew"),
        format!("DROP PUBLICATION {}", quote(&name)),
    ))
}

async fn state_schema(client: &Client) -> Result<Finding> {
    let row = client
        .query_opt(
            "select pg_catalog.has_schema_privilege(oid, 'CREATE') and pg_catalog.has_schema_privilege(oid, 'USAGE'),
                    current_user::text
             from pg_catalog.pg_namespace where nspname = 'crossfade'",
            &[],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Finding::ok("the schema crossfade will be created"));
    };
    let (may, role): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
    if !may {
        return Err(Error::new(
            Kind::Privilege,
            format!("the schema crossfade exists, and role {role} may not use and create in it"),
        )
        .remedy(format!(
            "GRANT USAGE, CREATE ON SCHEMA crossfade TO {}",
            quote(&role)
        )));
    }
    if let Some(version) = install::current(client).await? {
        return Ok(Finding::ok(format!(
            "the schema crossfade has version {version}"
        )));
    }
    let row = client
        .query_one(
            "select to_regclass('crossfade.schema_migration') is not null,
                    not exists (select from pg_catalog.pg_class
                                where relnamespace = 'crossfade'::regnamespace)",
            &[],
        )
        .await?;
    Ok(match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Finding::ok(
            "the schema crossfade has the history of `crossfade migrate`; the state's tables will be made beside it",
        ),
        (false, true) => {
            Finding::ok("the schema crossfade is empty; the state's tables will be made in it")
        }
        (false, false) => Finding::warning(
            "a schema crossfade exists that is not this program's; its tables will be made in it",
            "rename it if it is something else: ALTER SCHEMA crossfade RENAME TO another",
        ),
    })
}
