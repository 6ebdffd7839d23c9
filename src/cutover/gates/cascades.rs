//! Foreign keys of tables that are guarded after the switch: the server keeps to them
//! on behalf of whoever writes the table they refer to, and meets the guard.

use tokio_postgres::Client;

use super::{Check, Verdict, check as gate};
use crate::config::{Config, Strategy};
use crate::cutover::Direction;
use crate::error::Result;
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;

/// Those of a table and its partitions that refer to anything but `$2`.
const OUTGOING: &str = "
select k.conname::text, n.nspname::text, c.relname::text, k.confrelid::regclass::text,
       k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd')
from pg_constraint k
join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.confrelid <> all($2)
  and (k.conrelid = $1 or k.conrelid in (select relid from pg_partition_tree($1::oid::regclass)))
order by 1";

pub(super) async fn check(
    client: &Client,
    config: &Config,
    plan: &Plan,
    direction: Direction,
) -> Result<Check> {
    let guarded: Vec<u32> = match direction {
        Direction::Forward if config.switch.strategy == Strategy::Columns => Vec::new(),
        Direction::Forward => vec![plan.source.oid],
        Direction::Back => plan.targets.iter().map(|t| t.table.oid).collect(),
    };
    let (mut cascading, mut remedy, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for oid in &guarded {
        for row in client.query(OUTGOING, &[oid, &guarded]).await? {
            let (key, parent): (String, String) = (row.get(0), row.get(3));
            let table = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
            let text = format!("{} of {table} to {parent}", quote(&key));
            if row.get(4) {
                cascading.push(text);
                remedy.push(format!(
                    "ALTER TABLE {} DROP CONSTRAINT {}",
                    table.sql(),
                    quote(&key)
                ));
            } else {
                others.push(text);
            }
        }
    }
    if !cascading.is_empty() {
        return Ok(gate(
            "cascades",
            false,
            format!(
                "{}: what it cascades to is guarded from the switch on, so deleting a row it refers to would fail",
                cascading.join(", ")
            ),
            remedy.join("; "),
        ));
    }
    let mut passed = gate(
        "cascades",
        true,
        "no foreign key cascades into a guarded table",
        "",
    );
    if !others.is_empty() {
        passed.verdict = Verdict::Note;
        passed.found = format!(
            "{}: a row it refers to cannot be deleted while the guarded table still has rows of it; drop the constraint before the switch if the application deletes such rows",
            others.join(", ")
        );
    }
    Ok(passed)
}
