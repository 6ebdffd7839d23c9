-- Constraints of tables and domains. NOT NULL is one as well since 17 and 18, under a name
-- that says how it came about: a column that is renamed keeps it, one made anew does not.
-- It is known by its column.
select 'constraint' as kind,
       coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                quote_ident(tn.nspname) || '.' || quote_ident(t.typname))
           || '.' || case when k.contype = 'n' then concat(quote_ident(a.attname), ' not null')
                          else quote_ident(k.conname) end as name,
       p.property, p.value
from pg_catalog.pg_constraint k
left join pg_catalog.pg_class c on c.oid = k.conrelid
left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
left join pg_catalog.pg_type t on t.oid = k.contypid
left join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
cross join lateral (values
    ('definition', pg_catalog.pg_get_constraintdef(k.oid)),
    ('validated', case when not k.convalidated then 'no' end),
    ('inherited', case when not k.conislocal then 'yes' end),
    ('comment', pg_catalog.obj_description(k.oid, 'pg_constraint'))
) p (property, value)
where p.value is not null and k.contype <> 't'
  and (OWN(n) or OWN(tn))
  and not EXTENSION('pg_class', coalesce(c.oid, 0)) and not EXTENSION('pg_type', coalesce(t.oid, 0))
