-- Of a partitioned table what was gathered over its partitions.
select c.oid, s.attname::text, s.null_frac::float8, s.n_distinct::float8, s.avg_width
from pg_stats s
join pg_namespace n on n.nspname = s.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
where c.oid = any($1::oid[]) and s.inherited = (c.relkind = 'p')
