//! Moved columns of a partitioned source: a partition can have a default of its own, and
//! the table's statements reach what is each partition's own only in part.

use tokio_postgres::Client;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;

/// Remembers the defaults of partitions that are not the table's.
///
/// # Errors
/// The server's.
pub(super) async fn remember(client: &Client, plan: &Plan, source_id: i32) -> Result<()> {
    client
        .execute(
            "insert into crossfade.moved_default (source_id, partition_oid, name, default_sql)
             select $1, a.attrelid, a.attname::text, crossfade.expression_of(d.adbin, d.adrelid)
             from pg_partition_tree($2::oid::regclass) p
             join pg_attribute a on a.attrelid = p.relid
             join pg_attribute t on t.attrelid = $2 and t.attname = a.attname
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             left join pg_attrdef e on e.adrelid = t.attrelid and e.adnum = t.attnum
             where p.relid <> $2 and a.attname::text = any($3) and not a.attisdropped
               and crossfade.expression_of(d.adbin, d.adrelid)
                   is distinct from crossfade.expression_of(e.adbin, e.adrelid)
             on conflict (source_id, partition_oid, name) do update
             set default_sql = excluded.default_sql",
            &[&source_id, &plan.source.oid, &plan.module.moved],
        )
        .await
        .context(format!(
            "remembering the defaults of partitions of {}",
            plan.source.name
        ))?;
    Ok(())
}

/// Lifts NOT NULL where a partition has kept it as its own when the table lost it.
///
/// # Errors
/// The server's.
pub(super) async fn lift_not_null(client: &Client, plan: &Plan) -> Result<()> {
    let rows = client
        .query(
            "select n.nspname::text, c.relname::text, a.attname::text
             from pg_partition_tree($1::oid::regclass) p
             join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid
             where a.attname::text = any($2) and a.attnotnull and not a.attisdropped
             order by p.level, 1, 2, 3",
            &[&plan.source.oid, &plan.module.moved],
        )
        .await?;
    for row in &rows {
        let partition = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        // Not ONLY: of a partition that has partitions the server takes it back as a whole.
        alter(client, &partition.sql(), row.get(2), "drop not null").await?;
    }
    Ok(())
}

/// Gives partitions their own defaults back, after the table has its own again.
///
/// # Errors
/// The server's.
pub(super) async fn give_back(client: &Client, plan: &Plan, source_id: i32) -> Result<()> {
    let rows = client
        .query(
            "with was as (delete from crossfade.moved_default where source_id = $1 returning *)
             select n.nspname::text, c.relname::text, w.name, w.default_sql
             from was w join pg_partition_tree($2::oid::regclass) p on p.relid = w.partition_oid
             join pg_class c on c.oid = w.partition_oid
             join pg_namespace n on n.oid = c.relnamespace
             order by p.level, 1, 2, 3",
            &[&source_id, &plan.source.oid],
        )
        .await?;
    for row in &rows {
        let partition = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let action = match row.get::<_, Option<&str>>(3) {
            Some(default) => format!("set default {default}"),
            None => "drop default".to_owned(),
        };
        let only = format!("only {}", partition.sql());
        alter(client, &only, row.get(2), &action).await?;
    }
    Ok(())
}

async fn alter(client: &Client, table: &str, column: &str, action: &str) -> Result<()> {
    let column = quote(column);
    client
        .batch_execute(&format!(
            "alter table {table} alter column {column} {action}"
        ))
        .await
        .context(format!("column {column} of {table}"))
}
