select c.oid, has_schema_privilege(c.relowner, c.relnamespace, 'create'),
       c.relrowsecurity, c.relforcerowsecurity, c.relhasrules and c.relkind in ('r', 'p'),
       (select count(*) from pg_inherits i join pg_class k on k.oid = i.inhrelid
        where i.inhparent = c.oid and k.relkind in ('r', 'p', 'f'))
from pg_class c
where c.oid = any($1::oid[])
