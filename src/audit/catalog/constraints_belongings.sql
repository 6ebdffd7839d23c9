select k.conrelid, k.conname::text,
       regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
       obj_description(k.oid, 'pg_constraint')
from pg_constraint k
where k.conrelid = any($1::oid[]) and k.contype in ('f', 'c')
