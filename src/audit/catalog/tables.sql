-- Every relation that can be read like a table. Sizes come from relpages: the size
-- functions would wait for a table that somebody has locked.
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition,
       pg_get_userbyid(c.relowner)::text,
       obj_description(c.oid, 'pg_class'),
       case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
       case when c.relispartition then pg_get_expr(c.relpartbound, c.oid) end,
       exists (select from pg_depend d
               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'),
       has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select'),
       c.relrowsecurity and row_security_active(c.oid),
       c.reltuples::float8,
       (c.relpages::bigint + coalesce(t.relpages, 0)) * current_setting('block_size')::bigint,
       (select count(distinct r.ev_class) from pg_depend d
        join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and r.ev_class <> c.oid)
       + (select count(*) from pg_depend d
          where d.classid = 'pg_proc'::regclass and d.refclassid = 'pg_class'::regclass
            and d.refobjid = c.oid),
       coalesce(s.seq_scan, 0), coalesce(s.seq_tup_read, 0), coalesce(s.idx_scan, 0),
       coalesce(s.n_tup_ins, 0), coalesce(s.n_tup_upd, 0), coalesce(s.n_tup_hot_upd, 0),
       coalesce(s.n_tup_del, 0), coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_class t on t.oid = c.reltoastrelid
left join pg_stat_all_tables s on s.relid = c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'crossfade')
  and (cardinality($1::text[]) = 0 or n.nspname = any($1))
  and not c.oid = any($2::oid[])
order by n.nspname, c.relname
