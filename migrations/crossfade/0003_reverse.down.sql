create or replace function crossfade.guard_target() returns trigger language plpgsql
    security definer set search_path = pg_catalog as $$
begin
    if current_setting('crossfade.session', true) is distinct from 'on'
        and exists (select from crossfade.migration
                    where name = tg_argv[0] and phase <> 'switched') then
        raise exception 'crossfade: table %.% is being filled and is not to be written yet',
            quote_ident(tg_table_schema), quote_ident(tg_table_name)
            using errcode = '55000',
                  hint = 'Write to the old table until `crossfade switch`; `crossfade abort` removes this guard.';
    end if;
    return null;
end $$;

create or replace function crossfade.guard_source() returns trigger language plpgsql as $$
begin
    raise exception 'crossfade: table %.% has been replaced by %',
        quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[0]
        using errcode = '55000', hint = 'Write to the new tables.';
end $$;

alter table crossfade.quarantine drop leg;
alter table crossfade.checkpoint drop leg;
alter table crossfade.migration drop switches, drop switch_to;
drop table crossfade.target;
