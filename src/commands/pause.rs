//! `crossfade pause` and `resume`.

use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::state::migration;

/// Pauses the copy or lets it go on; a running daemon notices within a second, and
/// one that starts later finds it so.
///
/// # Errors
/// No such migration; connection errors.
pub async fn run(context: &Context, paused: bool) -> Result<ExitCode> {
    let (config, client) = context.open("pause").await?;
    let row = migration::require(&client, &config.name).await?;
    client
        .execute(
            "update crossfade.migration set paused = $2 where id = $1",
            &[&row.id, &paused],
        )
        .await?;
    let text = if paused {
        "the copy pauses; the stream goes on\n"
    } else {
        "the copy goes on\n"
    };
    context.print(&json!({"name": config.name, "paused": paused}), text);
    Ok(ExitCode::SUCCESS)
}
