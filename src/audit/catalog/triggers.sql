-- Triggers that people made. Of its name, event and time tgtype has the bits.
select t.tgrelid, t.tgname::text,
       t.tgtype & 2 <> 0, t.tgtype & 1 <> 0, t.tgtype & 4 <> 0, t.tgtype & 16 <> 0,
       array(select a.attname::text from unnest(t.tgattr::int2[]) k (num)
             join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = k.num),
       t.tgenabled in ('O', 'A'),
       l.lanname::text, p.proname::text, p.prosrc, t.tgargs,
       pg_get_triggerdef(t.oid)
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
join pg_language l on l.oid = p.prolang
where t.tgrelid = any($1::oid[]) and not t.tgisinternal
order by t.tgrelid, t.tgname
