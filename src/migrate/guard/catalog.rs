//! What the catalog knows to depend on a column, a table or a routine.

use tokio_postgres::Client;

use super::Loss;
use crate::error::Result;
use crate::pg::QualifiedName;
use crate::sql::Name;
use crate::sql::reference::Target;

/// The relation that a name stands for.
pub(super) async fn relation(client: &Client, name: &Name) -> Result<Option<(u32, QualifiedName)>> {
    let row = client
        .query_opt(
            "select c.oid, n.nspname::text, c.relname::text from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where c.oid = to_regclass($1)",
            &[&name.sql()],
        )
        .await?;
    Ok(row.map(|row| {
        let name = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        (row.get(0), name)
    }))
}

/// A column's table, number and the table's full name; then those of the partitions and
/// children that have it from there and lose it with it.
pub(super) async fn column(
    client: &Client,
    table: &Name,
    column: &str,
    renamed: bool,
) -> Result<Vec<(u32, i16, QualifiedName)>> {
    let Some((oid, _)) = relation(client, table).await? else {
        return Ok(Vec::new());
    };
    let rows = client
        .query(
            "with recursive heirs as (
                 select $1::oid as oid
                 union
                 select i.inhrelid from heirs h join pg_catalog.pg_inherits i on i.inhparent = h.oid
             )
             select c.oid, a.attnum, n.nspname::text, c.relname::text
             from heirs h
             join pg_catalog.pg_class c on c.oid = h.oid
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = $2
                  and a.attnum > 0 and not a.attisdropped
             where c.oid = $1 or a.attinhcount > 0 and ($3 or not a.attislocal)
             order by c.oid <> $1, 3, 4",
            &[&oid, &column, &renamed],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let name = QualifiedName::new(row.get::<_, String>(2), row.get::<_, String>(3));
            (row.get(0), row.get(1), name)
        })
        .collect())
}

/// The names of all columns of a relation.
pub(super) async fn columns(client: &Client, oid: u32) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select attname::text from pg_catalog.pg_attribute
             where attrelid = $1 and attnum > 0 and not attisdropped order by attnum",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Every routine that a name may stand for; its arguments are not looked at.
pub(super) async fn routines(
    client: &Client,
    name: &Name,
    renamed: bool,
    at: usize,
) -> Result<Vec<Loss>> {
    let rows = client
        .query(
            "select p.oid, n.nspname::text, p.proname::text from pg_catalog.pg_proc p
             join pg_catalog.pg_namespace n on n.oid = p.pronamespace
             where p.proname = $2
               and case when $1::text is null then n.nspname = any (current_schemas(false))
                        else n.nspname = $1 end",
            &[&name.schema, &name.name],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Loss {
            target: Target::Routine {
                schema: row.get(1),
                name: row.get(2),
            },
            renamed,
            oid: row.get(0),
            number: 0,
            at,
        })
        .collect())
}

/// Everything in a schema that goes with it.
pub(super) async fn schema(client: &Client, schema: &str, at: usize) -> Result<Vec<Loss>> {
    let rows = client
        .query(
            "select c.oid, n.nspname::text, c.relname::text, true from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f')
             union all
             select p.oid, n.nspname::text, p.proname::text, false from pg_catalog.pg_proc p
             join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = $1",
            &[&schema],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (schema, name) = (row.get(1), row.get(2));
            Loss {
                target: if row.get(3) {
                    Target::Table { schema, name }
                } else {
                    Target::Routine { schema, name }
                },
                renamed: false,
                oid: row.get(0),
                number: 0,
                at,
            }
        })
        .collect())
}

