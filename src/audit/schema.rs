//! The catalog of a database as a value: what exists, how large it is, how it is used.
//! Nothing in here asks the server.

use std::time::Duration;

use super::belongings::Belongings;
use crate::pg::QualifiedName;

/// Everything that an audit knows of a database without looking at its rows.
#[derive(Debug, Clone, Default)]
pub struct Database {
    pub name: String,
    /// As `server_version_num`: 150004.
    pub version: u32,
    /// How long the server has been counting scans and writes; `None` where it does
    /// not say.
    pub statistics_age: Option<Duration>,
    /// Whether this server is a standby: its scan counts say nothing about the primary.
    pub standby: bool,
    /// Bytes of a page.
    pub block_size: u64,
    /// In the order of schema and name.
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
    /// What could not be read, for people: the object and why.
    pub unread: Vec<Unread>,
}

/// An object that the audit had to leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub object: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    Plain,
    /// The root or an inner node of a partition tree; its rows are its partitions'.
    Partitioned,
    /// A leaf of a partition tree.
    Partition,
    View,
    Materialized,
    Foreign,
}

/// The comment of tables in which a plan keeps what the way down needs: nobody's design, and
/// gone when nobody wants to go back.
pub const KEPT: &str = "Kept by a plan of crossfade audit for its way down.";

/// A table, or what can be read like one.
#[derive(Debug, Clone)]
pub struct Table {
    pub oid: u32,
    pub name: QualifiedName,
    pub kind: TableKind,
    pub owner: String,
    pub comment: Option<String>,
    /// The tables it inherits from or is a partition of.
    pub parents: Vec<QualifiedName>,
    /// `RANGE (created_at)`, for the root of a partition tree.
    pub partition_key: Option<String>,
    /// `FOR VALUES …`, for a partition.
    pub partition_bound: Option<String>,
    /// Belongs to an extension: not the schema author's to change.
    pub extension: bool,
    /// The role may read at least one column and use the schema.
    pub readable: bool,
    /// Row level security applies to this role: its counts are not the table's.
    pub row_security: bool,
    pub columns: Vec<Column>,
    pub primary_key: Option<Key>,
    /// Unique constraints and unique indexes on plain columns that cover every row,
    /// the primary key not among them.
    pub unique_keys: Vec<Key>,
    pub foreign_keys: Vec<ForeignKey>,
    pub checks: Vec<Check>,
    pub indexes: Vec<Index>,
    /// The planner's estimate; `None` where the table was never analyzed. For a
    /// partitioned table the sum of its partitions.
    pub rows: Option<u64>,
    /// Heap and TOAST, in bytes; for a partitioned table the sum of its partitions.
    pub bytes: u64,
    /// All indexes, in bytes.
    pub index_bytes: u64,
    /// Views and functions with a parsed body that read it.
    pub dependents: u32,
    pub activity: Activity,
    pub belongings: Belongings,
}

/// Counted since the statistics were reset ([`Database::statistics_age`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    pub sequential_scans: u64,
    pub sequential_rows: u64,
    pub index_scans: u64,
    pub inserts: u64,
    pub updates: u64,
    /// Updates that had to touch no index.
    pub hot_updates: u64,
    pub deletes: u64,
    /// The server's estimates of now.
    pub live_rows: u64,
    pub dead_rows: u64,
}

impl Activity {
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inserts + self.updates + self.deletes
    }
}

#[derive(Debug, Clone)]
pub struct Column {
    pub attnum: i16,
    pub name: String,
    pub data_type: DataType,
    pub not_null: bool,
    /// The default's or the generation expression's SQL.
    pub default: Option<String>,
    /// `GENERATED ALWAYS AS (…) STORED`.
    pub generated: bool,
    pub identity: Option<Identity>,
    pub comment: Option<String>,
    /// The role may read it.
    pub readable: bool,
    pub statistics: Option<ColumnStatistics>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Always,
    ByDefault,
}

