//! Strategy `sql`: the module's own file decides.

use tokio_postgres::Client;

use super::{Direction, instead};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::state::guard;
use crate::transform::Plan;

/// Runs the file, then guards the old table wherever it has gone; back, frees it first.
///
/// # Errors
/// The server's; [`Kind::Module`] without a file.
pub async fn apply(client: &Client, plan: &Plan, direction: Direction) -> Result<()> {
    let (file, key) = match direction {
        Direction::Forward => (&plan.module.switch_sql, "switch"),
        Direction::Back => (&plan.module.switch_back_sql, "switch_back"),
    };
    let sql = file.as_deref().ok_or_else(|| {
        Error::new(
            Kind::Module,
            format!("module {} has no `{key}` file", plan.module.name),
        )
    })?;
    if direction == Direction::Back {
        guard::remove_source(client, &plan.source.name).await?;
        return client
            .batch_execute(sql)
            .await
            .context("the file of `switch_back`");
    }
    client.batch_execute(sql).await.context("switch.sql")?;
    // The file may have renamed or dropped the table: it is known by its OID.
    let now = client
        .query_opt(
            "select n.nspname::text, c.relname::text from pg_class c
             join pg_namespace n on n.oid = c.relnamespace where c.oid = $1",
            &[&plan.source.oid],
        )
        .await?;
    let Some(row) = now else { return Ok(()) };
    let name = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    guard::source(client, &name, &instead(plan)).await
}
