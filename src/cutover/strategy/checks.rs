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
            checks.push(refusing_null(client, plan).await?);
            checks.extend(left_out(client, plan).await?);
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
    found.extend(mandatory_in_partitions(client, plan).await?);
    found.extend(refusing_constraints(client, plan).await?);
    Ok(check(
        "optional_columns",
        found.is_empty(),
        if found.is_empty() {
            "the moved columns can be left out".to_owned()
        } else {
            found.join(", ")
        },
        "drop the identity, the NOT NULL of the domain or of the partition, or the constraint first: after the switch the application leaves these columns out",
    ))
}

/// The switch lifts the table's NOT NULL and the switch back restores it: what only a
/// partition asks of its rows would not come back.
async fn mandatory_in_partitions(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select format('%I is NOT NULL in partition %s alone', a.attname, a.attrelid::regclass)
             from pg_partition_tree($1::oid::regclass) p
             join pg_attribute a on a.attrelid = p.relid
             join pg_attribute t on t.attrelid = $1 and t.attname = a.attname
             where a.attname::text = any($2) and not a.attisdropped
               and a.attnotnull and not t.attnotnull
             order by 1",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    Ok(rows.iter().map(|r| r.get(0)).collect())
}

/// A check of the moved columns alone can be tried: with nothing in them.
async fn refusing_constraints(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let moved = &plan.module.moved;
    let checks = client
        .query(
            "select k.conname::text, crossfade.expression_of(k.conbin, k.conrelid),
                    case when k.conrelid <> $1 then format(' of partition %s', k.conrelid::regclass) else '' end
             from pg_constraint k
             where (k.conrelid = $1
                    or k.coninhcount = 0 and k.conrelid in (select relid from pg_partition_tree($1::oid::regclass)))
               and k.contype = 'c' and k.conname not like 'crossfade\\_not\\_null\\_%'
               and (select array_agg(attname::text) from pg_attribute
                    where attrelid = k.conrelid and attnum = any(k.conkey)) <@ $2::text[]
             order by 3, 1",
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
    let mut found = Vec::new();
    for row in &checks {
        let (name, expression, place): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let sql = format!(
            "select ({expression}) is false from (select {}) r",
            nothing.join(", ")
        );
        if client.query_one(&sql, &[]).await?.get(0) {
            found.push(format!("constraint {}{place} refuses NULL", quote(&name)));
        }
    }
    Ok(found)
}

/// An INSERT of the old form that names no moved column is one of the new form, and nobody
/// can tell them apart. Where one of the columns has to be named there is none.
async fn left_out(client: &Client, plan: &Plan) -> Result<Option<Check>> {
    let row = client
        .query_one(
            "select bool_and(not a.attnotnull or a.atthasdef),
                    string_agg(quote_ident(a.attname::text), ', ' order by a.attnum)
                        filter (where a.atthasdef)
             from pg_attribute a
             where a.attrelid = $1 and a.attname::text = any($2) and not a.attisdropped",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    if row.get::<_, Option<bool>>(0) != Some(true) {
        return Ok(None);
    }
    let defaults = row
        .get::<_, Option<String>>(1)
        .map(|names| format!(", and the default of {names} is not written any more"))
        .unwrap_or_default();
    let mut note = check(
        "inserts_without_moved_columns",
        true,
        format!(
            "an INSERT of the old form that leaves all moved columns out is not refused after the switch: no row is made of it in {}{defaults}",
            super::instead(plan)
        ),
        "",
    );
    note.verdict = Verdict::Note;
    Ok(Some(note))
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
