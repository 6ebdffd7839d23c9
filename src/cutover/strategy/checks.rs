//! What must hold for one strategy, before the lock is asked for.

use tokio_postgres::Client;

use super::columns::optional;
use crate::config::{Config, Strategy};
use crate::cutover::Direction;
use crate::cutover::gates::{Check, Verdict, check};
use crate::cutover::strategy::view;
use crate::error::Result;
use crate::transform::Plan;

/// # Errors
/// Connection errors.
pub async fn run(
    client: &Client,
    config: &Config,
    plan: &Plan,
    direction: Direction,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    if direction == Direction::Back {
        // The lock on the view is asked for before it is dropped.
        if config.switch.strategy == Strategy::View {
            checks.push(view::checks::owner(client, plan).await?);
        }
        return Ok(checks);
    }
    let moves = !plan.module.moved.is_empty();
    let columns = config.switch.strategy == Strategy::Columns;
    if moves || columns {
        checks.push(check(
            "moved_columns",
            moves && columns,
            match (moves, columns) {
                (true, true) if plan.reverse.is_none() => format!(
                    "{}; without [reverse] every UPDATE that names them is refused after the switch, also one that leaves them as they are",
                    plan.module.moved.join(", ")
                ),
                (true, true) => plan.module.moved.join(", "),
                (true, false) => format!("module {} moves columns only", plan.module.name),
                _ => format!("module {} moves no columns", plan.module.name),
            },
            if moves {
                "set strategy = \"columns\" under [switch]"
            } else {
                "list the columns that move as `moved` in transform.toml, or use another strategy"
            },
        ));
    }
    match config.switch.strategy {
        Strategy::Columns if moves => {
            checks.push(optional::refusing_null(client, plan).await?);
            checks.extend(optional::left_out(client, plan).await?);
            checks.extend(optional::triggers(client, plan).await?);
            checks.extend(in_use(client, plan).await?);
        }
        Strategy::View => checks.extend(view::checks::run(client, plan).await?),
        _ => {}
    }
    Ok(checks)
}

/// What goes with the columns, or stands in the way, when the contract migration drops
/// them.
async fn in_use(client: &Client, plan: &Plan) -> Result<Option<Check>> {
    let numbers: Vec<i32> = plan
        .source
        .columns
        .iter()
        .filter(|c| plan.module.moved.contains(&c.name))
        .map(|c| i32::from(c.attnum))
        .collect();
    let rows = client
        .query(
            "select distinct pg_describe_object(d.classid, d.objid, d.objsubid) from pg_depend d
             where d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.refobjsubid = any($2)
               and not (d.classid = 'pg_attrdef'::regclass
                        and exists (select from pg_attrdef f where f.oid = d.objid and f.adnum = d.refobjsubid))
             order by 1",
            &[&plan.source.oid, &numbers],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = rows.iter().map(|r| r.get(0)).collect();
    let mut note = check(
        "uses_of_moved_columns",
        true,
        format!(
            "{}: indexes and constraints go when the columns are dropped, views and triggers keep them from being dropped",
            names.join(", ")
        ),
        "",
    );
    note.verdict = Verdict::Note;
    Ok(Some(note))
}
