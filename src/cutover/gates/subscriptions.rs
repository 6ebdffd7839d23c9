//! Logical subscriptions that write a table which nobody may write after the switch.

use tokio_postgres::Client;

use super::dependents::with_partitions;
use super::{Check, check as gate};
use crate::config::{Config, Strategy};
use crate::cutover::Direction;
use crate::error::Result;
use crate::pg::quote;
use crate::transform::Plan;

/// Disabled ones too: they would fail when they are enabled again.
const FED: &str = "
select s.subname::text, string_agg(r.srrelid::regclass::text, ', ' order by r.srrelid::regclass::text)
from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid
where r.srrelid = any($1) group by s.subname order by 1";

pub(super) async fn check(
    client: &Client,
    config: &Config,
    plan: &Plan,
    direction: Direction,
) -> Result<Check> {
    let mut left = Vec::new();
    match direction {
        Direction::Forward => left.extend(with_partitions(client, &plan.source).await?),
        Direction::Back => {
            for target in &plan.targets {
                left.extend(with_partitions(client, &target.table).await?);
            }
        }
    }
    let rows = client.query(FED, &[&left]).await?;
    if rows.is_empty() {
        let found = "no subscription writes what is guarded after the switch";
        return Ok(gate("subscriptions", true, found, ""));
    }
    let (mut found, mut ends) = (Vec::new(), Vec::new());
    for row in &rows {
        let (name, tables): (String, String) = (row.get(0), row.get(1));
        let name = quote(&name);
        found.push(format!("subscription {name} writes {tables}"));
        ends.push(format!(
            "ALTER SUBSCRIPTION {name} REFRESH PUBLICATION, or DROP SUBSCRIPTION {name}"
        ));
    }
    let split = direction == Direction::Forward && config.switch.strategy == Strategy::Columns;
    let then = if split {
        "a row with a value in a moved column would be refused after the switch"
    } else {
        "nothing that it brings would arrive after the switch"
    };
    Ok(gate(
        "subscriptions",
        false,
        format!(
            "{}: {then}, and the publisher would keep its log for it",
            found.join("; ")
        ),
        format!(
            "have what writes at the publisher write here; then take the table out of the publication there, and {}",
            ends.join("; ")
        ),
    ))
}