/// What ANALYZE found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnStatistics {
    /// 0 to 1.
    pub null_fraction: f64,
    /// As `pg_stats.n_distinct`: a count, or, negative, a fraction of the rows.
    pub distinct: f64,
    /// Bytes.
    pub average_width: u32,
}

/// A column's type; a domain is seen through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataType {
    pub oid: u32,
    /// As SQL with its modifier, `numeric(10,2)`; a domain's own name.
    pub sql: String,
    /// The underlying type's name in the catalog: `int4`, `varchar`, `_text`.
    pub base: String,
    pub class: TypeClass,
    /// The domain's name as SQL, where it is one.
    pub domain: Option<String>,
    /// The most characters, of `varchar(n)` and `char(n)`.
    pub length: Option<u32>,
}

/// Types that rules treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypeClass {
    Boolean,
    /// `smallint`, `integer`, `bigint`: 2, 4 or 8 bytes.
    Integer(u8),
    Numeric,
    Float,
    Money,
    /// `text`, `varchar`, `citext`.
    Text,
    /// `char(n)`, padded with blanks.
    PaddedChar,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Binary,
    Enum,
    Array,
    Composite,
    Range,
    Other,
}

impl TypeClass {
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Integer(_))
    }

    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::PaddedChar)
    }

    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonb)
    }
}

/// A primary key, unique constraint or unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Of the constraint or, without one, of the index.
    pub name: String,
    /// In key order.
    pub columns: Vec<String>,
    /// Every column is NOT NULL.
    pub not_null: bool,
    pub deferrable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub referenced: QualifiedName,
    /// In the order of `columns`.
    pub referenced_columns: Vec<String>,
    /// False for NOT VALID: rows from before were never checked.
    pub valid: bool,
    /// False for NOT ENFORCED (PostgreSQL 18): nobody checks it, and it is never valid.
    pub enforced: bool,
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    pub deferred: bool,
    pub on_delete: Action,
    pub on_update: Action,
    /// What it does when a row that it refers to goes or changes, and how it takes NULL: two
    /// that agree in it do the same.
    pub terms: String,
}

/// What a foreign key does to its rows when the row it refers to goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    /// `CHECK (…)`.
    pub definition: String,
    pub valid: bool,
    /// See [`ForeignKey::enforced`].
    pub enforced: bool,
}

#[derive(Debug, Clone)]
pub struct Index {
    /// In the table's schema.
    pub name: QualifiedName,
    /// `btree`, `gin`, …
    pub method: String,
    /// What it is sorted by, in order.
    pub keys: Vec<IndexKey>,
    /// The columns of INCLUDE.
    pub included: Vec<String>,
    /// The WHERE of a partial index.
    pub predicate: Option<String>,
    pub unique: bool,
    /// Of a unique one: what it refuses, and when. `NULLS NOT DISTINCT` refuses a second NULL,
    /// one that is deferrable refuses only later.
    pub refuses: Refuses,
    pub primary: bool,
    /// Backs a primary key, unique or exclusion constraint.
    pub constraint: Option<String>,
    /// A foreign key of another table relies on it.
    pub referenced: bool,
    pub valid: bool,
    /// Used as the replica identity.
    pub replica_identity: bool,
    pub bytes: u64,
    /// Since the statistics were reset.
    pub scans: u64,
    /// `CREATE INDEX …`, without CONCURRENTLY.
    pub definition: String,
    /// The index is part of a partitioned index.
    pub partition_of_index: bool,
}

/// How a unique index takes equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refuses {
    pub second_null: bool,
    pub later: bool,
}

/// A column or an expression of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKey {
    /// `None` for an expression.
    pub column: Option<String>,
    /// The key as SQL with everything that makes it another key: operator class and
    /// collation, and last its order as `pg_index.indoption` has it.
    pub sql: String,
}

