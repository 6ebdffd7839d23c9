//! Rows made up for tables that have none, so that a loss can be seen where nobody wrote
//! a seed. What constraints do not let in is left out, and said.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::error::{Error, Result};

/// Rows of each table.
const ROWS: i32 = 3;

struct Column {
    name: String,
    /// SQL for the value of row `$1`.
    value: String,
}

/// Tables without rows in an order that puts what is referred to first; for each column
/// an expression of the row's number `n.i` by its type. Columns with `nextval` and identity
/// columns number themselves, generated ones compute themselves.
const TABLES: &str = r"
with recursive tables as (
    select c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_'
      and n.nspname not in ('information_schema', 'crossfade')
), depth as (
    select oid, 0 as depth from tables
    union
    select k.conrelid, d.depth + 1 from depth d
    join pg_catalog.pg_constraint k on k.contype = 'f' and k.confrelid = d.oid and k.conrelid <> d.oid
    where d.depth < 20
), base as (
    select a.attrelid, a.attname, a.attnum, a.atttypmod,
           case when t.typtype = 'd' then t.typbasetype else t.oid end as typ,
           case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as mod,
           pg_catalog.format_type(a.atttypid, a.atttypmod) as written
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
      and coalesce(pg_catalog.pg_get_expr(f.adbin, f.adrelid), '') !~ 'nextval'
)
select x.name, b.attname::text,
       '(' || coalesce(
           (select format('(select r.%I from %s r order by 1 offset (n.i - 1) %% greatest((select count(*) from %2$s), 1) limit 1)',
                          ra.attname, k.confrelid::regclass)
            from pg_catalog.pg_constraint k
            join pg_catalog.pg_attribute ra on ra.attrelid = k.confrelid and ra.attnum = k.confkey[1]
            where k.contype = 'f' and k.conrelid = x.oid and k.conkey = array[b.attnum] and k.confrelid <> x.oid
            limit 1),
           case
               when k.typtype = 'e' then format('(enum_range(null::%s))[1 + n.i %% cardinality(enum_range(null::%1$s))]', b.typ::regtype)
               when k.typcategory = 'A' then '''{}'''
               when k.typtype = 'r' then '''empty'''
               when k.typname in ('json', 'jsonb') then 'json_build_object(''n'', n.i)'
               when k.typname = 'uuid' then 'md5(n.i::text)::uuid'
               when k.typname = 'bytea' then 'decode(lpad(n.i::text, 2, ''0''), ''hex'')'
               when k.typname = 'bool' then 'n.i % 2 = 0'
               when k.typname = 'interval' then 'make_interval(hours => n.i)'
               when k.typname in ('time', 'timetz') then '''12:34:56''::time + make_interval(mins => n.i)'
               when k.typcategory = 'D' then '''2024-02-28 12:34:56+00''::timestamptz + make_interval(days => n.i)'
               when k.typcategory = 'N' then 'n.i'
               when k.typcategory = 'I' then '(''10.0.0.'' || n.i)::inet'
               when k.typname in ('bpchar', 'varchar') and b.mod > 4 then format('left(''a'' || n.i, %s)', b.mod - 4)
               when k.typcategory = 'S' then '''text '' || n.i'
               when k.typname = 'bit' then format('repeat(''0'', %s)', b.mod)
               when k.typname = 'varbit' then '''0'''
               when k.typname = 'point' then 'point(n.i, n.i)'
               else 'null'
           end) || ')::' || b.written
from tables x
join (select oid, max(depth) as depth from depth group by oid) d on d.oid = x.oid
join base b on b.attrelid = x.oid
join pg_catalog.pg_type k on k.oid = b.typ
order by d.depth, x.name, b.attnum";

/// Fills every empty table. Returns which tables stayed empty, and why.
pub(super) async fn make(client: &Client) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for row in client.query(TABLES, &[]).await? {
        let table: String = row.get(0);
        if !tables.contains_key(&table) {
            order.push(table.clone());
        }
        tables.entry(table).or_default().push(Column {
            name: row.get(1),
            value: row.get(2),
        });
    }
    let mut notes = Vec::new();
    for table in order {
        let filled = client
            .query_one(&format!("select exists (select from {table})"), &[])
            .await?;
        if filled.get(0) {
            continue;
        }
        if let Err(e) = fill(client, &table, &tables[&table]).await {
            notes.push(format!(
                "{table} stays empty: made-up rows do not fit ({})",
                e.sqlstate.unwrap_or_default()
            ));
        }
    }
    Ok(notes)
}

async fn fill(client: &Client, table: &str, columns: &[Column]) -> Result<(), Error> {
    let names: Vec<String> = columns.iter().map(|c| crate::pg::quote(&c.name)).collect();
    let values: Vec<&str> = columns.iter().map(|c| c.value.as_str()).collect();
    let sql = format!(
        "insert into {table} ({}) select {} from generate_series(1, {ROWS}) n (i)",
        names.join(", "),
        values.join(", ")
    );
    client.batch_execute(&sql).await?;
    Ok(())
}
