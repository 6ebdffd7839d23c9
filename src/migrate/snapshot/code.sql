-- Routines, triggers, rules, policies, event triggers.
select 'routine' as kind,
       quote_ident(n.nspname) || '.' || quote_ident(f.proname)
           || '(' || pg_catalog.pg_get_function_identity_arguments(f.oid) || ')' as name,
       p.property, p.value
from pg_catalog.pg_proc f
join pg_catalog.pg_namespace n on n.oid = f.pronamespace
cross join lateral (values
    ('definition', case when f.prokind in ('a') then
        (select format('aggregate %s state %s final %s initial %s', a.aggtransfn::regproc,
                       a.aggtranstype::regtype, a.aggfinalfn::regproc, a.agginitval)
         from pg_catalog.pg_aggregate a where a.aggfnoid = f.oid)
        else pg_catalog.pg_get_functiondef(f.oid) end),
    ('owner', pg_catalog.pg_get_userbyid(f.proowner)::text),
    ('privileges', (select string_agg(a::text, ', ' order by a::text) from unnest(f.proacl) a)),
    ('comment', pg_catalog.obj_description(f.oid, 'pg_proc'))
) p (property, value)
where p.value is not null and OWN(n) and not EXTENSION('pg_proc', f.oid)
union all
select 'trigger', t.tgrelid::regclass::text || '.' || quote_ident(t.tgname), p.property, p.value
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral (values
    ('definition', pg_catalog.pg_get_triggerdef(t.oid)),
    ('enabled', case t.tgenabled when 'O' then null when 'D' then 'no' when 'A' then 'always'
        else 'replica' end),
    ('comment', pg_catalog.obj_description(t.oid, 'pg_trigger'))
) p (property, value)
where not t.tgisinternal and p.value is not null and OWN(n) and not EXTENSION('pg_class', c.oid)
union all
select 'rule', r.ev_class::regclass::text || '.' || quote_ident(r.rulename), 'definition',
       pg_catalog.pg_get_ruledef(r.oid) || ' ' || r.ev_enabled::text
from pg_catalog.pg_rewrite r
join pg_catalog.pg_class c on c.oid = r.ev_class
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and OWN(n) and not EXTENSION('pg_class', c.oid)
union all
select 'policy', p.polrelid::regclass::text || '.' || quote_ident(p.polname), 'definition',
       format('%s for %s to %s using (%s) check (%s)',
              case when p.polpermissive then 'permissive' else 'restrictive' end, p.polcmd,
              (select string_agg(case when r = 0 then 'public' else r::regrole::text end, ', '
                                 order by r::regrole::text) from unnest(p.polroles) r),
              pg_catalog.pg_get_expr(p.polqual, p.polrelid),
              pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where OWN(n)
union all
select 'event trigger', quote_ident(e.evtname), 'definition',
       format('on %s when tag in %s execute %s %s', e.evtevent, e.evttags, e.evtfoid::regproc, e.evtenabled)
from pg_catalog.pg_event_trigger e
where not EXTENSION('pg_event_trigger', e.oid)
