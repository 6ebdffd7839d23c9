//! The tables of a query, made again on another server.
//!
//! Only what the planner and the query look at is made: columns, partitions, keys,
//! indexes, statistics, views, and the types and functions beneath them. Defaults,
//! triggers, checks, policies and owners stay behind.

use tokio_postgres::Client;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};

/// A table and how its rows are copied.
#[derive(Debug)]
pub struct Table {
    pub name: QualifiedName,
    create: String,
    /// Columns that can be written, quoted.
    pub written: Vec<String>,
    pub bytes: f64,
    /// False for partitioned tables.
    pub has_rows: bool,
    pub can_sample: bool,
}

/// Statements that make everything, in order.
#[derive(Debug)]
pub struct Schema {
    /// May fail without harm: what needs them fails later, by name.
    before: Vec<String>,
    /// Parents before partitions.
    pub tables: Vec<Table>,
    /// Once the rows are there: keys and indexes.
    after: Vec<String>,
    /// Foreign keys, statistics objects, views.
    last: Vec<String>,
    notes: Vec<String>,
}

impl Schema {
    /// Reads what makes these relations, which may be tables and views.
    pub async fn read(from: &Client, relations: &[u32]) -> Result<Self> {
        let context = "reading the schema to copy";
        let mut schema = Self {
            before: Vec::new(),
            tables: Vec::new(),
            after: Vec::new(),
            last: Vec::new(),
            notes: Vec::new(),
        };
        for sql in [SCHEMAS, EXTENSIONS, COLLATIONS, TYPES, FUNCTIONS] {
            schema
                .before
                .extend(texts(from, sql, None).await.context(context)?);
        }
        for row in from.query(TABLES, &[&relations]).await.context(context)? {
            let name = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let kind: String = row.get(2);
            let create = match row.get::<_, Option<String>>(4) {
                Some(bound) => {
                    let parent =
                        QualifiedName::new(row.get::<_, String>(5), row.get::<_, String>(6));
                    let by = partition_by(row.get(7));
                    format!(
                        "create table {} partition of {} {bound}{by}",
                        name.sql(),
                        parent.sql()
                    )
                }
                None => format!(
                    "create table {} ({}){}",
                    name.sql(),
                    row.get::<_, String>(3),
                    partition_by(row.get(7))
                ),
            };
            if kind == "f" {
                schema
                    .notes
                    .push(format!("the foreign table {name} is an ordinary one there"));
            }
            if row.get(10) {
                schema
                    .notes
                    .push(format!("the row policies of {name} are not there"));
            }
            schema.tables.push(Table {
                name,
                create,
                written: row
                    .get::<_, Vec<String>>(8)
                    .iter()
                    .map(|c| quote(c))
                    .collect(),
                bytes: row.get(9),
                has_rows: kind != "p",
                can_sample: matches!(kind.as_str(), "r" | "m"),
            });
        }
        for sql in [KEYS, INDEXES] {
            schema
                .after
                .extend(texts(from, sql, Some(relations)).await.context(context)?);
        }
        for sql in [STATISTICS, FOREIGN_KEYS, VIEWS] {
            schema
                .last
                .extend(texts(from, sql, Some(relations)).await.context(context)?);
        }
        Ok(schema)
    }

    /// Makes the empty tables. Returns what a reader of the results should know.
    pub async fn create(&self, to: &Client) -> Result<Vec<String>> {
        to.batch_execute("set check_function_bodies = off").await?;
        // What one of them needs may come later in the list: two rounds.
        let mut failed: Vec<&String> = self.before.iter().collect();
        for _ in 0..2 {
            failed = attempt(to, failed).await;
        }
        for table in &self.tables {
            to.batch_execute(&table.create)
                .await
                .context(format!("making a copy of {}", table.name))?;
        }
        attempt(to, failed).await;
        Ok(self.notes.clone())
    }

    /// Keys, indexes and views, then statistics and the visibility map.
    pub async fn finish(&self, to: &Client) -> Result<Vec<String>> {
        to.batch_execute("set maintenance_work_mem = '256MB'")
            .await?;
        let mut notes = Vec::new();
        for statement in attempt(to, self.after.iter().collect()).await {
            notes.push(format!("could not be made there: {statement}"));
        }
        let mut failed: Vec<&String> = self.last.iter().collect();
        while !failed.is_empty() {
            let before = failed.len();
            failed = attempt(to, failed).await;
            if failed.len() == before {
                break;
            }
        }
        for table in &self.tables {
            let verb = if table.has_rows {
                "vacuum (analyze)"
            } else {
                "analyze"
            };
            to.batch_execute(&format!("{verb} {}", table.name.sql()))
                .await
                .context(format!("analyzing the copy of {}", table.name))?;
        }
        to.batch_execute("checkpoint").await?;
        Ok(notes)
    }
}

fn partition_by(key: Option<String>) -> String {
    key.map_or_else(String::new, |key| format!(" partition by {key}"))
}

/// Executes each by itself; those that fail come back.
async fn attempt<'a>(to: &Client, statements: Vec<&'a String>) -> Vec<&'a String> {
    let mut failed = Vec::new();
    for statement in statements {
        if to.batch_execute(statement).await.is_err() {
            failed.push(statement);
        }
    }
    failed
}

