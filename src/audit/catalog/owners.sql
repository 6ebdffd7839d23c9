select c.oid, has_schema_privilege(c.relowner, c.relnamespace, 'create')
from pg_class c
where c.oid = any($1::oid[])
