//! What the server knows about the tables of a query: columns with their statistics,
//! indexes, and how fresh all that is.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::GenericClient;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};

/// The tables of one query. Empty for a stored plan.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub tables: Vec<Table>,
    /// `server_version_num`.
    pub version: i32,
    /// Names of installed extensions.
    pub extensions: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub oid: u32,
    pub name: QualifiedName,
    /// `pg_class.relkind`: `r`, `p`, `m`, `f`, …
    pub kind: char,
    /// The partitioned table at the top, for a partition.
    pub root: Option<QualifiedName>,
    /// The planner's number of rows; below 0 where the table was never analyzed.
    pub rows: f64,
    /// Bytes of the table itself.
    pub bytes: f64,
    pub columns: Vec<Column>,
    pub indexes: Vec<Index>,
    /// Seconds since the last ANALYZE, by hand or by autovacuum.
    pub analyzed: Option<f64>,
    /// Rows that changed since.
    pub changed: f64,
    /// Updates that needed no new index entries, as a part of all updates.
    pub hot: Option<f64>,
    /// Rows inserted, updated and deleted since the statistics were reset.
    pub writes: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// `timestamp with time zone`, `numeric(10,2)`.
    pub type_sql: String,
    /// The same without its modifier.
    pub bare_type: String,
    /// `pg_type.typcategory`.
    pub category: char,
    pub generated: bool,
    /// Different values, where there are statistics.
    pub distinct: Option<f64>,
    /// The part that is NULL, 0 to 1.
    pub nulls: f64,
    /// Bytes on average.
    pub width: f64,
    /// Bytes at most, by its type; `None` where the type has no end.
    pub longest: Option<f64>,
    /// How well the values' order follows the table's, −1 to 1.
    pub correlation: f64,
    /// The part of the commonest value.
    pub commonest: f64,
    /// Values that are common, with the part of each; of texts and enums only.
    pub common: Vec<(String, f64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Index {
    pub name: String,
    /// Keys as `pg_get_indexdef` prints them, with `DESC` where that is their order.
    pub keys: Vec<String>,
    pub include: Vec<String>,
    pub unique: bool,
    /// Belongs to a primary key, unique or exclusion constraint.
    pub constraint: bool,
    pub predicate: Option<String>,
    /// `btree`, `gin`, …
    pub method: String,
    pub definition: String,
    pub bytes: f64,
    /// Scans since the statistics were reset.
    pub scans: i64,
}

impl Catalog {
    /// A table by its name as plans print it: `schema.name`, unquoted.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables
            .iter()
            .find(|t| format!("{}.{}", t.name.schema, t.name.name) == name)
    }

    /// Whether a cast of a column to a type only calls it by another name, so that an
    /// index of the column serves a comparison of the cast.
    #[must_use]
    pub fn relabels(&self, relation: Option<&str>, column: &str, to: &str) -> bool {
        let Some(column) = relation
            .and_then(|r| self.table(r))
            .and_then(|t| t.column(column))
        else {
            // Nearly always a varchar that is compared as text.
            return to == "text";
        };
        let from = column.bare_type.as_str();
        from == to
            || matches!(
                (from, to),
                ("character varying", "text") | ("text", "character varying") | ("cidr", "inet")
            )
    }

    /// Reads the tables with these OIDs; what is no table or partition is left out.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read(client: &impl GenericClient, oids: &[u32]) -> Result<Self> {
        let context = "reading the catalog";
        let row = client
            .query_one(
                "select current_setting('server_version_num')::int, array(select extname::text from pg_extension)",
                &[],
            )
            .await
            .context(context)?;
        let mut catalog = Self {
            tables: Vec::new(),
            version: row.get(0),
            extensions: row.get(1),
        };
        let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
        for row in client.query(COLUMNS, &[&oids]).await.context(context)? {
            columns.entry(row.get(0)).or_default().push(column(&row));
        }
        let mut indexes: BTreeMap<u32, Vec<Index>> = BTreeMap::new();
        for row in client.query(INDEXES, &[&oids]).await.context(context)? {
            indexes.entry(row.get(0)).or_default().push(index(&row));
        }
        for row in client.query(TABLES, &[&oids]).await.context(context)? {
            let oid: u32 = row.get(0);
            let root: Option<String> = row.get(4);
            catalog.tables.push(Table {
                oid,
                name: QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
                kind: row.get::<_, String>(3).chars().next().unwrap_or('?'),
                root: root.map(|name| QualifiedName::new(row.get::<_, String>(5), name)),
                rows: row.get(6),
                bytes: row.get(7),
                columns: columns.remove(&oid).unwrap_or_default(),
                indexes: indexes.remove(&oid).unwrap_or_default(),
                analyzed: row.get(8),
                changed: row.get(9),
                hot: row.get(10),
                writes: row.get(11),
            });
        }
        Ok(catalog)
    }
}

impl Table {
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Why its statistics cannot be trusted, if so.
    #[must_use]
    pub fn stale(&self) -> Option<String> {
        if self.rows < 0.0 || self.analyzed.is_none() && self.changed > 0.0 {
            return Some("it was never analyzed".to_owned());
        }
        let part = self.changed / self.rows.max(1.0);
        (part > 0.2 && self.changed > 1000.0).then(|| {
            format!(
                "{} of its rows changed since the last ANALYZE",
                super::words::percent(part.min(1.0))
            )
        })
    }

