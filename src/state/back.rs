//! The view that rebuilds a source's rows: the module's reverse, kept by the server
//! under the tables' OIDs, so that it outlives their being renamed.

use tokio_postgres::GenericClient;

use super::ChunkTable;
use crate::error::{Context, Result};
use crate::transform::Plan;

/// Makes the view, where the module has a reverse and the view is not there yet.
///
/// # Errors
/// Connection and privilege errors.
pub async fn create<C: GenericClient>(client: &C, plan: &Plan, source_id: i32) -> Result<()> {
    let Some(reverse) = &plan.reverse else {
        return Ok(());
    };
    let view = ChunkTable::back_view(source_id);
    let exists: bool = client
        .query_one("select to_regclass($1) is not null", &[&view])
        .await?
        .get(0);
    if exists {
        return Ok(());
    }
    client
        .batch_execute(&format!(
            "create view {view} as select {} from {} q",
            reverse.column_list(plan, "q."),
            reverse.inline()
        ))
        .await
        .context(format!(
            "making the view that rebuilds {}",
            plan.source.name
        ))
}
