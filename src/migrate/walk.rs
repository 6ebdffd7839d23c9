//! A batched step: the keys of a table, one range after the other.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::Client;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::batch::Batch;
use super::history::StepRecord;
use super::session::Session;
use super::watch::Seen;
use crate::error::{Error, Kind, Result};
use crate::pg::ident::literal;
use crate::pg::quote;
use crate::sql::Statement;

/// A walk over a table's keys.
#[derive(Debug)]
pub struct Walk {
    table: String,
    key: String,
    ty: String,
    rows: i64,
    /// Rows of the table, as the server estimates.
    pub estimate: i64,
}

/// A value as text, whatever the parameter's type is.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Walk {
    /// Looks at the table and its key.
    ///
    /// # Errors
    /// [`Kind::Config`] where they do not exist, the key may be NULL (such rows would be
    /// left out) or has no index (every range would read the whole table).
    pub async fn begin(client: &Client, batch: &Batch) -> Result<Self> {
        let table = batch.table.sql();
        let row = client
            .query_opt(
                "select pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                        exists (select from pg_catalog.pg_index i
                                where i.indrelid = a.attrelid and i.indkey[0] = a.attnum
                                  and i.indisvalid and i.indpred is null),
                        greatest((select sum(p.reltuples) from pg_catalog.pg_class p
                                  where p.oid = a.attrelid or p.oid in
                                  (select relid from pg_catalog.pg_partition_tree(a.attrelid)
                                   where isleaf)), 0)::bigint
                 from pg_catalog.pg_attribute a
                 where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped",
                &[&table, &batch.key],
            )
            .await?;
        let wrong =
            |message: String, remedy: &str| Err(Error::new(Kind::Config, message).remedy(remedy));
        let Some(row) = row else {
            return wrong(
                format!("there is no {}.{}", batch.table, batch.key),
                "name a table and its key column in `-- batch:`",
            );
        };
        if !row.get::<_, bool>(1) {
            return wrong(
                format!(
                    "{}.{} may be NULL: such rows would be left out",
                    batch.table, batch.key
                ),
                "walk along a column that is NOT NULL, best the primary key",
            );
        }
        if !row.get::<_, bool>(2) {
            return wrong(
                format!("no index begins with {}.{}", batch.table, batch.key),
                "walk along an indexed column: without one each batch would read the whole table",
            );
        }
        Ok(Self {
            table,
            key: quote(&batch.key),
            ty: row.get(0),
            rows: i64::from(batch.rows),
            estimate: row.get(3),
        })
    }

    /// The next range in a transaction of its own, together with the note of where it
    /// ends. True when the table's end is reached; the step is then noted as done.
    pub(super) async fn next(
        &self,
        session: &Session,
        statement: &Statement,
        record: &mut StepRecord,
        note: impl AsyncFn(&StepRecord) -> Result<()>,
    ) -> Result<bool, (Error, Seen)> {
        let mut after = record.clone();
        let work = async {
            let client = &session.client;
            let timeout = session.limits.lock_timeout.as_millis().to_string();
            client
                .batch_execute(&format!(
                    "begin; set local lock_timeout = {}",
                    literal(&timeout)
                ))
                .await?;
            let range = self.range(client, record.last_key.as_deref()).await?;
            if let Some((first, last)) = &range {
                let rows = client
                    .execute(&statement.text, &[&AsText(first), &AsText(last)])
                    .await?;
                after.rows += i64::try_from(rows).unwrap_or(0);
                after.last_key = Some(last.clone());
            } else {
                after.done = true;
            }
            note(&after).await?;
            client.batch_execute("commit").await?;
            Ok(())
        };
        let max_stall = session.limits.max_stall;
        let (result, seen) = session.watcher.during(max_stall, &mut |_| {}, work).await;
        result.map_err(|e| (e, seen))?;
        *record = after;
        Ok(record.done)
    }

    /// The first and last of the next keys. Equal keys cannot fall apart: the statement
    /// takes all rows between both.
    async fn range(
        &self,
        client: &Client,
        after: Option<&str>,
    ) -> Result<Option<(String, String)>> {
        let (table, key, ty) = (&self.table, &self.key, &self.ty);
        let beyond = match after {
            Some(_) => format!("where {key} > $2::text::{ty}"),
            None => "where $2::text is null".to_owned(),
        };
        let sql = format!(
            "with keys as materialized (
                 select {key} as k from {table} {beyond} order by {key} limit $1)
             select (select k from keys order by k limit 1)::text,
                    (select k from keys order by k desc limit 1)::text"
        );
        let row = client.query_one(&sql, &[&self.rows, &after]).await?;
        let first: Option<String> = row.get(0);
        Ok(first.zip(row.get(1)))
    }
}
