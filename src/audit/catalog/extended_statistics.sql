select s.stxrelid, n.nspname::text, s.stxname::text, pg_get_statisticsobjdef(s.oid),
       array(select case k when 'd' then 'ndistinct' when 'f' then 'dependencies' else 'mcv' end
             from unnest(s.stxkind) k where k in ('d', 'f', 'm')),
       array(select a.attname::text from pg_attribute a
             where a.attrelid = s.stxrelid and a.attnum > 0
               and (a.attnum = any(s.stxkeys::int2[]) or exists (
                 select from pg_depend d
                 where d.classid = 'pg_statistic_ext'::regclass and d.objid = s.oid
                   and d.refclassid = 'pg_class'::regclass and d.refobjid = s.stxrelid
                   and d.refobjsubid = a.attnum))
             order by a.attnum),
       s.stxexprs is not null,
       case when s.stxstattarget >= 0 then s.stxstattarget::int end,
       obj_description(s.oid, 'pg_statistic_ext'),
       case when has_schema_privilege(s.stxowner, n.oid, 'create')
            then pg_get_userbyid(s.stxowner)::text end
from pg_statistic_ext s
join pg_namespace n on n.oid = s.stxnamespace
where s.stxrelid = any($1::oid[])
order by n.nspname, s.stxname
