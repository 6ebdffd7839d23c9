//! The rows of every table, to see which values a way back has lost.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::numbers::Numbers;
use crate::error::{Context, Result};
use crate::pg::quote;

/// More rows of a seed than this are not compared.
const MOST: i64 = 10_000;

/// A row: each column's value as the server writes it in a row of one, which tells NULL
/// from an empty text and from a `null` of JSON.
type Row = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Contents {
    /// By the table's quoted name; sorted rows.
    tables: BTreeMap<String, Vec<Row>>,
    numbers: Numbers,
}

impl Contents {
    pub async fn read(client: &Client) -> Result<Self> {
        let found = client
            .query(
                "select quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                        array(select a.attname::text from pg_catalog.pg_attribute a
                              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
                 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 where c.relkind = 'r' and n.nspname !~ '^pg_'
                   and n.nspname not in ('information_schema', 'crossfade') order by 1",
                &[],
            )
            .await?;
        let mut tables = BTreeMap::new();
        for table in &found {
            let (name, columns): (String, Vec<String>) = (table.get(0), table.get(1));
            // Column by column: `t` alone would be a column of that name, where there is one.
            let values: Vec<String> = columns
                .iter()
                .map(|c| format!("row(t.{})::text", quote(c)))
                .collect();
            let rows = client
                .query(
                    &format!(
                        "select array[{}]::text[] from {name} t limit {MOST}",
                        values.join(", ")
                    ),
                    &[],
                )
                .await
                .context(format!("reading {name}"))?;
            let mut rows: Vec<Row> = rows
                .iter()
                .map(|r| {
                    columns
                        .iter()
                        .cloned()
                        .zip(r.get::<_, Vec<String>>(0))
                        .collect()
                })
                .collect();
            rows.sort();
            tables.insert(name, rows);
        }
        let numbers = Numbers::read(client).await?;
        Ok(Self { tables, numbers })
    }

    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Vec::is_empty)
    }

    /// What of these rows is not in `found`, in words; never the values.
    pub fn lost(&self, found: &Self) -> Vec<String> {
        let mut lost = self.numbers.lost(&found.numbers);
        for (table, rows) in &self.tables {
            // A table that is missing is a difference of the schema.
            let Some(have) = found.tables.get(table) else {
                continue;
            };
            if rows == have {
                continue;
            }
            if rows.len() != have.len() {
                lost.push(format!(
                    "{table} has {} rows, had {}",
                    have.len(),
                    rows.len()
                ));
                continue;
            }
            // Each once: a comparison reads every row of both.
            let columns: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
            let named: Vec<&str> = columns
                .into_iter()
                .filter(|column| differs(column, rows, have))
                .map(String::as_str)
                .collect();
            lost.push(match named.len() {
                0 => format!("the values of {table} belong to other rows"),
                _ => format!("{table} has other values in {}", named.join(", ")),
            });
        }
        lost
    }
}

fn differs(column: &str, rows: &[Row], have: &[Row]) -> bool {
    let values = |rows: &[Row]| {
        let mut values: Vec<Option<String>> = rows.iter().map(|r| r.get(column).cloned()).collect();
        values.sort();
        values
    };
    values(rows) != values(have)
}