    /// How different a key's values are: the number of distinct ones, at most the rows.
    #[must_use]
    pub fn distinct(&self, column: &str) -> Option<f64> {
        self.column(column)?.distinct
    }
}

fn column(row: &tokio_postgres::Row) -> Column {
    let values: Option<Vec<String>> = row.get(12);
    let parts: Option<Vec<f64>> = row.get(13);
    Column {
        name: row.get(1),
        type_sql: row.get(2),
        bare_type: row.get(3),
        category: row.get::<_, String>(4).chars().next().unwrap_or('U'),
        generated: row.get(5),
        distinct: row.get(6),
        nulls: row.get(7),
        width: row.get(8),
        correlation: row.get(9),
        commonest: row.get(10),
        longest: row.get(11),
        common: values
            .unwrap_or_default()
            .into_iter()
            .zip(parts.unwrap_or_default())
            .collect(),
    }
}

fn index(row: &tokio_postgres::Row) -> Index {
    let keys: Vec<String> = row.get(2);
    let options: Vec<i16> = row.get(3);
    let keys = keys
        .into_iter()
        .enumerate()
        .map(|(i, key)| match options.get(i).copied().unwrap_or(0) & 3 {
            1 => format!("{key} DESC NULLS LAST"),
            3 => format!("{key} DESC"),
            2 => format!("{key} NULLS FIRST"),
            _ => key,
        })
        .collect();
    Index {
        name: row.get(1),
        keys,
        include: row.get(4),
        unique: row.get(5),
        constraint: row.get(6),
        predicate: row.get(7),
        method: row.get(8),
        definition: row.get(9),
        bytes: row.get(10),
        scans: row.get(11),
    }
}

/// A key of an index as text, for a column.
#[must_use]
pub fn key_of(column: &str) -> String {
    let plain = !column.is_empty()
        && column
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !column.starts_with(|c: char| c.is_ascii_digit());
    if plain {
        column.to_owned()
    } else {
        quote(column)
    }
}

const TABLES: &str = "
select c.oid, n.nspname::text, c.relname::text, c.relkind::text,
       (select r.relname::text from pg_class r where r.oid = top.oid), (select n2.nspname::text from pg_class r join pg_namespace n2 on n2.oid = r.relnamespace where r.oid = top.oid),
       c.reltuples::float8, pg_relation_size(c.oid)::float8,
       extract(epoch from now() - greatest(s.last_analyze, s.last_autoanalyze))::float8,
       coalesce(s.n_mod_since_analyze, 0)::float8,
       s.n_tup_hot_upd::float8 / nullif(s.n_tup_upd, 0),
       coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0)::float8
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_all_tables s on s.relid = c.oid
left join lateral (select case when c.relispartition then pg_partition_root(c.oid) end as oid) top on true
where c.oid = any($1) and c.relkind in ('r', 'p', 'm', 'f')
order by 2, 3";

const COLUMNS: &str = "
select a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, null),
       t.typcategory::text, a.attgenerated <> '',
       case when s.n_distinct < 0 then greatest(-s.n_distinct * greatest(c.reltuples, 1), 1)
            when s.n_distinct > 0 then s.n_distinct end::float8,
       coalesce(s.null_frac, 0)::float8, coalesce(s.avg_width, 8)::float8,
       coalesce(s.correlation, 0)::float8, coalesce(s.most_common_freqs[1], 0)::float8,
       case when t.typlen > 0 then t.typlen
            when coalesce(nullif(t.typbasetype, 0), t.oid) = 'numeric'::regtype then 64
            when coalesce(nullif(t.typbasetype, 0), t.oid) in ('varchar'::regtype, 'bpchar'::regtype)
                 and greatest(a.atttypmod, t.typtypmod) > 4 then (greatest(a.atttypmod, t.typtypmod) - 4) * 4 end::float8,
       case when t.typcategory in ('S', 'E') then s.most_common_vals::text::text[] end,
       s.most_common_freqs::float8[]
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
left join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname
     and s.inherited = (c.relkind = 'p')
where a.attrelid = any($1) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum";

const INDEXES: &str = "
select i.indrelid, c.relname::text,
       array(select pg_get_indexdef(i.indexrelid, k, true) from generate_series(1, i.indnkeyatts) k),
       i.indoption::int2[],
       array(select pg_get_indexdef(i.indexrelid, k, true) from generate_series(i.indnkeyatts + 1, i.indnatts) k),
       i.indisunique, exists(select from pg_constraint x where x.conindid = i.indexrelid and x.contype in ('p', 'u', 'x')),
       pg_get_expr(i.indpred, i.indrelid), m.amname::text, pg_get_indexdef(i.indexrelid),
       pg_relation_size(i.indexrelid)::float8, coalesce(s.idx_scan, 0)
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_am m on m.oid = c.relam
left join pg_stat_all_indexes s on s.indexrelid = i.indexrelid
where i.indrelid = any($1) and i.indisvalid
order by i.indrelid, c.relname";
