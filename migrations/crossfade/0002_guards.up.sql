-- Guards: statement triggers that turn stray writes away with a clear error.

-- On targets until the switch: only crossfade's own sessions write there. The
-- trigger's argument is the migration's name. It looks at the phase instead of
-- being dropped by the switch, which would need a strong lock on the target at the
-- worst moment. SECURITY DEFINER: the application may not read crossfade's state.
create function crossfade.guard_target() returns trigger language plpgsql
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

-- On old tables from the switch on; the trigger's argument says where to write.
create function crossfade.guard_source() returns trigger language plpgsql as $$
begin
    raise exception 'crossfade: table %.% has been replaced by %',
        quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[0]
        using errcode = '55000', hint = 'Write to the new tables.';
end $$;
