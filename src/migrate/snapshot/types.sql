-- Enums, domains, ranges, composite types.
select case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'r' then 'range'
           else 'type' end as kind,
       quote_ident(n.nspname) || '.' || quote_ident(t.typname) as name, p.property, p.value
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
cross join lateral (values
    ('labels', (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                from pg_catalog.pg_enum e where e.enumtypid = t.oid)),
    ('base', case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) end),
    ('not null', case when t.typnotnull then 'yes' end),
    ('default', t.typdefault),
    ('subtype', (select r.rngsubtype::regtype::text from pg_catalog.pg_range r where r.rngtypid = t.oid)),
    ('attributes', case when t.typtype = 'c' then coalesce((select string_agg(
                       quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod),
                       ', ' order by a.attnum)
                   from pg_catalog.pg_attribute a
                   where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '') end),
    ('owner', pg_catalog.pg_get_userbyid(t.typowner)::text),
    ('privileges', (select string_agg(a::text, ', ' order by a::text) from unnest(t.typacl) a)),
    ('comment', pg_catalog.obj_description(t.oid, 'pg_type'))
) p (property, value)
where (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c')
  and p.value is not null and OWN(n) and not EXTENSION('pg_type', t.oid)
