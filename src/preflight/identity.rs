//! Whether a table can be published: from then on the server refuses UPDATE and DELETE on
//! one whose rows it could not name in the stream, whoever runs them.

use tokio_postgres::{Client, Row};

use super::Finding;
use crate::error::{Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::pg::catalog::Table;

/// From this version on generated columns count among those that must be published.
const GENERATED: i64 = 180_000;

/// The tables that hold the rows: the table itself, or its partitions.
const HOLDERS: &str = "
select n.nspname::text, c.relname::text, c.relreplident::text,
       (select array_agg(a.attname::text) from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid
         and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
        where i.indrelid = c.oid and i.indisvalid
          and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end),
       exists (select from pg_catalog.pg_attribute a
               where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped),
       current_setting('server_version_num')::int8
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r'
  and (c.oid = $1 or c.oid in (select relid from pg_catalog.pg_partition_tree($1::oid::regclass)))
order by 1, 2";

/// One of them.
struct Holder {
    name: QualifiedName,
    identity: Identity,
    generated: bool,
    version: i64,
}

enum Identity {
    Full,
    /// These columns, in any order; none where there is no key.
    Columns(Vec<String>),
}

/// Looks whether changes of `table` will name rows by (at least) the columns `key`.
///
/// # Errors
/// [`Kind::Precondition`] with the first table that will not; connection errors.
pub(super) async fn check(client: &Client, table: &Table, key: &[&str]) -> Result<Finding> {
    let rows = client.query(HOLDERS, &[&table.oid]).await?;
    for holder in rows.iter().map(Holder::of) {
        holder.check(key)?;
    }
    Ok(Finding::ok(format!(
        "{} can be published: UPDATE and DELETE go on",
        table.name
    )))
}

impl Holder {
    fn of(row: &Row) -> Self {
        let kind: String = row.get(2);
        Self {
            name: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            identity: match kind.as_str() {
                "f" => Identity::Full,
                _ => Identity::Columns(row.get::<_, Option<_>>(3).unwrap_or_default()),
            },
            generated: row.get(4),
            version: row.get(5),
        }
    }

    fn check(&self, key: &[&str]) -> Result<()> {
        let name = &self.name;
        let wrong = |what: &str| {
            Err(
                Error::new(Kind::Precondition, format!("{name} {what}")).remedy(format!(
                    "ALTER TABLE {} REPLICA IDENTITY DEFAULT, with the key as its primary key",
                    name.sql()
                )),
            )
        };
        match &self.identity {
            Identity::Full if self.generated && self.version >= GENERATED => wrong(
                "has REPLICA IDENTITY FULL and generated columns: once it is published the server refuses every UPDATE and DELETE on it",
            ),
            Identity::Full => Ok(()),
            Identity::Columns(columns) if columns.is_empty() => wrong(
                "has no replica identity: once it is published the server refuses every UPDATE and DELETE on it",
            ),
            Identity::Columns(columns) if !key.iter().all(|k| columns.iter().any(|c| c == k)) => {
                wrong(
                    "has a replica identity of other columns than the key: its changes would not say which row they are about",
                )
            }
            Identity::Columns(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(identity: Identity, generated: bool, version: i64) -> Option<String> {
        let holder = Holder {
            name: QualifiedName::new("s", "T x"),
            identity,
            generated,
            version,
        };
        holder.check(&["id", "day"]).err().map(|e| e.to_string())
    }

    #[test]
    fn what_the_server_would_refuse_or_could_not_name_is_found() {
        let columns =
            |names: &[&str]| Identity::Columns(names.iter().map(|&n| n.to_owned()).collect());
        assert!(
            found(columns(&[]), false, 150_000)
                .unwrap()
                .contains("has no replica identity")
        );
        assert!(
            found(columns(&["id"]), false, 150_000)
                .unwrap()
                .contains("other columns")
        );
        assert_eq!(found(columns(&["day", "more", "id"]), true, 180_000), None);
        assert_eq!(found(Identity::Full, true, 170_000), None);
        assert_eq!(found(Identity::Full, false, 180_000), None);
        assert!(
            found(Identity::Full, true, 180_000)
                .unwrap()
                .contains("generated")
        );
    }
}
