//! What must hold for one strategy, before the lock is asked for.

use tokio_postgres::Client;

use crate::config::{Config, Strategy};
use crate::cutover::Direction;
use crate::cutover::gates::{Check, Verdict, check};
use crate::cutover::strategy::view;
use crate::error::Result;
use crate::pg::quote;
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
            checks.push(refusing_null(client, plan).await?);
            checks.extend(in_use(client, plan).await?);
        }
        Strategy::View => checks.extend(view::checks::run(client, plan).await?),
        _ => {}
    }
    Ok(checks)
}

/// After the switch the moved columns are left out of new rows, so nothing may refuse
/// that but their own NOT NULL, which the switch lifts.
async fn refusing_null(client: &Client, plan: &Plan) -> Result<Check> {
    let moved = &plan.module.moved;
    let mut found = Vec::new();
    let fixed = client
        .query(
            "select format('%I %s', a.attname, case when a.attidentity <> '' then 'is an identity'
                           else format('has the type %s, which is NOT NULL', a.atttypid::regtype) end)
             from pg_attribute a join pg_type t on t.oid = a.atttypid
             where a.attrelid = $1 and a.attname::text = any($2) and not a.attisdropped
               and (a.attidentity <> '' or t.typnotnull) order by a.attnum",
            &[&plan.source.oid, moved],
        )
        .await?;
    found.extend(fixed.iter().map(|r| r.get::<_, String>(0)));
    // A check of these columns alone can be tried: with nothing in them.
    let checks = client
        .query(
            "select k.conname::text, crossfade.expression_of(k.conbin, k.conrelid)
             from pg_constraint k
             where k.conrelid = $1 and k.contype = 'c' and k.conname not like 'crossfade\\_not\\_null\\_%'
               and (select array_agg(attname::text) from pg_attribute
                    where attrelid = k.conrelid and attnum = any(k.conkey)) <@ $2::text[]
             order by 1",
            &[&plan.source.oid, moved],
        )
        .await?;
    let nothing: Vec<_> = plan
        .source
        .columns
        .iter()
        .filter(|c| moved.contains(&c.name))
        .map(|c| format!("{} as {}", c.cast("null"), c.quoted()))
        .collect();
    for row in &checks {
        let (name, expression): (String, String) = (row.get(0), row.get(1));
        let sql = format!(
            "select ({expression}) is false from (select {}) r",
            nothing.join(", ")
        );
        if client.query_one(&sql, &[]).await?.get(0) {
            found.push(format!("constraint {} refuses NULL", quote(&name)));
        }
    }
    Ok(check(
        "optional_columns",
        found.is_empty(),
        if found.is_empty() {
            "the moved columns can be left out".to_owned()
        } else {
            found.join(", ")
        },
        "drop the identity, the NOT NULL of the domain or the constraint first: after the switch the application leaves these columns out",
    ))
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
