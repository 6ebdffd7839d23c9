alter function crossfade.guard_target() set search_path = pg_catalog;

create or replace function crossfade.guard_delete() returns trigger language plpgsql
    security definer set search_path = pg_catalog as $$
declare
    left_behind boolean;
begin
    if current_setting('crossfade.session', true) = 'on' then
        return null;
    end if;
    execute 'select ' || tg_argv[0] into left_behind using old;
    if left_behind then
        raise exception 'crossfade: a deleted row of table %.% has rows in %',
            quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[1]
            using errcode = '55000', hint = 'Delete those as well.';
    end if;
    return null;
end $$;

-- CASCADE: the guards of tables that are switched go with their functions.
drop function crossfade.guard_moving() cascade;
drop function crossfade.guard_current() cascade;
drop table crossfade.moved_default;