async fn texts(from: &Client, sql: &str, relations: Option<&[u32]>) -> Result<Vec<String>> {
    let rows = match &relations {
        Some(relations) => from.query(sql, &[relations]).await?,
        None => from.query(sql, &[]).await?,
    };
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const SCHEMAS: &str = "
select format('create schema if not exists %I', nspname) from pg_namespace
where nspname not like 'pg\\_%' and nspname <> 'information_schema' order by oid";

const EXTENSIONS: &str = "
select format('create extension if not exists %I schema %I', e.extname, n.nspname)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname not in ('plpgsql', 'hypopg') order by e.oid";

/// Collations that somebody has made. Where a catalog keeps the locale differs by version.
const COLLATIONS: &str = "
select format('create collation %I.%I (%s)', n.nspname, c.collname, concat_ws(', ',
         case c.collprovider when 'i' then 'provider = icu' when 'b' then 'provider = builtin' else 'provider = libc' end,
         case when c.collprovider = 'c' then format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype)
              else format('locale = %L', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate)) end,
         case when not c.collisdeterministic then 'deterministic = false' end,
         'rules = ' || quote_literal(to_jsonb(c) ->> 'collicurules')))
from pg_collation c join pg_namespace n on n.oid = c.collnamespace
where c.oid >= 16384 and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_collation'::regclass and d.deptype = 'e')
order by c.oid";

/// Enums, domains and composites that no extension brings.
const TYPES: &str = "
select case t.typtype
         when 'e' then format('create type %I.%I as enum (%s)', n.nspname, t.typname,
              (select string_agg(quote_literal(l.enumlabel), ', ' order by l.enumsortorder) from pg_enum l where l.enumtypid = t.oid))
         when 'd' then format('create domain %I.%I as %s%s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod),
              (select format(' collate %I.%I', cn.nspname, co.collname)
               from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace join pg_type b on b.oid = t.typbasetype
               where co.oid = t.typcollation and t.typcollation <> b.typcollation))
         else format('create type %I.%I as (%s)', n.nspname, t.typname,
              (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
               from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))
       end
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
where (t.typtype in ('e', 'd') or t.typtype = 'c' and c.relkind = 'c') and t.oid >= 16384
  and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.objid = t.oid and d.classid = 'pg_type'::regclass and d.deptype = 'e')
order by t.oid";

const FUNCTIONS: &str = "
select pg_get_functiondef(p.oid)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prokind = 'f' and p.oid >= 16384 and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and not exists (select from pg_depend d where d.objid = p.oid and d.classid = 'pg_proc'::regclass and d.deptype = 'e')
order by p.oid";

const TABLES: &str = "
select n.nspname::text, c.relname::text, c.relkind::text,
       (select string_agg(format('%I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                 case when a.attcollation <> t.typcollation and a.attcollation <> 0
                      then format(' collate %I.%I', cn.nspname, co.collname) end,
                 case when a.attgenerated = 's' then format(' generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid)) end,
                 case when a.attnotnull then ' not null' end), ', ' order by a.attnum)
        from pg_attribute a
        join pg_type t on t.oid = a.atttypid
        left join pg_collation co on co.oid = a.attcollation
        left join pg_namespace cn on cn.oid = co.collnamespace
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
       case when c.relispartition then pg_get_expr(c.relpartbound, c.oid) end,
       pn.nspname::text, pc.relname::text,
       case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and a.attgenerated = '' order by a.attnum),
       case when c.relkind = 'p' then 0 else pg_table_size(c.oid) end::float8,
       c.relrowsecurity,
       (select count(*) from pg_partition_ancestors(c.oid)) as depth
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
left join pg_class pc on pc.oid = i.inhparent
left join pg_namespace pn on pn.oid = pc.relnamespace
where c.oid = any($1) and c.relkind in ('r', 'p', 'm', 'f')
order by depth, c.oid";

/// Keys of whole tables; those of partitions come with them.
const KEYS: &str = "
select format('alter table %s add constraint %I %s', x.conrelid::regclass, x.conname, pg_get_constraintdef(x.oid))
from pg_constraint x join pg_class c on c.oid = x.conrelid
where x.conrelid = any($1) and x.contype in ('p', 'u', 'x') and x.conparentid = 0 and c.relkind in ('r', 'p')
order by x.contype, x.oid";

const INDEXES: &str = "
select regexp_replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any($1) and i.indisvalid and not c.relispartition
  and not exists (select from pg_constraint x where x.conindid = i.indexrelid and x.contype in ('p', 'u', 'x'))
order by i.indexrelid";

const STATISTICS: &str = "
select pg_get_statisticsobjdef(oid) from pg_statistic_ext where stxrelid = any($1) order by oid";

/// The planner counts on them; NOT VALID, since the copies are not of one moment.
const FOREIGN_KEYS: &str = "
select format('alter table %s add constraint %I %s%s', x.conrelid::regclass, x.conname, pg_get_constraintdef(x.oid),
              case when x.convalidated then ' not valid' else '' end)
from pg_constraint x join pg_class c on c.oid = x.conrelid
where x.contype = 'f' and x.conrelid = any($1) and x.confrelid = any($1) and x.conparentid = 0 and c.relkind = 'r'
order by x.oid";

const VIEWS: &str = "
select format('create view %s as %s', c.oid::regclass, pg_get_viewdef(c.oid))
from pg_class c where c.oid = any($1) and c.relkind = 'v' order by c.oid";
