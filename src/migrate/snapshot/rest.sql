-- Schemas, extensions, publications, statistics, default privileges, collations,
-- operators, casts, text search, foreign servers.
select 'schema' as kind, quote_ident(n.nspname) as name, p.property, p.value
from pg_catalog.pg_namespace n
cross join lateral (values
    ('owner', pg_catalog.pg_get_userbyid(n.nspowner)::text),
    ('privileges', (select string_agg(a::text, ', ' order by a::text) from unnest(n.nspacl) a)),
    ('comment', pg_catalog.obj_description(n.oid, 'pg_namespace'))
) p (property, value)
where p.value is not null and OWN(n) and not EXTENSION('pg_namespace', n.oid)
union all
select 'extension', quote_ident(e.extname), 'version', e.extversion || ' in ' || quote_ident(n.nspname)
from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
union all
select 'publication', quote_ident(p.pubname), x.property, x.value
from pg_catalog.pg_publication p
cross join lateral (values
    ('publishes', concat_ws(' ', case when p.puballtables then 'all tables' end,
        case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
        case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end,
        case when p.pubviaroot then 'via root' end)),
    ('tables', (select string_agg(r.prrelid::regclass::text
                    || coalesce(' (' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                        from pg_catalog.pg_attribute a where a.attrelid = r.prrelid
                          and a.attnum::text = any (string_to_array(translate(to_jsonb(r) ->> 'prattrs', '[],', ''), ' '))) || ')', '')
                    || coalesce(' where ' || pg_catalog.pg_get_expr(
                        nullif(to_jsonb(r) ->> 'prqual', '')::pg_node_tree, r.prrelid), ''),
                    ', ' order by r.prrelid::regclass::text)
                from pg_catalog.pg_publication_rel r where r.prpubid = p.oid))
) x (property, value)
where x.value is not null
union all
select 'statistics', quote_ident(n.nspname) || '.' || quote_ident(s.stxname), 'definition',
       pg_catalog.pg_get_statisticsobjdef(s.oid) || coalesce(' target ' || nullif(s.stxstattarget, -1), '')
from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
where OWN(n)
union all
select 'default privileges', pg_catalog.pg_get_userbyid(d.defaclrole) || ' in '
           || coalesce(quote_ident(n.nspname), 'every schema') || ' on ' || d.defaclobjtype::text, 'privileges',
       (select string_agg(a::text, ', ' order by a::text) from unnest(d.defaclacl) a)
from pg_catalog.pg_default_acl d
left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
union all
select 'collation', quote_ident(n.nspname) || '.' || quote_ident(c.collname), 'definition',
       concat_ws(' ', c.collprovider, c.collcollate, c.collctype, to_jsonb(c) ->> 'colliculocale',
                 to_jsonb(c) ->> 'colllocale', c.collisdeterministic)
from pg_catalog.pg_collation c join pg_catalog.pg_namespace n on n.oid = c.collnamespace
where OWN(n) and not EXTENSION('pg_collation', c.oid)
union all
select 'operator', o.oid::regoperator::text, 'definition', o.oprcode::text
from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where OWN(n) and not EXTENSION('pg_operator', o.oid)
union all
select 'operator class', quote_ident(n.nspname) || '.' || quote_ident(o.opcname), 'definition',
       format('%s for %s', (select amname from pg_catalog.pg_am where oid = o.opcmethod), o.opcintype::regtype)
from pg_catalog.pg_opclass o join pg_catalog.pg_namespace n on n.oid = o.opcnamespace
where OWN(n) and not EXTENSION('pg_opclass', o.oid)
union all
select 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), 'definition',
       format('%s %s %s', c.castfunc::regproc, c.castcontext, c.castmethod)
from pg_catalog.pg_cast c
where c.oid >= 16384 and not EXTENSION('pg_cast', c.oid)
union all
select 'text search configuration', quote_ident(n.nspname) || '.' || quote_ident(t.cfgname), 'mappings',
       coalesce((select string_agg(m.maptokentype || '=' || m.mapdict::regdictionary::text, ', '
                     order by m.maptokentype, m.mapseqno)
                 from pg_catalog.pg_ts_config_map m where m.mapcfg = t.oid), '')
from pg_catalog.pg_ts_config t join pg_catalog.pg_namespace n on n.oid = t.cfgnamespace
where OWN(n) and not EXTENSION('pg_ts_config', t.oid)
union all
select 'text search dictionary', quote_ident(n.nspname) || '.' || quote_ident(t.dictname), 'options',
       coalesce(t.dictinitoption, '')
from pg_catalog.pg_ts_dict t join pg_catalog.pg_namespace n on n.oid = t.dictnamespace
where OWN(n) and not EXTENSION('pg_ts_dict', t.oid)
union all
select 'foreign server', quote_ident(s.srvname), 'options', coalesce(s.srvoptions::text, '')
from pg_catalog.pg_foreign_server s
where not EXTENSION('pg_foreign_server', s.oid)
union all
select o.kind, o.name, 'owner', pg_catalog.pg_get_userbyid(o.owner)::text
from (
    select 'publication', quote_ident(p.pubname), p.pubowner from pg_catalog.pg_publication p
    union all
    select 'statistics', quote_ident(n.nspname) || '.' || quote_ident(s.stxname), s.stxowner
    from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
    where OWN(n)
    union all
    select 'collation', quote_ident(n.nspname) || '.' || quote_ident(c.collname), c.collowner
    from pg_catalog.pg_collation c join pg_catalog.pg_namespace n on n.oid = c.collnamespace
    where OWN(n) and not EXTENSION('pg_collation', c.oid)
    union all
    select 'operator', p.oid::regoperator::text, p.oprowner
    from pg_catalog.pg_operator p join pg_catalog.pg_namespace n on n.oid = p.oprnamespace
    where OWN(n) and not EXTENSION('pg_operator', p.oid)
    union all
    select 'operator class', quote_ident(n.nspname) || '.' || quote_ident(p.opcname), p.opcowner
    from pg_catalog.pg_opclass p join pg_catalog.pg_namespace n on n.oid = p.opcnamespace
    where OWN(n) and not EXTENSION('pg_opclass', p.oid)
    union all
    select 'text search configuration', quote_ident(n.nspname) || '.' || quote_ident(t.cfgname), t.cfgowner
    from pg_catalog.pg_ts_config t join pg_catalog.pg_namespace n on n.oid = t.cfgnamespace
    where OWN(n) and not EXTENSION('pg_ts_config', t.oid)
    union all
    select 'text search dictionary', quote_ident(n.nspname) || '.' || quote_ident(t.dictname), t.dictowner
    from pg_catalog.pg_ts_dict t join pg_catalog.pg_namespace n on n.oid = t.dictnamespace
    where OWN(n) and not EXTENSION('pg_ts_dict', t.oid)
    union all
    select 'foreign server', quote_ident(s.srvname), s.srvowner from pg_catalog.pg_foreign_server s
    where not EXTENSION('pg_foreign_server', s.oid)
) o (kind, name, owner)
