-- Tables, views, sequences and foreign tables: kind, name, property, value.
select case c.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'
           when 'm' then 'materialized view' when 'f' then 'foreign table'
           when 'S' then 'sequence' end as kind,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name,
       p.property, p.value
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_am am on am.oid = c.relam
left join pg_catalog.pg_tablespace ts on ts.oid = c.reltablespace
cross join lateral (values
    ('exists', case c.relkind when 'p' then 'partitioned' else 'yes' end),
    ('owner', pg_catalog.pg_get_userbyid(c.relowner)::text),
    ('persistence', case c.relpersistence when 'p' then null else c.relpersistence::text end),
    ('access method', case when am.amname <> 'heap' then am.amname::text end),
    ('tablespace', ts.spcname::text),
    ('options', (select string_agg(o, ', ' order by o) from unnest(c.reloptions) o)),
    ('toast options', (select string_agg(o, ', ' order by o)
                  from pg_catalog.pg_class x, unnest(x.reloptions) o where x.oid = c.reltoastrelid)),
    ('privileges', (select string_agg(a::text, ', ' order by a::text) from unnest(c.relacl) a)),
    ('comment', pg_catalog.obj_description(c.oid, 'pg_class')),
    ('row security', case when c.relrowsecurity then 'enabled' end
        || case when c.relforcerowsecurity then ', forced' else '' end),
    ('replica identity', case c.relreplident when 'd' then null when 'n' then 'nothing'
        when 'f' then 'full' else 'index ' || (select x.indexrelid::regclass::text
            from pg_catalog.pg_index x where x.indrelid = c.oid and x.indisreplident) end),
    ('partition key', case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end),
    ('partition bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid)),
    ('inherits', (select string_agg(h.inhparent::regclass::text
                      || case when h.inhdetachpending then ' (detach pending)' else '' end,
                      ', ' order by h.inhseqno)
                  from pg_catalog.pg_inherits h where h.inhrelid = c.oid)),
    ('of type', case when c.reloftype <> 0 then c.reloftype::regtype::text end),
    ('definition', case when c.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(c.oid) end),
    ('populated', case when c.relkind = 'm' and not c.relispopulated then 'no' end),
    ('sequence', (select format('%s start %s min %s max %s by %s cache %s%s',
                      s.seqtypid::regtype, s.seqstart, s.seqmin, s.seqmax, s.seqincrement,
                      s.seqcache, case when s.seqcycle then ' cycle' else '' end)
                  from pg_catalog.pg_sequence s where s.seqrelid = c.oid)),
    ('owned by', (select d.refobjid::regclass::text || '.' || quote_ident(a.attname)
                  from pg_catalog.pg_depend d
                  join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                  where c.relkind = 'S' and d.classid = 'pg_class'::regclass and d.objid = c.oid
                    and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i'))),
    ('foreign server', (select s.srvname::text || coalesce(' ' || t.ftoptions::text, '')
                  from pg_catalog.pg_foreign_table t
                  join pg_catalog.pg_foreign_server s on s.oid = t.ftserver where t.ftrelid = c.oid)),
    ('triggers off', (select string_agg(t.tgname::text, ', ' order by t.tgname)
                  from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgisinternal
                    and t.tgenabled <> 'O'))
) p (property, value)
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and p.value is not null
  and OWN(n) and not EXTENSION('pg_class', c.oid)
