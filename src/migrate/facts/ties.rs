//! Tables that hang together: by foreign keys, and as partitions of one table. A statement
//! about one of them may lock the others, which it does not name.

use tokio_postgres::Client;

use crate::error::Result;
use crate::sql::Name;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub table: Name,
    pub columns: Vec<String>,
    pub references: Name,
    pub referenced: Vec<String>,
    /// The primary key or unique constraint that it relies on.
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub table: Name,
    pub of: Name,
    /// Takes the rows that fit into no other.
    pub is_default: bool,
}

/// What the tables that were asked for hang together with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ties {
    pub foreign_keys: Vec<ForeignKey>,
    /// Those that were asked for, and the default partitions beside and below them.
    pub partitions: Vec<Partition>,
}

impl Ties {
    /// Asks for those of tables, whose names are quoted where they must be.
    pub(super) async fn gather(client: &Client, names: &[String]) -> Result<Self> {
        let mut ties = Self::default();
        let name = |row: &tokio_postgres::Row, at: usize| Name {
            schema: Some(row.get(at)),
            name: row.get(at + 1),
        };
        for row in &client.query(FOREIGN_KEYS, &[&names]).await? {
            ties.foreign_keys.push(ForeignKey {
                name: row.get(0),
                table: name(row, 1),
                columns: row.get(3),
                references: name(row, 4),
                referenced: row.get(6),
                key: row.get(7),
            });
        }
        for row in &client.query(PARTITIONS, &[&names]).await? {
            ties.partitions.push(Partition {
                table: name(row, 0),
                of: name(row, 2),
                is_default: row.get(4),
            });
        }
        Ok(ties)
    }
}

const FOREIGN_KEYS: &str = "
with asked as (select to_regclass(a.name)::oid as oid from unnest($1::text[]) as a (name))
select k.conname::text, tn.nspname::text, t.relname::text,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = k.conrelid and a.attnum = any (k.conkey)),
       rn.nspname::text, r.relname::text,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = k.confrelid and a.attnum = any (k.confkey)),
       i.relname::text
from pg_catalog.pg_constraint k
join pg_catalog.pg_class t on t.oid = k.conrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_class r on r.oid = k.confrelid
join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
left join pg_catalog.pg_class i on i.oid = k.conindid
where k.contype = 'f'
  and (k.conrelid in (select oid from asked) or k.confrelid in (select oid from asked))
order by k.conname, k.oid";

const PARTITIONS: &str = "
with asked as (select to_regclass(a.name)::oid as oid from unnest($1::text[]) as a (name)),
above as (
    select oid from asked
    union
    select h.inhparent from pg_catalog.pg_inherits h join asked on asked.oid = h.inhrelid
)
select n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, t.partdefid = c.oid
from pg_catalog.pg_inherits h
join pg_catalog.pg_partitioned_table t on t.partrelid = h.inhparent
join pg_catalog.pg_class c on c.oid = h.inhrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class p on p.oid = h.inhparent
join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
where c.oid in (select oid from asked)
   or t.partdefid = c.oid and p.oid in (select oid from above)";