impl IndexKey {
    /// The same key read backward: `DESC NULLS FIRST` for `ASC NULLS LAST`.
    #[must_use]
    pub fn reversed(&self) -> String {
        match self.sql.rsplit_once(' ') {
            Some((front, order)) => match order.parse::<u8>() {
                Ok(order) => format!("{front} {}", order ^ 3),
                Err(_) => self.sql.clone(),
            },
            None => self.sql.clone(),
        }
    }
}

impl Index {
    /// The key columns, where the index has no expression.
    #[must_use]
    pub fn plain_columns(&self) -> Option<Vec<&str>> {
        self.keys.iter().map(|k| k.column.as_deref()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    pub name: QualifiedName,
    /// The last value it gave; `None` before the first, or where it may not be read.
    pub last_value: Option<i64>,
    pub maximum: i64,
    pub cycles: bool,
    /// The table and column it belongs to.
    pub owner: Option<(QualifiedName, String)>,
}

impl Database {
    #[must_use]
    pub fn table(&self, name: &QualifiedName) -> Option<&Table> {
        self.tables.iter().find(|t| &t.name == name)
    }

    /// The tables that hold rows of their own design: plain and partitioned ones that
    /// no extension brought, without the partitions (they follow their root).
    pub fn designed(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|t| t.is_designed())
    }
}

impl Table {
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    #[must_use]
    pub fn is_designed(&self) -> bool {
        // An inner node of a partition tree follows its root as the leaves do.
        let own = self.partition_bound.is_none();
        let kept = self.comment.as_deref() == Some(KEPT);
        own && !kept
            && !self.extension
            && matches!(self.kind, TableKind::Plain | TableKind::Partitioned)
    }

    /// The primary key first, then the unique keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.primary_key.iter().chain(&self.unique_keys)
    }

    /// Whether these columns, in any order, are exactly a key.
    #[must_use]
    pub fn is_key(&self, columns: &[&str]) -> bool {
        self.keys().any(|k| {
            k.columns.len() == columns.len()
                && k.columns.iter().all(|c| columns.contains(&c.as_str()))
        })
    }

    /// Whether a declared foreign key uses the column.
    #[must_use]
    pub fn in_foreign_key(&self, column: &str) -> bool {
        self.foreign_keys
            .iter()
            .any(|f| f.columns.iter().any(|c| c == column))
    }

    /// How to name it in FROM: without the rows of its inheritance children.
    #[must_use]
    pub fn from_sql(&self) -> String {
        match self.kind {
            TableKind::Plain => format!("only {}", self.name.sql()),
            _ => self.name.sql(),
        }
    }

    /// How much depends on it, for ranking: digits of its rows and of its use.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rank")]
    pub fn weight(&self) -> f64 {
        let used =
            self.activity.sequential_scans + self.activity.index_scans + self.activity.writes();
        (1.0 + self.estimated_rows() as f64).log10() + (1.0 + used as f64).log10() / 2.0
    }

    /// The columns of the primary key with their types; empty without one.
    #[must_use]
    pub fn key_columns(&self) -> Vec<&Column> {
        self.primary_key
            .iter()
            .flat_map(|k| k.columns.iter().filter_map(|c| self.column(c)))
            .collect()
    }

    /// Whether a usable index leads with these columns, in any order.
    #[must_use]
    pub fn has_index_on(&self, columns: &[String]) -> bool {
        self.indexes.iter().any(|i| {
            let leading: Vec<_> = i
                .keys
                .iter()
                .take(columns.len())
                .filter_map(|k| k.column.as_ref())
                .collect();
            i.valid
                && i.method == "btree"
                && i.predicate.is_none()
                && leading.len() == columns.len()
                && columns.iter().all(|c| leading.contains(&c))
        })
    }

    /// Rows by estimate, counting one that was never analyzed as none.
    #[must_use]
    pub fn estimated_rows(&self) -> u64 {
        self.rows.unwrap_or(self.activity.live_rows)
    }
}
