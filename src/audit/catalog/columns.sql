-- Domains are seen through to the type that holds the value.
with recursive base (oid, type) as (
  select t.oid, t.oid from pg_type t where t.typtype <> 'd'
  union all
  select d.oid, b.type from base b join pg_type d on d.typbasetype = b.oid and d.typtype = 'd'
)
select a.attrelid, a.attnum, a.attname::text, a.atttypid,
       format_type(a.atttypid, a.atttypmod),
       case when b.type = a.atttypid then null else format_type(a.atttypid, null) end,
       t.typname::text, t.typtype::text, t.typcategory::text,
       case when t.typname in ('varchar', 'bpchar')
            then coalesce(nullif(a.atttypmod, -1), nullif(u.typtypmod, -1)) - 4 end,
       a.attnotnull or u.typnotnull,
       pg_get_expr(e.adbin, e.adrelid),
       a.attgenerated <> '', a.attidentity::text,
       col_description(a.attrelid, a.attnum),
       has_column_privilege(a.attrelid, a.attnum, 'select')
from pg_attribute a
join pg_type u on u.oid = a.atttypid
join base b on b.oid = a.atttypid
join pg_type t on t.oid = b.type
left join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
