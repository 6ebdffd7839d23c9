select a.attrelid, a.attname::text,
       case when a.attcollation <> t.typcollation
            then quote_ident(n.nspname) || '.' || quote_ident(co.collname) end,
       case when a.attstorage <> t.typstorage
            then case a.attstorage when 'p' then 'plain' when 'e' then 'external'
                 when 'm' then 'main' else 'extended' end end,
       case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end,
       case when a.attstattarget >= 0 then a.attstattarget::int end,
       coalesce(a.attoptions, '{}'),
       array(select sn.nspname::text from pg_depend d
             join pg_class s on s.oid = d.objid and s.relkind = 'S'
             join pg_namespace sn on sn.oid = s.relnamespace
             where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
               and d.refobjid = a.attrelid and d.refobjsubid = a.attnum and d.deptype = 'a'
             order by s.relname),
       array(select s.relname::text from pg_depend d
             join pg_class s on s.oid = d.objid and s.relkind = 'S'
             where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
               and d.refobjid = a.attrelid and d.refobjsubid = a.attnum and d.deptype = 'a'
             order by s.relname)
from pg_attribute a
join pg_type t on t.oid = a.atttypid
left join pg_collation co on co.oid = a.attcollation
left join pg_namespace n on n.oid = co.collnamespace
where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
