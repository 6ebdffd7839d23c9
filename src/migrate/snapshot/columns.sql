-- Columns: their place among those that are left, type, default, and everything else.
select 'column' as kind,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname) as name,
       p.property, p.value
from (select a.*, row_number() over (partition by attrelid order by attnum) as place
      from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped) a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join pg_catalog.pg_collation co on co.oid = a.attcollation and a.attcollation <> t.typcollation
cross join lateral (values
    ('place', lpad(a.place::text, 4, '0')),
    ('type', pg_catalog.format_type(a.atttypid, a.atttypmod)),
    ('not null', case when a.attnotnull then 'yes' end),
    (case when a.attgenerated = '' then 'default' else 'generated' end,
        pg_catalog.pg_get_expr(d.adbin, d.adrelid)),
    ('identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end),
    ('collation', co.collname::text),
    ('storage', case when a.attstorage <> t.typstorage then a.attstorage::text end),
    ('compression', nullif(a.attcompression::text, '')),
    ('statistics', case when coalesce(a.attstattarget, -1) >= 0 then a.attstattarget::text end),
    ('options', (select string_agg(o, ', ' order by o) from unnest(a.attoptions) o)),
    ('foreign options', (select string_agg(o, ', ' order by o) from unnest(a.attfdwoptions) o)),
    ('privileges', (select string_agg(x::text, ', ' order by x::text) from unnest(a.attacl) x)),
    ('inherited', case when not a.attislocal then 'yes' end),
    ('comment', pg_catalog.col_description(c.oid, a.attnum))
) p (property, value)
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and p.value is not null
  and OWN(n) and not EXTENSION('pg_class', c.oid)
