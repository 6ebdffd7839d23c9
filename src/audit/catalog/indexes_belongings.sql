select i.indrelid, x.relname::text, obj_description(i.indexrelid, 'pg_class'), ts.spcname::text,
       i.indisclustered, pn.nspname::text, p.relname::text,
       array(select a.attnum from pg_attribute a
             where a.attrelid = i.indexrelid and a.attstattarget >= 0 order by a.attnum),
       array(select a.attstattarget::int from pg_attribute a
             where a.attrelid = i.indexrelid and a.attstattarget >= 0 order by a.attnum),
       array(select a.attname::text from pg_attribute a
             where a.attrelid = i.indrelid and a.attnum > 0
               and (a.attnum = any(i.indkey::int2[]) or exists (
                 select from pg_depend d
                 where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                   and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid
                   and d.refobjsubid = a.attnum))
             order by a.attnum)
from pg_index i
join pg_class x on x.oid = i.indexrelid
left join pg_tablespace ts on ts.oid = x.reltablespace
left join pg_inherits h on h.inhrelid = i.indexrelid
left join pg_class p on p.oid = h.inhparent
left join pg_namespace pn on pn.oid = p.relnamespace
where i.indrelid = any($1::oid[])
