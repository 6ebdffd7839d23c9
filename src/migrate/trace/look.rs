//! What the server says of relations and locks between the statements of a migration. Two
//! short queries of catalogs, in the session that runs it: only that one sees the files
//! which its open transaction has made.

use tokio_postgres::Client;

use super::{Held, Relation};
use crate::error::Result;
use crate::migrate::lock::{Blocks, Mode};
use crate::sql::Name;

/// Every table, view and index that is not the server's or crossfade's own.
///
/// # Errors
/// Connection errors.
pub async fn relations(client: &Client) -> Result<Vec<Relation>> {
    let rows = client
        .query(
            "select c.oid, n.nspname::text, c.relname::text, c.relfilenode, i.indrelid,
                    array(select h.inhparent from pg_catalog.pg_inherits h where h.inhrelid = c.oid)
             from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             left join pg_catalog.pg_index i on i.indexrelid = c.oid
             where c.relkind in ('r', 'p', 'm', 'f', 'v', 'i', 'I') and n.nspname !~ '^pg_'
               and n.nspname not in ('information_schema', 'crossfade')",
            &[],
        )
        .await?;
    let relation = |row: &tokio_postgres::Row| Relation {
        oid: row.get(0),
        name: Name {
            schema: Some(row.get(1)),
            name: row.get(2),
        },
        file: row.get(3),
        index_of: row.get(4),
        parents: row.get(5),
    };
    Ok(rows.iter().map(relation).collect())
}

/// The locks of this session that stop reads or writes of a relation.
///
/// # Errors
/// Connection errors.
pub async fn held(client: &Client) -> Result<Vec<Held>> {
    let rows = client
        .query(
            "select l.relation, l.mode, n.nspname::text, c.relname::text, c.relfilenode
             from pg_catalog.pg_locks l
             left join pg_catalog.pg_class c on c.oid = l.relation
             left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
               and l.database = (select d.oid from pg_catalog.pg_database d
                                 where d.datname = pg_catalog.current_database())",
            &[],
        )
        .await?;
    let lock = |row: &tokio_postgres::Row| {
        let mode = Mode::of(row.get(1)).filter(|m| m.blocks() > Blocks::SchemaChanges)?;
        let schema: Option<String> = row.get(2);
        let now = schema.map(|schema| {
            let name = Name {
                schema: Some(schema),
                name: row.get(3),
            };
            (name, row.get(4))
        });
        Some(Held {
            oid: row.get(0),
            mode,
            now,
        })
    };
    Ok(rows.iter().filter_map(lock).collect())
}
