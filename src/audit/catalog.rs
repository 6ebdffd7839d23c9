//! Reads the catalog into a [`Database`]: a handful of queries for all tables at once,
//! none of which takes a lock on a user's table.

mod belongings;

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::{Client, Row};

use super::belongings::Belongings;
use super::schema::{
    Action, Activity, Check, Column, ColumnStatistics, DataType, Database, ForeignKey, Identity,
    Index, IndexKey, Key, Refuses, Sequence, Table, TableKind, TypeClass, Unread,
};
use crate::error::{Context, Result};
use crate::pg::QualifiedName;

/// Sequences asked for in one statement.
const SEQUENCES_AT_ONCE: usize = 50;

/// Reads everything; `schemas` restricts it to these, none means all but the server's.
///
/// # Errors
/// Connection errors, and those of a server whose catalog cannot be read.
pub async fn read(client: &Client, schemas: &[String]) -> Result<Database> {
    let row = client
        .query_one(include_str!("catalog/database.sql"), &[])
        .await
        .context("reading about the server")?;
    let mut database = Database {
        name: row.get(0),
        version: u32::try_from(row.get::<_, i32>(1)).unwrap_or(0),
        statistics_age: row
            .get::<_, Option<f64>>(2)
            .and_then(|s| Duration::try_from_secs_f64(s).ok()),
        standby: row.get(3),
        block_size: unsigned(row.get(4)),
        ..Database::default()
    };
    let locked = locked(client, &mut database).await?;
    let rows = client
        .query(include_str!("catalog/tables.sql"), &[&schemas, &locked])
        .await
        .context("reading the tables of the catalog")?;
    database.tables = rows.iter().map(table).collect();
    let oids: Vec<u32> = database.tables.iter().map(|t| t.oid).collect();
    let mut by_oid: HashMap<u32, &mut Table> =
        database.tables.iter_mut().map(|t| (t.oid, t)).collect();
    for row in client
        .query(include_str!("catalog/columns.sql"), &[&oids])
        .await
        .context("reading the columns of the catalog")?
    {
        if let Some(table) = by_oid.get_mut(&row.get(0)) {
            table.columns.push(column(&row));
        }
    }
    for row in client
        .query(include_str!("catalog/parents.sql"), &[])
        .await
        .context("reading inheritance")?
    {
        if let Some(table) = by_oid.get_mut(&row.get(0)) {
            let parent = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
            table.parents.push(parent);
        }
    }
    for row in client
        .query(include_str!("catalog/statistics.sql"), &[&oids])
        .await
        .context("reading pg_stats")?
    {
        if let Some(table) = by_oid.get_mut(&row.get(0)) {
            let name: String = row.get(1);
            if let Some(column) = table.columns.iter_mut().find(|c| c.name == name) {
                column.statistics = Some(ColumnStatistics {
                    null_fraction: row.get(2),
                    distinct: row.get(3),
                    average_width: u32::try_from(row.get::<_, i32>(4)).unwrap_or(0),
                });
            }
        }
    }
    for row in client
        .query(include_str!("catalog/constraints.sql"), &[&oids])
        .await
        .context("reading the constraints of the catalog")?
    {
        if let Some(table) = by_oid.get_mut(&row.get(0)) {
            constraint(table, &row);
        }
    }
    for row in client
        .query(include_str!("catalog/indexes.sql"), &[&oids])
        .await
        .context("reading the indexes of the catalog")?
    {
        if let Some(table) = by_oid.get_mut(&row.get(0)) {
            index(table, &row);
        }
    }
    belongings::read(client, &mut database.tables).await?;
    sum_partitions(&mut database.tables);
    database.sequences = sequences(client, schemas).await?;
    unreadable(&mut database);
    Ok(database)
}

/// Tables under an ACCESS EXCLUSIVE lock are left out and named.
async fn locked(client: &Client, database: &mut Database) -> Result<Vec<u32>> {
    let rows = client
        .query(include_str!("catalog/locked.sql"), &[])
        .await
        .context("reading pg_locks")?;
    for row in &rows {
        let name = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        if !name.name.is_empty() && name.schema != "pg_catalog" {
            database.unread.push(Unread {
                object: name.to_string(),
                reason: "another session holds an ACCESS EXCLUSIVE lock on it".to_owned(),
            });
        }
    }
    Ok(rows.iter().map(|r| r.get(0)).collect())
}

