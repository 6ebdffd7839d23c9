//! What `status` says of verification.

use std::time::Duration;

use indicatif::HumanDuration;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::error::Result;
use crate::state::{Migration, certificate, verification};

/// Changed keys are counted up to here.
const COUNTED: i64 = 1_000_000;

const ROW: &str = "
select (select extract(epoch from clock_timestamp() - verified_at)::float8
        from crossfade.certificate where migration_id = $1),
       (select extract(epoch from clock_timestamp() - moved_at)::float8
        from crossfade.certificate where migration_id = $1),
       (select coalesce(sum((f ->> 'rows')::bigint), 0)::bigint
        from crossfade.verification v, jsonb_array_elements(v.frontier) f
        where v.migration_id = $1),
       array(select s.id from crossfade.source s where s.migration_id = $1
             and to_regclass('crossfade.changed_' || s.id) is not null)";

/// Certificate, interrupted pass and last outcome; null before the state knows them.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, migration: &Migration) -> Result<Value> {
    let id = migration.id;
    let known: bool = client
        .query_one("select to_regclass('crossfade.verified') is not null", &[])
        .await?
        .get(0);
    if !known {
        return Ok(Value::Null);
    }
    let row = client.query_one(ROW, &[&id]).await?;
    let mut shown = Value::Null;
    if let Some(c) = certificate::read(client, id).await? {
        let mut keys = 0;
        for source in row.get::<_, Vec<i32>>(3) {
            keys += certificate::unverified(client, source, c.applied_lsn, COUNTED).await?;
        }
        shown = json!({
            "verified_at": c.verified_at, "age_seconds": row.get::<_, Option<f64>>(0),
            "moved_at": c.moved_at, "moved_seconds": row.get::<_, Option<f64>>(1),
            "applied_lsn": c.applied_lsn.to_string(), "version": c.version,
            "void": c.basis.module_hash != migration.module_hash,
            "changed_keys": keys,
        });
    }
    let pass = verification::read(client, id).await?.map(|pass| {
        json!({"began_at": pass.began_at, "seconds": pass.seconds,
               "rows": row.get::<_, i64>(2)})
    });
    let last = verification::last(client, id).await?.map(|last| {
        json!({"ended_at": last.ended_at, "outcome": last.outcome,
               "differences": last.differences, "clean_seconds": last.clean_seconds})
    });
    Ok(json!({"certificate": shown, "pass": pass, "last": last}))
}

/// The same for people.
#[must_use]
pub fn lines(verification: &Value) -> Vec<String> {
    let ago = |seconds: &Value| {
        let seconds = seconds.as_f64().unwrap_or(0.0).max(0.0);
        HumanDuration(Duration::from_secs_f64(seconds)).to_string()
    };
    let mut lines = Vec::new();
    let certificate = &verification["certificate"];
    if certificate.is_object() {
        let keys = certificate["changed_keys"].as_i64().unwrap_or(0);
        let more = if keys >= COUNTED { " or more" } else { "" };
        lines.push(format!(
            "verified    {} ago, moved on {} ago; {keys}{more} changed keys are not verified yet",
            ago(&certificate["age_seconds"]),
            ago(&certificate["moved_seconds"]),
        ));
    } else {
        lines.push("verified    no".to_owned());
    }
    if verification["last"]["outcome"] == "different" {
        let tables = verification["last"]["differences"].as_object();
        let list: Vec<_> = tables
            .into_iter()
            .flatten()
            .map(|(table, rows)| format!("{rows} rows of {table}"))
            .collect();
        let when = verification["last"]["ended_at"].as_str().unwrap_or("-");
        lines.push(format!("DIFFERENT   {}, found at {when}", list.join(", ")));
    }
    if let Some(rows) = verification["pass"]["rows"].as_i64() {
        let began = verification["pass"]["began_at"].as_str().unwrap_or("-");
        lines.push(format!(
            "verifying   {rows} rows by the pass that began at {began}"
        ));
    }
    lines
}
