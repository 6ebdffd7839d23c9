select i.inhrelid, n.nspname::text, c.relname::text
from pg_inherits i
join pg_class k on k.oid = i.inhrelid and k.relkind in ('r', 'p', 'f')
join pg_class c on c.oid = i.inhparent
join pg_namespace n on n.oid = c.relnamespace
order by i.inhrelid, i.inhseqno
