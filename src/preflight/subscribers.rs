//! Publications of others that would publish what crossfade makes.

use tokio_postgres::Client;

use super::{Finding, Report};
use crate::error::Result;
use crate::pg::quote;

pub(super) async fn check(client: &Client, report: &mut Report) {
    report.add("all_tables_publications", all_tables(client).await);
}

/// A subscription of `PostgreSQL` stops at the first change of a table that it does not
/// have; other readers of such a stream pass over it. Nobody can tell from here which of
/// them reads it, so this is no reason to refuse.
async fn all_tables(client: &Client) -> Result<Finding> {
    let row = client
        .query_one(
            "select array(select pubname::text from pg_catalog.pg_publication
                          where puballtables order by 1),
                    array(select slot_name::text from pg_catalog.pg_replication_slots
                          where plugin = 'pgoutput' and database = current_database()
                            and not temporary and not starts_with(slot_name::text, 'crossfade_')
                          order by 1)",
            &[],
        )
        .await?;
    let (publications, slots): (Vec<String>, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
    let names: Vec<String> = publications.iter().map(|p| quote(p)).collect();
    if names.is_empty() {
        return Ok(Finding::ok(
            "no publication takes in crossfade's own tables",
        ));
    }
    let readers = if slots.is_empty() {
        "no slot reads it now".to_owned()
    } else {
        format!("perhaps by way of slot {}", slots.join(", "))
    };
    let made: Vec<String> = names
        .iter()
        .map(|p| format!("BEGIN; DROP PUBLICATION {p}; CREATE PUBLICATION {p} FOR TABLE …; COMMIT"))
        .collect();
    Ok(Finding::warning(
        format!(
            "publication {} is FOR ALL TABLES, those of the schema crossfade and the new ones too: a subscription to it ({readers}) whose database lacks one of them stops as soon as `run` begins, and its slot keeps the log",
            names.join(", ")
        ),
        format!(
            "before `run`, publish the tables that are subscribed to instead, with the same options and in one transaction: {}; or give the subscriber the new tables now, and those of the schema crossfade once `run` has made them (pg_dump --schema-only --schema=crossfade): it goes on then",
            made.join("; ")
        ),
    ))
}