fn table(row: &Row) -> Table {
    let partition: bool = row.get(4);
    let kind = match (row.get::<_, String>(3).as_str(), partition) {
        ("p", _) => TableKind::Partitioned,
        ("f", _) => TableKind::Foreign,
        ("v", _) => TableKind::View,
        ("m", _) => TableKind::Materialized,
        (_, true) => TableKind::Partition,
        _ => TableKind::Plain,
    };
    let estimate: f64 = row.get(12);
    Table {
        oid: row.get(0),
        name: QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        kind,
        owner: row.get(5),
        comment: row.get(6),
        parents: Vec::new(),
        partition_key: row.get(7),
        partition_bound: row.get(8),
        extension: row.get(9),
        readable: row.get(10),
        row_security: row.get(11),
        columns: Vec::new(),
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        rows: whole(estimate),
        bytes: unsigned(row.get(13)),
        index_bytes: 0,
        dependents: u32::try_from(row.get::<_, i64>(14)).unwrap_or(u32::MAX),
        activity: Activity {
            sequential_scans: unsigned(row.get(15)),
            sequential_rows: unsigned(row.get(16)),
            index_scans: unsigned(row.get(17)),
            inserts: unsigned(row.get(18)),
            updates: unsigned(row.get(19)),
            hot_updates: unsigned(row.get(20)),
            deletes: unsigned(row.get(21)),
            live_rows: unsigned(row.get(22)),
            dead_rows: unsigned(row.get(23)),
        },
        belongings: Belongings::default(),
    }
}

fn column(row: &Row) -> Column {
    let base: String = row.get(6);
    let (typtype, category): (String, String) = (row.get(7), row.get(8));
    Column {
        attnum: row.get(1),
        name: row.get(2),
        data_type: DataType {
            oid: row.get(3),
            sql: row.get(4),
            class: class(&base, &typtype, &category),
            base,
            domain: row.get(5),
            length: row
                .get::<_, Option<i32>>(9)
                .and_then(|l| u32::try_from(l).ok()),
        },
        not_null: row.get(10),
        default: row.get(11),
        generated: row.get(12),
        identity: match row.get::<_, String>(13).as_str() {
            "a" => Some(Identity::Always),
            "d" => Some(Identity::ByDefault),
            _ => None,
        },
        comment: row.get(14),
        readable: row.get(15),
        statistics: None,
    }
}

fn class(base: &str, typtype: &str, category: &str) -> TypeClass {
    match base {
        "bool" => TypeClass::Boolean,
        "int2" => TypeClass::Integer(2),
        "int4" => TypeClass::Integer(4),
        "int8" => TypeClass::Integer(8),
        "numeric" => TypeClass::Numeric,
        "float4" | "float8" => TypeClass::Float,
        "money" => TypeClass::Money,
        "text" | "varchar" | "citext" => TypeClass::Text,
        "bpchar" => TypeClass::PaddedChar,
        "date" => TypeClass::Date,
        "time" | "timetz" => TypeClass::Time,
        "timestamp" => TypeClass::Timestamp,
        "timestamptz" => TypeClass::TimestampTz,
        "interval" => TypeClass::Interval,
        "uuid" => TypeClass::Uuid,
        "json" => TypeClass::Json,
        "jsonb" => TypeClass::Jsonb,
        "bytea" => TypeClass::Binary,
        _ => match (typtype, category) {
            ("e", _) => TypeClass::Enum,
            ("c", _) => TypeClass::Composite,
            ("r" | "m", _) => TypeClass::Range,
            (_, "A") => TypeClass::Array,
            _ => TypeClass::Other,
        },
    }
}

fn constraint(table: &mut Table, row: &Row) {
    let name: String = row.get(2);
    let valid: bool = row.get(3);
    if row.get::<_, String>(1) == "c" {
        let definition = row.get::<_, Option<String>>(10).unwrap_or_default();
        table.checks.push(Check {
            name,
            definition,
            valid,
            enforced: row.get(12),
        });
        return;
    }
    let columns: Option<Vec<String>> = row.get(4);
    let referenced_columns: Option<Vec<String>> = row.get(7);
    let (Some(schema), Some(referenced)) = (
        row.get::<_, Option<String>>(5),
        row.get::<_, Option<String>>(6),
    ) else {
        return;
    };
    table.foreign_keys.push(ForeignKey {
        name,
        columns: columns.unwrap_or_default(),
        referenced: QualifiedName::new(schema, referenced),
        referenced_columns: referenced_columns.unwrap_or_default(),
        valid,
        enforced: row.get(12),
        deferrable: row.get(11),
        on_delete: action(row.get(8)),
        on_update: action(row.get(9)),
        terms: row.get(13),
        deferred: row.get(14),
    });
}

fn action(code: &str) -> Action {
    match code {
        "r" => Action::Restrict,
        "c" => Action::Cascade,
        "n" => Action::SetNull,
        "d" => Action::SetDefault,
        _ => Action::NoAction,
    }
}

