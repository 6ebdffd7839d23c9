-- Indexes, those of constraints too: their definition has what the constraint's lacks.
select 'index' as kind, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name,
       p.property, p.value
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_tablespace ts on ts.oid = c.reltablespace
cross join lateral (values
    ('definition', pg_catalog.pg_get_indexdef(i.indexrelid)),
    ('valid', case when not i.indisvalid then 'no' end),
    ('clustered', case when i.indisclustered then 'yes' end),
    ('tablespace', ts.spcname::text),
    ('statistics', (select string_agg(a.attnum || '=' || a.attstattarget, ', ' order by a.attnum)
                    from pg_catalog.pg_attribute a
                    where a.attrelid = c.oid and coalesce(a.attstattarget, -1) >= 0)),
    ('attached to', (select h.inhparent::regclass::text from pg_catalog.pg_inherits h
                     where h.inhrelid = c.oid)),
    ('comment', pg_catalog.obj_description(c.oid, 'pg_class'))
) p (property, value)
where p.value is not null and OWN(n) and not EXTENSION('pg_class', i.indrelid)
