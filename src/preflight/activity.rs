//! Transactions that the creation of the slot would wait for.

use tokio_postgres::Client;

use super::{Finding, Report, Scene};
use crate::error::Result;
use crate::pg::ident::literal;

/// Shorter ones end by themselves.
const LONG_SECONDS: f64 = 2.0;

pub(super) async fn check(client: &Client, scene: &Scene<'_>, report: &mut Report) {
    if scene.makes_slot() {
        report.add("open_transactions", open(client).await);
        report.add("prepared_transactions", prepared(client).await);
    }
}

/// Of every database: transaction ids are the whole server's.
async fn open(client: &Client) -> Result<Finding> {
    let rows = client
        .query(
            "select pid, coalesce(usename::text, '?'), coalesce(application_name, ''),
                    extract(epoch from clock_timestamp() - xact_start)::bigint
             from pg_catalog.pg_stat_activity
             where backend_xid is not null and pid <> pg_catalog.pg_backend_pid()
               and clock_timestamp() - xact_start > $1::float8 * interval '1 second'
             order by xact_start",
            &[&LONG_SECONDS],
        )
        .await?;
    if rows.is_empty() {
        let row = client
            .query_one(
                "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')",
                &[],
            )
            .await?;
        return Ok(Finding::ok(if row.try_get(0)? {
            "no long transaction is writing"
        } else {
            "no long transaction of this role is writing; others' cannot be seen without pg_read_all_stats"
        }));
    }
    let mut names = Vec::new();
    let mut ends = Vec::new();
    for row in &rows {
        let (pid, user, application): (i32, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let seconds: i64 = row.try_get(3)?;
        names.push(format!(
            "pid {pid} ({user}, {application:?}) for {seconds} s"
        ));
        ends.push(format!("SELECT pg_terminate_backend({pid})"));
    }
    Ok(Finding::warning(
        format!(
            "transactions that write are open, and creating the slot waits for them: {}",
            names.join(", ")
        ),
        format!("let them finish, or {}", ends.join("; ")),
    ))
}

async fn prepared(client: &Client) -> Result<Finding> {
    let rows = client
        .query(
            "select gid from pg_catalog.pg_prepared_xacts order by prepared",
            &[],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Finding::ok("none"));
    }
    let mut names = Vec::new();
    let mut ends = Vec::new();
    for row in &rows {
        let gid: String = row.try_get(0)?;
        ends.push(format!("ROLLBACK PREPARED {}", literal(&gid)));
        names.push(gid);
    }
    Ok(Finding::warning(
        format!(
            "prepared transactions stay open until somebody ends them, and creating the slot waits for them: {}",
            names.join(", ")
        ),
        format!("COMMIT PREPARED or {}", ends.join("; ")),
    ))
}
