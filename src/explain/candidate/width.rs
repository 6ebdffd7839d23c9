//! Which candidates hold rows too wide for a B-tree.
//!
//! An entry of a B-tree has a third of a page at most. Values are compressed before that is
//! looked at, so an index of wide text may be built today and refuse an insert tomorrow: what
//! counts here is the width before compression.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Transaction;

use super::{Candidate, Key, Method};
use crate::error::Result;
use crate::explain::catalog::{Catalog, Table, key_of};
use crate::explain::run;
use crate::explain::words::count;

/// `BTMaxItemSize` of pages of 8 kB.
pub const MOST: f64 = 2704.0;
/// Before anything of a row: the entry's head, and what aligns its values.
const HEAD: f64 = 32.0;
/// Of larger tables a part of the pages is looked at in the given database.
const WHOLE: f64 = 256.0 * 1024.0 * 1024.0;

/// Notes the widest row of each candidate, and takes out those that no B-tree holds; returns
/// what to say about them. `sampled` says whether it must go fast.
///
/// # Errors
/// When the connection breaks; what cannot be measured stays in.
pub async fn fit(
    tx: &mut Transaction<'_>,
    catalog: &Catalog,
    candidates: &mut Vec<Candidate>,
    timeout: Duration,
    sampled: bool,
) -> Result<Vec<String>> {
    let mut by_table: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, candidate) in candidates.iter().enumerate() {
        let table = catalog.tables.iter().find(|t| t.name == candidate.table);
        if table.is_some_and(|t| candidate.method == Method::Btree && !candidate.is_narrow(t)) {
            by_table.entry(candidate.table.sql()).or_default().push(i);
        }
    }
    for (name, places) in by_table {
        let table = catalog
            .tables
            .iter()
            .find(|t| t.name == candidates[places[0]].table);
        let Some(table) = table else { continue };
        let list: Vec<String> = places
            .iter()
            .map(|&i| candidates[i].widest_sql(table))
            .collect();
        let part = WHOLE / table.bytes.max(1.0);
        let sample = if sampled && part < 1.0 && matches!(table.kind, 'r' | 'm') {
            format!(" tablesample system ({:.4}) repeatable (1)", part * 100.0)
        } else {
            String::new()
        };
        let sql = format!("select {} from {name}{sample}", list.join(", "));
        let inner = tx.savepoint("widths").await?;
        run::limit(&inner, timeout).await?;
        match inner.query_one(&sql, &[]).await {
            Ok(row) => {
                for (column, &i) in places.iter().enumerate() {
                    candidates[i].widest = row.get::<_, Option<i32>>(column).unwrap_or(0);
                }
                inner.commit().await?;
            }
            // An expression may fail on rows that no query asks for.
            Err(e) if e.as_db_error().is_some() => inner.rollback().await?,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(refuse(candidates))
}

/// Takes out what is too wide, and says once for each table's columns why.
fn refuse(candidates: &mut Vec<Candidate>) -> Vec<String> {
    let mut widest: BTreeMap<(String, String), i32> = BTreeMap::new();
    candidates.retain(|c| {
        if f64::from(c.widest) + HEAD <= MOST {
            return true;
        }
        // The fewest columns that are too many.
        let name = (c.table.to_string(), c.columns_words());
        widest.insert(name, c.widest);
        false
    });
    let all: Vec<_> = widest.keys().cloned().collect();
    widest
        .iter()
        .filter(|((table, columns), _)| {
            !all.iter().any(|(t, c)| {
                t == table && c != columns && c.split(", ").all(|p| columns.split(", ").any(|o| o == p))
            })
        })
        .map(|((table, columns), bytes)| {
            format!(
                "no B-tree of {table} holds {columns}: values have up to {} bytes, an entry has at most {}, \
                 and an insert of more than that fails (for equality, an index on md5(…) or a hash index serves)",
                count(f64::from(*bytes)),
                count(MOST)
            )
        })
        .collect()
}

impl Candidate {
    /// Whether the types of its columns keep it narrow, whatever is stored.
    fn is_narrow(&self, table: &Table) -> bool {
        let most: Option<f64> = self
            .keys
            .iter()
            .map(|k| key_bytes(k, table))
            .chain(
                self.include
                    .iter()
                    .map(|c| table.column(c).and_then(|c| c.longest)),
            )
            .sum();
        most.is_some_and(|most| most + HEAD <= MOST)
    }

    /// An expression for the bytes of its widest row.
    fn widest_sql(&self, table: &Table) -> String {
        let part = |sql: &str, column: Option<&str>| {
            let binary = column
                .and_then(|c| table.column(c))
                .is_some_and(|c| c.bare_type == "bytea");
            let text = if binary { "" } else { "::text" };
            format!("coalesce(octet_length(({sql}){text}), 0)")
        };
        let plain = |k: &Key| (!k.sql.starts_with('(')).then(|| k.columns[0].clone());
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|k| part(&k.sql, plain(k).as_deref()))
            .chain(self.include.iter().map(|c| part(&key_of(c), Some(c))))
            .collect();
        let filter = self
            .predicate
            .as_ref()
            .map_or_else(String::new, |p| format!(" filter (where {p})"));
        format!("max({}){filter}", parts.join(" + "))
    }

    /// Why inserts may fail one day, if so.
    #[must_use]
    pub fn risk(&self) -> Option<String> {
        self.is_wide().then(|| {
            format!(
                "its widest row has {} bytes now; a B-tree entry has at most {}, and an insert of more than \
                 that fails: bound the length of what is stored in {}",
                count(f64::from(self.widest)),
                count(MOST),
                self.columns_words()
            )
        })
    }

    /// More than half of what an entry may have.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        f64::from(self.widest) > MOST / 2.0
    }

    fn columns_words(&self) -> String {
        let keys = self.keys.iter().map(|k| k.sql.clone());
        let carried = self.include.iter().map(|c| key_of(c));
        keys.chain(carried).collect::<Vec<_>>().join(", ")
    }
}

/// At most so many bytes by its type; `None` where there is no end.
fn key_bytes(key: &Key, table: &Table) -> Option<f64> {
    if key.sql.starts_with('(') {
        return None;
    }
    table.column(key.columns.first()?)?.longest
}
