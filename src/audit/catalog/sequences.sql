select n.nspname::text, c.relname::text, s.seqmax, s.seqcycle, t.relname::text, tn.nspname::text,
       a.attname::text,
       has_schema_privilege(n.oid, 'usage') and has_sequence_privilege(c.oid, 'select')
from pg_sequence s
join pg_class c on c.oid = s.seqrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
  and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
left join pg_class t on t.oid = d.refobjid
left join pg_namespace tn on tn.oid = t.relnamespace
left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'crossfade')
  and (cardinality($1::text[]) = 0 or n.nspname = any($1))
order by n.nspname, c.relname