fn index(table: &mut Table, row: &Row) {
    let columns: Vec<Option<String>> = row.get(4);
    let sqls: Vec<String> = row.get(5);
    let index = Index {
        name: QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        method: row.get(3),
        keys: columns
            .into_iter()
            .zip(sqls)
            .map(|(column, sql)| IndexKey { column, sql })
            .collect(),
        included: row.get(6),
        predicate: row.get(7),
        unique: row.get(8),
        refuses: Refuses {
            second_null: row.get(21),
            later: row.get(10),
        },
        primary: row.get(9),
        constraint: row.get(11),
        referenced: row.get(12),
        valid: row.get(13),
        replica_identity: row.get(14),
        bytes: unsigned(row.get(15)),
        scans: unsigned(row.get(16)),
        definition: row.get(17),
        partition_of_index: row.get(18),
    };
    let plain: Option<Vec<String>> = index.keys.iter().map(|k| k.column.clone()).collect();
    if let Some(columns) = plain
        && index.unique
        && index.valid
        && index.predicate.is_none()
    {
        let key = Key {
            name: index
                .constraint
                .clone()
                .unwrap_or_else(|| index.name.name.clone()),
            columns,
            not_null: row.get::<_, Option<bool>>(20).unwrap_or(false),
            deferrable: row.get(10),
        };
        if index.primary {
            table.primary_key = Some(key);
        } else {
            table.unique_keys.push(key);
        }
    }
    table.index_bytes += index.bytes;
    table.indexes.push(index);
}

/// A partitioned table has no rows of its own: it gets the sum of its leaves.
fn sum_partitions(tables: &mut [Table]) {
    let places: HashMap<QualifiedName, usize> = tables
        .iter()
        .enumerate()
        .map(|(i, t)| (t.name.clone(), i))
        .collect();
    for leaf in 0..tables.len() {
        if tables[leaf].kind != TableKind::Partition {
            continue;
        }
        let (rows, bytes, index_bytes, activity) = {
            let t = &tables[leaf];
            (t.rows, t.bytes, t.index_bytes, t.activity)
        };
        // A partition has one parent; a tree is never deeper than it has tables.
        let mut at = leaf;
        for _ in 0..tables.len() {
            let Some(parent) = tables[at].parents.first().and_then(|p| places.get(p)) else {
                break;
            };
            at = *parent;
            let root = &mut tables[at];
            if let Some(rows) = rows {
                // Its own estimate counts the leaves already, when it has been analyzed.
                root.activity.live_rows += activity.live_rows;
                root.rows = Some(root.activity.live_rows.max(rows));
            }
            root.bytes += bytes;
            root.index_bytes += index_bytes;
            root.activity.inserts += activity.inserts;
            root.activity.updates += activity.updates;
            root.activity.deletes += activity.deletes;
            root.activity.sequential_scans += activity.sequential_scans;
            root.activity.index_scans += activity.index_scans;
        }
    }
}

/// Sequences are read as tables are, under ACCESS SHARE: `pg_sequences` would take a
/// stronger lock.
async fn sequences(client: &Client, schemas: &[String]) -> Result<Vec<Sequence>> {
    let rows = client
        .query(include_str!("catalog/sequences.sql"), &[&schemas])
        .await
        .context("reading the sequences of the catalog")?;
    let mut found = Vec::with_capacity(rows.len());
    let mut readable = Vec::new();
    for row in &rows {
        if row.get::<_, bool>(7) {
            readable.push(found.len());
        }
        let owner = row
            .get::<_, Option<String>>(4)
            .zip(row.get(5))
            .zip(row.get(6))
            .map(|((table, schema), column): ((String, String), String)| {
                (QualifiedName::new(schema, table), column)
            });
        found.push(Sequence {
            name: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            last_value: None,
            maximum: row.get(2),
            cycles: row.get(3),
            owner,
        });
    }
    for batch in readable.chunks(SEQUENCES_AT_ONCE) {
        let parts: Vec<_> = batch
            .iter()
            .map(|i| {
                let name = found[*i].name.sql();
                format!("select {i}::int8, case when is_called then last_value end from {name}")
            })
            .collect();
        // One that was dropped or locked meanwhile costs its batch's values, no more.
        let Ok(rows) = client.query(&parts.join(" union all "), &[]).await else {
            continue;
        };
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX);
            if let Some(sequence) = found.get_mut(place) {
                sequence.last_value = row.get(1);
            }
        }
    }
    Ok(found)
}

fn unreadable(database: &mut Database) {
    for table in &database.tables {
        let object = table.name.to_string();
        if !table.readable && table.is_designed() && !table.columns.is_empty() {
            database.unread.push(Unread {
                object,
                reason: "the role may not SELECT from it: only its catalog entry was looked at"
                    .to_owned(),
            });
        } else if table.row_security {
            database.unread.push(Unread {
                object,
                reason: "row level security hides rows from the role: its rows were not looked at"
                    .to_owned(),
            });
        }
    }
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A count that the server keeps as a float; negative means unknown.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of rows, checked to be positive"
)]
fn whole(estimate: f64) -> Option<u64> {
    (estimate >= 0.0).then_some(estimate as u64)
}
