-- Tables that nobody may even read now: functions of the catalog would wait for them.
select l.relation, coalesce(n.nspname::text, ''), coalesce(c.relname::text, '')
from pg_locks l
left join pg_class c on c.oid = l.relation
left join pg_namespace n on n.oid = c.relnamespace
where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
  and l.pid <> pg_backend_pid()
