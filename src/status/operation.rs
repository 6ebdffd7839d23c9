//! What the running daemon measured, what an operator has set, what went wrong.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::error::Result;
use crate::state::setting;

const ROW: &str = "
select d.live::text, d.errors::text, m.recoveries, m.slot_lost,
       extract(epoch from m.slot_lost_at)::float8,
       extract(epoch from clock_timestamp())::float8, d.host, d.pid
from crossfade.migration m
left join crossfade.daemon d on d.migration_id = m.id
where m.id = $1";

/// Null before the state knows of it. What was measured is shown while a daemon runs:
/// nobody measures without one.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, migration: i32, running: bool) -> Result<Value> {
    let known: bool = client
        .query_one("select to_regclass('crossfade.setting') is not null", &[])
        .await?
        .get(0);
    if !known {
        return Ok(Value::Null);
    }
    let row = client.query_one(ROW, &[&migration]).await?;
    let stored = |at: usize| -> Value {
        let text: Option<&str> = row.get(at);
        text.and_then(|t| serde_json::from_str(t).ok())
            .unwrap_or_default()
    };
    let now: f64 = row.get(5);
    let mut errors = stored(1);
    for error in errors.as_array_mut().into_iter().flatten() {
        let at = error["at"].as_f64().unwrap_or(now);
        error["seconds"] = json!((now - at).max(0.0));
    }
    let lost = row.get::<_, Option<String>>(3);
    Ok(json!({
        "live": if running { stored(0) } else { Value::Null },
        "errors": if errors.is_array() { errors } else { json!([]) },
        "settings": setting::read(client, migration).await?,
        "recoveries": row.get::<_, i32>(2),
        "slot_lost": lost.map(|why| json!({"why": why, "at": row.get::<_, Option<f64>>(4)})),
        "host": row.get::<_, Option<String>>(6),
        "pid": row.get::<_, Option<i32>>(7),
    }))
}
