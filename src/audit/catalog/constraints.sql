select k.conrelid, k.contype::text, k.conname::text, k.convalidated,
       (select array_agg(a.attname::text order by u.ord)
        from unnest(k.conkey) with ordinality as u (num, ord)
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num),
       n.nspname::text, r.relname::text,
       (select array_agg(a.attname::text order by u.ord)
        from unnest(k.confkey) with ordinality as u (num, ord)
        join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num),
       k.confdeltype::text, k.confupdtype::text,
       case when k.contype = 'c' then pg_get_constraintdef(k.oid) end,
       k.condeferrable,
       -- Columns that older servers do not have are missing in the JSON, and no error.
       coalesce((catalog.entry ->> 'conenforced')::boolean, true),
       -- Of a single column every MATCH is the same.
       concat_ws(' ', case when cardinality(k.conkey) > 1 then k.confmatchtype end, k.confdeltype,
                 k.confupdtype, catalog.entry ->> 'confdelsetcols', catalog.entry ->> 'conperiod'),
       k.condeferred
from pg_constraint k
cross join lateral (select to_jsonb(k.*)) catalog (entry)
left join pg_class r on r.oid = nullif(k.confrelid, 0)
left join pg_namespace n on n.oid = r.relnamespace
where k.conrelid = any($1::oid[]) and k.contype in ('f', 'c')
  -- The copies that partitions have follow their parent's.
  and k.conparentid = 0
order by k.conrelid, k.conname