/// Schemas in which an unqualified name is looked for: the search path, those of any
/// role's or database's own setting, and the target's where the name is nowhere else.
pub(super) async fn visible(client: &Client, target: &Target) -> Result<Vec<String>> {
    let (schema, name, routine) = match target {
        Target::Table { schema, name } => (schema, name, false),
        Target::Column { schema, table, .. } => (schema, table, false),
        Target::Routine { schema, name } => (schema, name, true),
    };
    let row = client
        .query_one(
            r#"select array(
                 select unnest(current_schemas(false))::text
                 union
                 select btrim(part, ' "') from pg_catalog.pg_db_role_setting s,
                     unnest(s.setconfig) c, regexp_split_to_table(split_part(c, '=', 2), ',') part
                 where c like 'search_path=%'
                 union
                 select $1::text where 1 = case when $3 then
                     (select count(distinct p.pronamespace) from pg_catalog.pg_proc p where p.proname = $2)
                     else (select count(*) from pg_catalog.pg_class c
                           where c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')) end)"#,
            &[&schema, &name, &routine],
        )
        .await?;
    Ok(row.get(0))
}

/// What depends on it: `kind:identity` and why.
pub(super) async fn dependents(client: &Client, loss: &Loss) -> Result<Vec<(String, String)>> {
    let sql = match loss.target {
        Target::Column { .. } => COLUMN,
        Target::Table { .. } => TABLE,
        Target::Routine { .. } => ROUTINE,
    };
    let number = i32::from(loss.number);
    let rows = match loss.target {
        Target::Column { .. } => client.query(sql, &[&loss.oid, &number]).await?,
        _ => client.query(sql, &[&loss.oid]).await?,
    };
    Ok(rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect())
}

/// Beside what belongs to the column alone (its default, its own index and check) which
/// everybody expects to go with it. What a partition or child has from its parent is told
/// of the parent.
const COLUMN: &str = r"
with depends as (
    select distinct d.classid, d.objid, d.objsubid, d.deptype from pg_catalog.pg_depend d
    where d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.refobjsubid = $2
)
select case c.relkind when 'm' then 'materialized_view:' else 'view:' end
           || quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name,
       'reads it' as why
from depends d
join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
join pg_catalog.pg_class c on c.oid = r.ev_class
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union
select 'constraint:' || (k.conrelid::regclass)::text || '.' || quote_ident(k.conname),
       case when k.confrelid = $1 then 'refers to it: ' else 'would vanish with it: ' end
           || pg_catalog.pg_get_constraintdef(k.oid)
from depends d
join pg_catalog.pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
where k.coninhcount = 0 and k.conparentid = 0 and (k.conrelid <> $1 or k.contype <> 'n' and k.conkey <> array[$2::int2])
union
select 'index:' || i.indexrelid::regclass::text,
       'would vanish with it: ' || pg_catalog.pg_get_indexdef(i.indexrelid)
from pg_catalog.pg_index i
where i.indrelid = $1
  and not exists (select from pg_catalog.pg_inherits h where h.inhrelid = i.indexrelid)
  and exists (select from depends d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid)
  and (i.indpred is not null or i.indexprs is not null or i.indnatts > 1)
  and not exists (select from pg_catalog.pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
union
select 'constraint:' || (k.conrelid::regclass)::text || '.' || quote_ident(k.conname),
       'would vanish with it: ' || pg_catalog.pg_get_constraintdef(k.oid)
from pg_catalog.pg_constraint k
where k.conrelid = $1 and k.contype in ('p', 'u', 'x') and $2::int2 = any (k.conkey)
  and k.coninhcount = 0
  and cardinality(k.conkey) > 1
union
select 'trigger:' || (t.tgrelid::regclass)::text || '.' || quote_ident(t.tgname), 'fires on it'
from depends d
join pg_catalog.pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
where not t.tgisinternal and t.tgparentid = 0
union
select 'policy:' || (p.polrelid::regclass)::text || '.' || quote_ident(p.polname), 'decides by it'
from depends d
join pg_catalog.pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
union
select 'column:' || (a.attrelid::regclass)::text || '.' || quote_ident(a.attname), 'is generated from it'
from depends d
join pg_catalog.pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
join pg_catalog.pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
where not (a.attrelid = $1 and a.attnum = $2) and a.attgenerated <> '' and a.attinhcount = 0
union
select 'column:' || (a.attrelid::regclass)::text || '.' || quote_ident(a.attname), 'is generated from it'
from depends d
join pg_catalog.pg_attribute a on d.classid = 'pg_class'::regclass and a.attrelid = d.objid
     and a.attnum = d.objsubid
where a.attgenerated <> '' and not (a.attrelid = $1 and a.attnum = $2) and a.attinhcount = 0
union
select 'routine:' || d.objid::regprocedure::text, 'uses it in its body'
from depends d where d.classid = 'pg_proc'::regclass
union
select 'statistics:' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname), 'would vanish with it'
from depends d
join pg_catalog.pg_statistic_ext s on d.classid = 'pg_statistic_ext'::regclass and s.oid = d.objid
join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
union
select 'publication:' || quote_ident(p.pubname), 'publishes it in a column list'
from pg_catalog.pg_publication_rel r
join pg_catalog.pg_publication p on p.oid = r.prpubid
where r.prrelid = $1 and $2::text = any (string_to_array(translate(to_jsonb(r) ->> 'prattrs', '[],', ''), ' '))
union
select 'publication:' || quote_ident(p.pubname), 'filters rows by it'
from depends d
join pg_catalog.pg_publication_rel r on d.classid = 'pg_publication_rel'::regclass and r.oid = d.objid
join pg_catalog.pg_publication p on p.oid = r.prpubid
where not $2::text = any (coalesce(string_to_array(translate(to_jsonb(r) ->> 'prattrs', '[],', ''), ' '), '{}'))
order by 1";

/// What is not part of the table itself.
const TABLE: &str = r"
with row_type as (select reltype as oid from pg_catalog.pg_class where oid = $1),
depends as (
    select distinct d.classid, d.objid from pg_catalog.pg_depend d
    where d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       or d.refclassid = 'pg_type'::regclass
          and d.refobjid in (select oid from row_type union
                             select typarray from pg_catalog.pg_type where oid in (select oid from row_type))
)
select case c.relkind when 'm' then 'materialized_view:' else 'view:' end
           || quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name,
       'reads it' as why
from depends d
join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
join pg_catalog.pg_class c on c.oid = r.ev_class and c.oid <> $1
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union
select 'constraint:' || (k.conrelid::regclass)::text || '.' || quote_ident(k.conname),
       'refers to it: ' || pg_catalog.pg_get_constraintdef(k.oid)
from pg_catalog.pg_constraint k
where k.confrelid = $1 and k.conrelid <> $1 and k.conparentid = 0
union
select 'routine:' || d.objid::regprocedure::text, 'uses it in its body or arguments'
from depends d where d.classid = 'pg_proc'::regclass
union
select 'table:' || h.inhrelid::regclass::text,
       case when c.relispartition then 'is a partition of it and would go with it' else 'inherits from it' end
from pg_catalog.pg_inherits h join pg_catalog.pg_class c on c.oid = h.inhrelid
where h.inhparent = $1
union
select 'policy:' || (p.polrelid::regclass)::text || '.' || quote_ident(p.polname), 'asks it'
from depends d
join pg_catalog.pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid and p.polrelid <> $1
union
select 'publication:' || quote_ident(p.pubname), 'publishes it'
from pg_catalog.pg_publication_rel r
join pg_catalog.pg_publication p on p.oid = r.prpubid where r.prrelid = $1
union
select 'column:' || (a.attrelid::regclass)::text || '.' || quote_ident(a.attname), 'has its row type'
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'm')
where a.attrelid <> $1 and not a.attisdropped
  and a.atttypid in (select oid from row_type where oid <> 0 union
                     select typarray from pg_catalog.pg_type
                     where oid in (select oid from row_type where oid <> 0))
order by 1";

const ROUTINE: &str = r"
with depends as (
    select distinct d.classid, d.objid, d.objsubid from pg_catalog.pg_depend d
    where d.refclassid = 'pg_proc'::regclass and d.refobjid = $1 and d.deptype in ('n', 'a')
)
select case i.type when 'rule' then case c.relkind when 'm' then 'materialized_view:' else 'view:' end
                                     || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
       when 'function' then 'routine:' || i.identity
       when 'procedure' then 'routine:' || i.identity
       when 'default value' then 'default:' || replace(i.identity, 'for ', '')
       when 'table constraint' then 'constraint:' || (k.conrelid::regclass)::text || '.' || quote_ident(k.conname)
       when 'trigger' then 'trigger:' || (t.tgrelid::regclass)::text || '.' || quote_ident(t.tgname)
       else replace(i.type, ' ', '_') || ':' || i.identity end as name,
       'calls it' as why
from depends d
cross join lateral pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
left join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_catalog.pg_class c on c.oid = r.ev_class
left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
left join pg_catalog.pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
order by 1";
