//! What a database says about the tables that a migration touches: sizes, columns,
//! what is proven about them.

pub mod ties;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_postgres::Client;

use self::ties::Ties;
use super::lock::{Lock, Work};
use crate::error::Result;
use crate::sql::{Name, Operation, Statement};

/// Bytes a second that one session reads, from a disk like those of the clouds.
const READ: f64 = 250e6;
/// Bytes a second of table and indexes that a rewrite makes.
const WRITE: f64 = 60e6;
/// Rows a second that an index is built of.
const INDEXED: f64 = 800_000.0;
/// Rows a second that an UPDATE or DELETE changes, indexes included.
const CHANGED: f64 = 50_000.0;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// As `format_type` writes it.
    pub ty: String,
    pub not_null: bool,
}

/// A table that exists.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// An estimate; negative where the table was never analyzed.
    pub rows: f64,
    /// With TOAST, without indexes; of a partitioned table all partitions together.
    pub bytes: f64,
    pub index_bytes: f64,
    pub columns: BTreeMap<String, Column>,
    /// Definitions of its validated CHECK constraints.
    pub checks: Vec<String>,
    /// Name and definition of those that are still to be validated.
    pub unproven: Vec<(String, String)>,
}

impl Table {
    /// Whether SET NOT NULL need not read the rows: a valid CHECK says so already.
    #[must_use]
    pub fn proves_not_null(&self, column: &str) -> bool {
        if self.columns.get(column).is_some_and(|c| c.not_null) {
            return true;
        }
        let quoted = crate::pg::quote(column);
        self.checks.iter().any(|check| {
            let wanted = |name: &str| check.contains(&format!("({name} IS NOT NULL)"));
            wanted(column) || wanted(&quoted)
        })
    }

    /// `2.3 M rows, 812 MiB`.
    #[must_use]
    pub fn size(&self) -> String {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = (self.bytes + self.index_bytes).max(0.0) as u64;
        format!("{}, {}", count(self.rows), indicatif::HumanBytes(bytes))
    }
}

/// `12 rows`, `48 k rows`, `2.3 M rows`.
fn count(rows: f64) -> String {
    match rows {
        r if r < 0.0 => "an unknown number of rows".to_owned(),
        r if r < 10_000.0 => format!("{r:.0} rows"),
        r if r < 1e6 => format!("{:.0} k rows", r / 1e3),
        r => format!("{:.1} M rows", r / 1e6),
    }
}

/// What is known; empty where no database was asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    pub tables: Vec<Table>,
    /// Index to table.
    pub indexes: Vec<(Name, Name)>,
    pub ties: Ties,
    /// Schemas of the search path, in order.
    pub visible: Vec<String>,
    /// Whether a database was asked.
    pub known: bool,
}

impl Facts {
    /// The table a name stands for.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<&Table> {
        let of = |schema: &str| {
            self.tables
                .iter()
                .find(|t| t.schema == schema && t.name == name.name)
        };
        match &name.schema {
            Some(schema) => of(schema),
            None => self.visible.iter().find_map(|s| of(s)),
        }
    }

    #[must_use]
    pub fn table_of_index(&self, index: &Name) -> Option<Name> {
        self.indexes
            .iter()
            .find(|(i, _)| {
                i.name == index.name && (index.schema.is_none() || i.schema == index.schema)
            })
            .map(|(_, table)| table.clone())
    }

    /// How long a lock is likely to be held for its own statement, where the table is
    /// known; a rough figure from the rates above.
    #[must_use]
    pub fn held(&self, lock: &Lock) -> Option<Duration> {
        let table = self.find(&lock.table)?;
        let rows = table.rows.max(0.0);
        let seconds = match lock.work {
            Work::Instant => 0.0,
            Work::Scan => table.bytes / READ,
            Work::BuildIndex => table.bytes / READ + rows / INDEXED,
            Work::Rows => rows / CHANGED,
            Work::Rewrite => table.bytes / READ + (table.bytes + table.index_bytes) / WRITE,
        };
        Some(Duration::from_secs_f64(seconds.clamp(0.0, 1e7)))
    }

    /// What is known once the statement has run, as far as later ones need it: a column
    /// is there, a check is proven.
    pub fn after(&mut self, statement: &Statement) {
        for part in &statement.parts {
            match &part.operation {
                Operation::AddColumn { table, column } => {
                    if let Some(table) = self.find_mut(table) {
                        let new = Column {
                            ty: column.ty.clone(),
                            not_null: column.not_null,
                        };
                        table.columns.insert(column.name.clone(), new);
                    }
                }
                Operation::AddConstraint { table, constraint } => {
                    let words = constraint.definition.to_uppercase();
                    let definition = if words.contains(" IS NOT NULL") {
                        constraint
                            .definition
                            .replace(" is not null", " IS NOT NULL")
                    } else {
                        constraint.definition.clone()
                    };
                    if let Some(table) = self.find_mut(table) {
                        if constraint.not_valid {
                            let name = constraint.name.clone().unwrap_or_default();
                            table.unproven.push((name, definition));
                        } else {
                            table.checks.push(definition);
                        }
                    }
                }
                Operation::ValidateConstraint { table, constraint } => {
                    if let Some(table) = self.find_mut(table) {
                        let proven = table.unproven.iter().filter(|(name, _)| name == constraint);
                        let proven: Vec<String> = proven.map(|(_, d)| d.clone()).collect();
                        table.checks.extend(proven);
                    }
                }
                _ => {}
            }
        }
    }

    fn find_mut(&mut self, name: &Name) -> Option<&mut Table> {
        let (schema, table) = {
            let found = self.find(name)?;
            (found.schema.clone(), found.name.clone())
        };
        self.tables
            .iter_mut()
            .find(|t| t.schema == schema && t.name == table)
    }

    /// Asks for the tables that these statements name.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn gather<'a>(
        client: &Client,
        statements: impl Iterator<Item = &'a Statement>,
    ) -> Result<Self> {
        let mut names = BTreeSet::new();
        for part in statements.flat_map(|s| &s.parts) {
            names.extend(relations(&part.operation));
        }
        let names: Vec<String> = names.iter().map(Name::sql).collect();
        let mut facts = Self {
            known: true,
            ..Self::default()
        };
        let schemas = client
            .query_one("select current_schemas(false)::text[]", &[])
            .await?;
        facts.visible = schemas.get(0);
        facts.ties = Ties::gather(client, &names).await?;
        for row in client.query(INDEXES, &[&names]).await? {
            let name = |at: usize| Name {
                schema: Some(row.get(at)),
                name: row.get(at + 1),
            };
            facts.indexes.push((name(0), name(2)));
        }
        for row in client.query(TABLES, &[&names]).await? {
            facts.tables.push(Table {
                schema: row.get(0),
                name: row.get(1),
                rows: row.get(2),
                bytes: row.get(3),
                index_bytes: row.get(4),
                columns: row
                    .get::<_, Vec<String>>(5)
                    .into_iter()
                    .zip(row.get::<_, Vec<String>>(6))
                    .zip(row.get::<_, Vec<bool>>(7))
                    .map(|((name, ty), not_null)| (name, Column { ty, not_null }))
                    .collect(),
                checks: row.get(8),
                unproven: Vec::new(),
            });
        }
        Ok(facts)
    }
}

