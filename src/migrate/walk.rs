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
    /// The key's columns, quoted, and their types.
    key: Vec<(String, String)>,
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
        let columns = client
            .query(
                "select k.name, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
                 from unnest($2::text[]) with ordinality k (name, n)
                 left join pg_catalog.pg_attribute a
                     on a.attrelid = to_regclass($1) and a.attname = k.name and not a.attisdropped
                 order by k.n",
                &[&table, &batch.key],
            )
            .await?;
        let wrong =
            |message: String, remedy: &str| Err(Error::new(Kind::Config, message).remedy(remedy));
        let mut key = Vec::new();
        for column in &columns {
            let name: String = column.get(0);
            let Some(ty) = column.get::<_, Option<String>>(1) else {
                return wrong(
                    format!("there is no {}.{name}", batch.table),
                    "name a table and its key column in `-- batch:`",
                );
            };
            if !column.get::<_, bool>(2) {
                return wrong(
                    format!(
                        "{}.{name} may be NULL: such rows would be left out",
                        batch.table
                    ),
                    "walk along a column that is NOT NULL, best the primary key",
                );
            }
            key.push((quote(&name), ty));
        }
        let (indexed, estimate) = Self::served(client, batch, &table).await?;
        if !indexed {
            return wrong(
                format!(
                    "no index begins with {}.{}",
                    batch.table,
                    batch.key.join(", ")
                ),
                "walk along an indexed column, or several in the index's order: without an index each batch would read the whole table",
            );
        }
        Ok(Self {
            table,
            key,
            rows: i64::from(batch.rows),
            estimate,
        })
    }

    /// Whether an index begins with the key's columns, in their order, and how many rows
    /// the table has by the server's estimate.
    async fn served(client: &Client, batch: &Batch, table: &str) -> Result<(bool, i64)> {
        let row = client
            .query_one(
                "with key as (
                     select pg_catalog.array_agg(a.attnum order by k.n) as columns
                     from unnest($2::text[]) with ordinality k (name, n)
                     join pg_catalog.pg_attribute a
                         on a.attrelid = to_regclass($1) and a.attname = k.name
                        and not a.attisdropped)
                 select exists (
                            select from pg_catalog.pg_index i, key
                            where i.indrelid = to_regclass($1) and i.indisvalid and i.indpred is null
                              and (i.indkey::int2[])[0:cardinality(key.columns) - 1] = key.columns),
                        greatest((select sum(p.reltuples) from pg_catalog.pg_class p
                                  where p.oid = to_regclass($1) or p.oid in
                                  (select relid from pg_catalog.pg_partition_tree(to_regclass($1))
                                   where isleaf)), 0)::bigint",
                &[&table, &batch.key],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }

    /// The next range in a transaction of its own, together with the note of where it
    /// ends. True when the table's end is reached; the step is then noted as done.
    pub(super) async fn next(
        &self,
        session: &Session,
        statement: &Statement,
        record: &mut StepRecord,
        mut note: impl AsyncFnMut(&StepRecord) -> Result<()>,
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
                let ends: Vec<AsText> = first.iter().chain(last).map(|k| AsText(k)).collect();
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    ends.iter().map(|end| end as &(dyn ToSql + Sync)).collect();
                let rows = client.execute(&statement.text, &parameters).await?;
                after.rows += i64::try_from(rows).unwrap_or(0);
                after.last_key = Some(noted(last));
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
    ) -> Result<Option<(Vec<String>, Vec<String>)>> {
        let each = |part: &dyn Fn(usize, &(String, String)) -> String| {
            let parts: Vec<String> = self
                .key
                .iter()
                .enumerate()
                .map(|(n, k)| part(n, k))
                .collect();
            parts.join(", ")
        };
        let names = each(&|_, (name, _)| name.clone());
        let after = after.map(|after| self.read(after)).transpose()?;
        let beyond = if after.is_some() {
            let values = each(&|n, (_, ty)| format!("${}::text::{ty}", n + 2));
            format!("where ({names}) > ({values})")
        } else {
            String::new()
        };
        let texts = each(&|_, (name, _)| format!("{name}::text"));
        let backwards = each(&|_, (name, _)| format!("{name} desc"));
        let table = &self.table;
        let sql = format!(
            "with keys as materialized (
                 select {names} from {table} {beyond} order by {names} limit $1)
             select (select array[{texts}] from keys order by {names} limit 1),
                    (select array[{texts}] from keys order by {backwards} limit 1)"
        );
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.rows];
        parameters.extend(after.iter().flatten().map(|k| k as &(dyn ToSql + Sync)));
        let row = client.query_one(&sql, &parameters).await?;
        let first: Option<Vec<String>> = row.get(0);
        Ok(first.zip(row.get(1)))
    }

    /// The key that was noted.
    fn read(&self, noted: &str) -> Result<Vec<String>> {
        if self.key.len() == 1 {
            return Ok(vec![noted.to_owned()]);
        }
        let key: Vec<String> = serde_json::from_str(noted).unwrap_or_default();
        if key.len() != self.key.len() {
            return Err(Error::new(
                Kind::Config,
                "the key in crossfade.schema_step, at which the batch ended, is not one of this walk",
            )
            .remedy("nobody but crossfade may write that table; put back its row"));
        }
        Ok(key)
    }
}

/// A key as the history has it: a single column's text, or a JSON array of several.
fn noted(key: &[String]) -> String {
    match key {
        [one] => one.clone(),
        several => serde_json::Value::from(several).to_string(),
    }
}
