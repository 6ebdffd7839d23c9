//! Strategy `rename`: the source becomes `<name>_old`, targets take their `rename_to`.

use tokio_postgres::Client;

use super::{Direction, aside, instead};
use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};
use crate::state::guard;
use crate::transform::Plan;

/// Forward: the old name becomes free first, then a target may take it. Back: the
/// other way round.
///
/// # Errors
/// The server's.
pub async fn apply(client: &Client, plan: &Plan, direction: Direction) -> Result<()> {
    let old = aside(plan);
    match direction {
        Direction::Forward => {
            rename(client, &plan.source.name, &old).await?;
            for target in &plan.targets {
                if let Some(name) = &target.rename_to {
                    rename(client, &target.table.name, name).await?;
                }
            }
            guard::source(client, &old, &instead(plan)).await
        }
        Direction::Back => {
            for (spec, target) in plan.module.targets.iter().zip(&plan.targets) {
                rename(client, &target.table.name, &spec.table).await?;
            }
            guard::remove_source(client, &plan.source.name).await?;
            rename(client, &plan.source.name, &plan.module.source).await
        }
    }
}

/// Renames a table in steps that need no other name; nothing where it has it.
pub(super) async fn rename(
    client: &Client,
    from: &QualifiedName,
    to: &QualifiedName,
) -> Result<()> {
    let mut sql = String::new();
    // Rename first, to a name that is free in both schemas, then move.
    if from.name != to.name {
        sql.push_str(&format!(
            "alter table {} rename to {};",
            from.sql(),
            quote(&to.name)
        ));
    }
    if from.schema != to.schema {
        let renamed = QualifiedName::new(from.schema.clone(), to.name.clone());
        sql.push_str(&format!(
            "alter table {} set schema {};",
            renamed.sql(),
            quote(&to.schema)
        ));
    }
    if sql.is_empty() {
        return Ok(());
    }
    client
        .batch_execute(&sql)
        .await
        .context(format!("renaming {from} to {to}"))
}
