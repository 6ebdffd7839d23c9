select i.indrelid, n.nspname::text, x.relname::text, m.amname::text,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as k (num, ord)
             left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num and k.num > 0
             where k.ord <= i.indnkeyatts order by k.ord),
       array(select concat_ws(' ', pg_get_indexdef(i.indexrelid, k.ord::int, true),
                              i.indclass[k.ord - 1], i.indcollation[k.ord - 1], i.indoption[k.ord - 1])
             from unnest(i.indkey::int2[]) with ordinality as k (num, ord)
             where k.ord <= i.indnkeyatts order by k.ord),
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as k (num, ord)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
             where k.ord > i.indnkeyatts order by k.ord),
       pg_get_expr(i.indpred, i.indrelid),
       i.indisunique, i.indisprimary, not i.indimmediate,
       (select c.conname::text from pg_constraint c
        where c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x') limit 1),
       exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype = 'f'),
       i.indisvalid and i.indisready, i.indisreplident,
       x.relpages::bigint * current_setting('block_size')::bigint,
       coalesce(s.idx_scan, 0),
       pg_get_indexdef(i.indexrelid),
       x.relispartition,
       i.indexprs is not null,
       -- Null where a key is an expression.
       (select bool_and(a.attnotnull) from unnest(i.indkey::int2[]) with ordinality as k (num, ord)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
        where k.ord <= i.indnkeyatts),
       coalesce((to_jsonb(i.*) ->> 'indnullsnotdistinct')::boolean, false)
from pg_index i
join pg_class x on x.oid = i.indexrelid
join pg_namespace n on n.oid = x.relnamespace
join pg_am m on m.oid = x.relam
left join pg_stat_all_indexes s on s.indexrelid = i.indexrelid
where i.indrelid = any($1::oid[])
order by i.indrelid, x.relname
