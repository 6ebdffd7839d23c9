//! The one session that an audit uses: read only, bounded in time, gentle, and never in
//! a transaction longer than one statement.

use std::time::Duration;

use tokio_postgres::Client;

use super::schema::{Table, TableKind, TypeClass};
use crate::error::{Context, Result};
use crate::pg::connect::{SessionLimits, connect_with};
use crate::pg::{ConnInfo, quote};

/// Longer values count as present, and their content is not looked at.
const LONGEST_VALUE: u32 = 256;
/// Larger documents are not fetched; measured as they are stored, before they are read.
const LARGEST_DOCUMENT: u32 = 16 * 1024;
/// How long a statement may wait for somebody's ACCESS EXCLUSIVE lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Below this many rows a scan of the first ones is as good as TABLESAMPLE.
const SMALL: u64 = 20_000;
/// A sample of pages with fewer rows than this is taken again without picking pages.
const FEWEST: usize = 100;

/// A session on which nothing can be written.
///
/// Every statement is a transaction of its own, so that no snapshot of the audit holds
/// back vacuum. The statements that it is given read tables under ACCESS SHARE.
pub struct Probe {
    client: Client,
}

/// Rows of a table as text, in the order of `columns`.
pub struct Sample {
    /// Names of the columns that were fetched, and how.
    pub columns: Vec<SampledColumn>,
    /// One per row; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// These are all rows of the table.
    pub whole: bool,
}

pub struct SampledColumn {
    pub name: String,
    /// False where only whether there is a value was asked: the cell is empty then.
    pub values: bool,
}

impl Probe {
    /// # Errors
    /// Those of connecting.
    pub async fn open(info: &ConnInfo, statement: Duration) -> Result<Self> {
        let limits = SessionLimits {
            lock: Some(LOCK_WAIT),
            statement: Some(statement),
            idle_in_transaction: Some(Duration::from_secs(60)),
        };
        let client = connect_with(info, "audit", limits).await?;
        // Compiling costs more than it saves in statements this short, and parallel
        // workers are the application's. An empty search path: names mean what they say.
        client
            .batch_execute(
                "set session characteristics as transaction read only;
                 set max_parallel_workers_per_gather = 0; set jit = off;
                 set search_path = pg_catalog",
            )
            .await
            .context("preparing a read-only session")?;
        Ok(Self { client })
    }

    /// For the catalog's queries.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The numbers of the only row of `sql`, whose columns are all `bigint`.
    ///
    /// # Errors
    /// What the server says; a statement timeout among it.
    pub async fn numbers(&self, sql: &str) -> Result<Vec<Option<i64>>> {
        let row = self.client.query_one(sql, &[]).await?;
        (0..row.len()).map(|i| Ok(row.try_get(i)?)).collect()
    }

    /// About `most` rows of a table, spread over its pages. The same ones each time, as
    /// long as nobody writes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sample(&self, table: &Table, most: u32) -> Result<Sample> {
        let columns: Vec<_> = table.columns.iter().filter(|c| c.readable).collect();
        let list: Vec<_> = columns
            .iter()
            .map(|c| expression(&quote(&c.name), c.data_type.class))
            .collect();
        let columns: Vec<_> = columns
            .iter()
            .map(|c| SampledColumn {
                name: c.name.clone(),
                values: shows_values(c.data_type.class),
            })
            .collect();
        let (list, from) = (list.join(", "), table.from_sql());
        let mut method = method(table, most);
        let mut rows = self.rows(&list, &format!("{from}{method}"), most).await?;
        if rows.len() < FEWEST && !method.is_empty() {
            // The estimate is far above what is there.
            method.clear();
            rows = self.rows(&list, &from, most).await?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let whole = method.is_empty() && rows.len() <= most;
        if !whole {
            rows.truncate(2 * most);
        }
        Ok(Sample {
            columns,
            rows,
            whole,
        })
    }

    async fn rows(&self, list: &str, from: &str, most: u32) -> Result<Vec<Vec<Option<String>>>> {
        // Pages are not equally full: cutting at `most` would leave out the last ones.
        let limit = u64::from(most) * 2;
        let sql = format!("select {list} from {from} limit {limit}");
        let mut rows = Vec::new();
        for row in self.client.query(&sql, &[]).await? {
            let cells: Result<_, _> = (0..row.len()).map(|i| row.try_get(i)).collect();
            rows.push(cells?);
        }
        Ok(rows)
    }
}

/// A value as text, bounded without reading what is stored out of line.
fn expression(name: &str, class: TypeClass) -> String {
    if !shows_values(class) {
        return format!("case when {name} is not null then '' end");
    }
    let bound = if class.is_json() {
        LARGEST_DOCUMENT
    } else {
        LONGEST_VALUE
    };
    match class {
        TypeClass::Text | TypeClass::PaddedChar | TypeClass::Json | TypeClass::Jsonb => format!(
            "case when pg_column_size({name}) <= {bound} then {name}::text
             when {name} is not null then '' end"
        ),
        _ => format!("{name}::text"),
    }
}

/// Types whose values rules look at, and whose text is short.
fn shows_values(class: TypeClass) -> bool {
    !matches!(
        class,
        TypeClass::Binary
            | TypeClass::Array
            | TypeClass::Composite
            | TypeClass::Range
            | TypeClass::Other
    )
}

/// A clause that picks pages, for tables that are worth it.
fn method(table: &Table, most: u32) -> String {
    let rows = table.estimated_rows();
    let samplable = matches!(
        table.kind,
        TableKind::Plain | TableKind::Partitioned | TableKind::Partition | TableKind::Materialized
    );
    if !samplable || rows <= SMALL.max(u64::from(most)) {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = (f64::from(most) * 100.0 / rows as f64).clamp(0.0001, 100.0);
    format!(" tablesample system ({percent:.6}) repeatable (1)")
}