const INDEXES: &str = "
select n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text
from unnest($1::text[]) as asked (name)
join pg_catalog.pg_class c on c.oid = to_regclass(asked.name)
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_index i on i.indexrelid = c.oid
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace";

/// Sizes of a partitioned table are those of its partitions, and an index stands for its
/// table.
const TABLES: &str = "
with asked as (
    select distinct coalesce(i.indrelid, c.oid) as oid
    from unnest($1::text[]) as asked (name)
    join pg_catalog.pg_class c on c.oid = to_regclass(asked.name)
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
)
select n.nspname::text, c.relname::text, size.rows, size.bytes, size.index_bytes,
       coalesce(col.names, '{}'), coalesce(col.types, '{}'), coalesce(col.not_null, '{}'),
       array(select pg_catalog.pg_get_constraintdef(k.oid) from pg_catalog.pg_constraint k
             where k.conrelid = c.oid and k.contype = 'c' and k.convalidated)
from asked
join pg_catalog.pg_class c on c.oid = asked.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select coalesce(sum(p.reltuples), 0)::float8 as rows,
           coalesce(sum(pg_catalog.pg_table_size(p.oid)), 0)::float8 as bytes,
           coalesce(sum(pg_catalog.pg_indexes_size(p.oid)), 0)::float8 as index_bytes
    from pg_catalog.pg_class p
    where p.oid = c.oid and c.relkind <> 'p'
       or p.oid in (select relid from pg_catalog.pg_partition_tree(c.oid) where isleaf)
          and c.relkind = 'p'
) size
cross join lateral (
    select array_agg(a.attname::text) as names,
           array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod)) as types,
           array_agg(a.attnotnull) as not_null
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) col
where c.relkind in ('r', 'p', 'm', 'f', 'v')";

/// The relations that an operation names.
fn relations(operation: &Operation) -> Vec<Name> {
    use Operation as O;
    match operation {
        O::AddColumn { table, .. }
        | O::DropColumn { table, .. }
        | O::RenameColumn { table, .. }
        | O::AlterType { table, .. }
        | O::SetNotNull { table, .. }
        | O::DropNotNull { table, .. }
        | O::SetDefault { table, .. }
        | O::SetStatistics { table }
        | O::ValidateConstraint { table, .. }
        | O::DropConstraint { table, .. }
        | O::Rewrite { table, .. }
        | O::SetOptions { table }
        | O::Trigger { table, .. }
        | O::AlterTable { table }
        | O::CreateIndex { table, .. }
        | O::Policy { table, .. }
        | O::Write { table, .. } => vec![table.clone()],
        O::AddConstraint { table, constraint } => std::iter::once(table.clone())
            .chain(constraint.references.clone())
            .collect(),
        O::CreateTable {
            columns,
            constraints,
            partition_of,
            ..
        } => columns
            .iter()
            .flat_map(|c| &c.constraints)
            .chain(constraints)
            .filter_map(|c| c.references.clone())
            .chain(partition_of.clone())
            .collect(),
        O::AttachPartition { table, partition }
        | O::DetachPartition {
            table, partition, ..
        } => {
            vec![table.clone(), partition.clone()]
        }
        O::DropIndex { index: name, .. }
        | O::Reindex { target: name, .. }
        | O::Drop { name, .. }
        | O::Rename { from: name, .. }
        | O::SetSchema { name, .. }
        | O::Refresh { view: name, .. } => vec![name.clone()],
        O::Truncate { tables } | O::LockTable { tables, .. } => tables.clone(),
        O::Repack { table } | O::Vacuum { table } => table.iter().cloned().collect(),
        _ => Vec::new(),
    }
}
