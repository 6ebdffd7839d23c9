//! The certificate of verification: there, of these modules, and fresh.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::{Accept, Check, check as gate};
use crate::config::Config;
use crate::error::Result;
use crate::state::{ChunkTable, Migration};

pub(super) async fn check(
    client: &Client,
    config: &Config,
    migration: &Migration,
    accept: Accept,
) -> Result<Check> {
    let (good, found) = judge(client, config, migration).await?;
    let found = if accept.unverified {
        format!("{found} (--unverified)")
    } else {
        found
    };
    Ok(gate(
        "certificate",
        good || accept.unverified,
        found,
        "run `crossfade verify` until it exits with 0",
    ))
}

async fn judge(client: &Client, config: &Config, migration: &Migration) -> Result<(bool, String)> {
    let row = client
        .query_opt(
            "select verified_at::text, module_hash = $2, applied_lsn,
                    extract(epoch from clock_timestamp() - verified_at)::float8 / 3600
             from crossfade.certificate where migration_id = $1",
            &[&migration.id, &migration.module_hash],
        )
        .await?;
    let Some(row) = row else {
        return Ok((false, "none".to_owned()));
    };
    if !row.get::<_, bool>(1) {
        return Ok((false, "made with another text of the modules".to_owned()));
    }
    let (at, hours): (String, f64) = (row.get(0), row.get(3));
    let oldest = config.switch.max_certificate_age_hours;
    if hours > oldest {
        let found = format!(
            "verified at {at}, {hours:.1} h ago; at most {oldest} h (switch.max_certificate_age_hours)"
        );
        return Ok((false, found));
    }
    let most = config.switch.max_changed_keys;
    if changed_beyond(client, migration, row.get(2), most).await? {
        let found = format!(
            "verified at {at}; more than {most} keys changed since (switch.max_changed_keys)"
        );
        return Ok((false, found));
    }
    Ok((true, format!("verified at {at}")))
}

/// Whether more than `most` keys were applied since. Counts no further than that.
async fn changed_beyond(
    client: &Client,
    migration: &Migration,
    since: PgLsn,
    most: u64,
) -> Result<bool> {
    let most = i64::try_from(most).unwrap_or(i64::MAX - 1);
    let sources = client
        .query(
            "select id from crossfade.source where migration_id = $1",
            &[&migration.id],
        )
        .await?;
    let mut left = most;
    for source in &sources {
        let (_, log) = ChunkTable::names(source.get(0));
        let sql =
            format!("select count(*) from (select from {log} where lsn >= $1 limit $2) changed");
        left -= client
            .query_one(&sql, &[&since, &(left + 1)])
            .await?
            .get::<_, i64>(0);
        if left < 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
