//! Whether rows can be written without the moved columns, which is what the application does
//! after the switch.

use tokio_postgres::Client;

use super::instead;
use crate::cutover::gates::{Check, Verdict, check};
use crate::error::{Error, Result};
use crate::pg::quote;
use crate::transform::Plan;

/// After the switch the moved columns are left out of new rows, so nothing may refuse
/// that but their own NOT NULL, which the switch lifts.
pub async fn refusing_null(client: &Client, plan: &Plan) -> Result<Check> {
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
    found.extend(one_null(client, plan).await?);
    Ok(check(
        "optional_columns",
        found.is_empty(),
        if found.is_empty() {
            "the moved columns can be left out".to_owned()
        } else {
            found.join(", ")
        },
        "drop the identity, the NOT NULL (of the domain, the partition, the generated column), the constraint or the index first: after the switch the application leaves these columns out",
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

/// Rows that CHECKs and generated columns are tried on, those of one end of the table: with
/// nothing in the moved columns.
const SAMPLE: u32 = 1000;

/// What refuses a row by an expression. It is tried: over the moved columns alone with nothing
/// in them, else also with what present rows have in the others.
async fn refusing_constraints(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let rows = client
        .query(
            "with mine as (
                 select relid from pg_partition_tree($1::oid::regclass) union select $1),
             moved as (
                 select attrelid, attnum from pg_attribute
                 where attrelid in (select relid from mine) and attname::text = any($2)
                   and not attisdropped)
             select format('constraint %I%s refuses NULL', k.conname,
                           case when k.conrelid <> $1 then format(' of partition %s', k.conrelid::regclass) end),
                    format('(%s) is false', crossfade.expression_of(k.conbin, k.conrelid)),
                    0 <> all(k.conkey)
                    and (select array_agg(attname::text) from pg_attribute
                         where attrelid = k.conrelid and attnum = any(k.conkey)) <@ $2::text[]
             from pg_constraint k
             where (k.conrelid = $1 or k.coninhcount = 0 and k.conrelid in (select relid from mine))
               and k.contype = 'c' and k.conname not like 'crossfade\\_not\\_null\\_%'
               and (0 = any(k.conkey) or exists(select from moved m
                    where m.attrelid = k.conrelid and m.attnum = any(k.conkey)))
             union all
             select format('%I is NOT NULL and generated from them', g.attname),
                    format('(%s) is null', crossfade.expression_of(d.adbin, d.adrelid)), false
             from pg_attribute g join pg_attrdef d on d.adrelid = g.attrelid and d.adnum = g.attnum
             where g.attrelid = $1 and g.attgenerated <> '' and g.attnotnull and not g.attisdropped
               and exists(select from pg_depend p join moved m on m.attnum = p.refobjsubid
                          where m.attrelid = $1 and p.refclassid = 'pg_class'::regclass and p.refobjid = $1
                            and (p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
                                 or p.classid = 'pg_class'::regclass and p.objid = $1 and p.objsubid = g.attnum))
             order by 1",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    let mut found = Vec::new();
    for row in &rows {
        let (what, refused, alone): (String, String, Option<bool>) =
            (row.get(0), row.get(1), row.get(2));
        let sql = tried(plan, &refused, alone == Some(true));
        match client.query_one(&sql, &[]).await {
            Ok(row) if row.get(0) => found.push(what),
            Ok(_) => {}
            Err(e) if e.is_closed() => return Err(e.into()),
            Err(e) => found.push(format!(
                "it cannot be tried whether {what}: {}",
                Error::from(e)
            )),
        }
    }
    Ok(found)
}

/// Whether `refused` holds of a row without values in the moved columns. The rows have the
/// table's name, which an expression over a whole row gives them.
fn tried(plan: &Plan, refused: &str, alone: bool) -> String {
    let moved = &plan.module.moved;
    let columns: Vec<_> = plan
        .source
        .columns
        .iter()
        .filter(|c| !alone || moved.contains(&c.name))
        .map(|c| {
            if moved.contains(&c.name) {
                format!("{} as {}", c.cast("null"), c.quoted())
            } else {
                c.quoted()
            }
        })
        .collect();
    let from = if alone {
        String::new()
    } else {
        format!(" from {} limit {SAMPLE}", plan.source.from_sql())
    };
    format!(
        "select exists(select from (select {}{from}) {} where {refused})",
        columns.join(", "),
        quote(&plan.source.name.name)
    )
}

/// Unique indexes to which all rows without a value are the same row: until such a row is
/// rebuilt no other can be written.
async fn one_null(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    // Servers before 15 have no such indexes, and no such column.
    let rows = client
        .query(
            "select format('index %s takes one row without a value only', i.indexrelid::regclass)
             from pg_index i
             where i.indrelid in (select relid from pg_partition_tree($1::oid::regclass) union select $1)
               and i.indisunique and (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean
               and exists(select from pg_attribute a where a.attrelid = i.indrelid
                          and a.attname::text = any($2) and a.attnum = any(i.indkey::int2[]))
             order by 1",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    Ok(rows.iter().map(|r| r.get(0)).collect())
}

/// Triggers whose functions name a moved column: what they demand of it nobody can tell.
pub async fn triggers(client: &Client, plan: &Plan) -> Result<Option<Check>> {
    let rows = client
        .query(
            "select distinct format('trigger %I', t.tgname)
             from pg_trigger t join pg_proc p on p.oid = t.tgfoid
             where t.tgrelid in (select relid from pg_partition_tree($1::oid::regclass) union select $1)
               and not t.tgisinternal and t.tgenabled <> 'D'
               and t.tgfoid not in (select oid from pg_proc where pronamespace = 'crossfade'::regnamespace)
               and exists(select from unnest($2::text[]) m(name)
                          where strpos(lower(p.prosrc), lower(m.name)) > 0)
             order by 1",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = rows.iter().map(|r| r.get(0)).collect();
    let mut note = check(
        "triggers_of_moved_columns",
        true,
        format!(
            "{}: make sure that rows without the moved columns pass, and that nothing is set in them",
            names.join(", ")
        ),
        "",
    );
    note.verdict = Verdict::Note;
    Ok(Some(note))
}

/// An INSERT of the old form that names no moved column is one of the new form, and nobody
/// can tell them apart. Where one of the columns has to be named there is none.
pub async fn left_out(client: &Client, plan: &Plan) -> Result<Option<Check>> {
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
            instead(plan)
        ),
        "",
    );
    note.verdict = Verdict::Note;
    Ok(Some(note))
}
