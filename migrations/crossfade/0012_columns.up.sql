-- Partitions whose moved columns had another default than the table's own: a switch back
-- gives it back to them.
create table crossfade.moved_default (
    source_id     int not null references crossfade.source on delete cascade,
    partition_oid oid not null,
    name          text not null,
    -- As SQL, its names qualified; NULL where the partition had none.
    default_sql   text,
    primary key (source_id, partition_oid, name)
);

-- On an UPDATE that names moved columns and leaves them as they are. That they are the
-- same says nothing where the row has not been rebuilt yet: NULL and a hundred is NULL.
-- The arguments are the columns, the tables they moved to, a condition on the row ($1)
-- that what it has is what the new tables hold, and the search path it was written for.
--
-- SECURITY DEFINER, as with guard_delete: who writes the row may not be allowed to read
-- the new tables; and it runs SQL that its caller gives it.
create function crossfade.guard_current() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1'
    set bytea_output = 'hex' set timezone = 'UTC' set standard_conforming_strings = 'on'
    set xmloption = 'content' set array_nulls = 'on' as $$
declare
    is_current boolean;
begin
    if current_setting('crossfade.session', true) = 'on' then
        return null;
    end if;
    -- Ends with this function, which has a search path of its own.
    perform set_config('search_path', tg_argv[3], true);
    execute 'select ' || tg_argv[2] into is_current using new;
    if is_current then
        return null;
    end if;
    raise exception 'crossfade: % of table %.% moved to %', tg_argv[0],
        pg_catalog.quote_ident(tg_table_schema), pg_catalog.quote_ident(tg_table_name), tg_argv[1]
        using errcode = '55000',
              hint = 'Write there: what the row has in these columns is not what is there.';
end $$;

revoke execute on function crossfade.guard_current() from public;

-- On an UPDATE that gives a row of a partitioned table another key. Where that takes it to
-- another partition, the server deletes it and inserts it again, which would look like a
-- new row with values in its moved columns: it goes without them, and is rebuilt as a new
-- row is. The arguments are the columns, the tables they moved to, a condition on the
-- row's new and old form ($1, $2) that the columns are changed, and the columns without a
-- value.
create function crossfade.guard_moving() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp as $$
declare
    stays boolean;
    is_changed boolean;
begin
    if current_setting('crossfade.session', true) = 'on' then
        return new;
    end if;
    execute 'select (' || coalesce(pg_get_partition_constraintdef(tg_relid), 'true')
        || ') is not false from (select ($1).*) r' into stays using new;
    if stays then
        return new;
    end if;
    execute 'select ' || tg_argv[2] into is_changed using new, old;
    if is_changed then
        raise exception 'crossfade: % of table %.% moved to %', tg_argv[0],
            quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[1]
            using errcode = '55000', hint = 'Write there.';
    end if;
    return jsonb_populate_record(new, tg_argv[3]::jsonb);
end $$;

-- As before, and under the search path that the condition was written for, where the
-- trigger names one: types and operators of the key need not be the server's own. pg_temp
-- last, or the caller's temporary types would come before all others.
create or replace function crossfade.guard_delete() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp as $$
declare
    left_behind boolean;
begin
    if current_setting('crossfade.session', true) = 'on' then
        return null;
    end if;
    if tg_nargs > 2 then
        perform set_config('search_path', tg_argv[2], true);
    end if;
    execute 'select ' || tg_argv[0] into left_behind using old;
    if left_behind then
        raise exception 'crossfade: a deleted row of table %.% has rows in %',
            pg_catalog.quote_ident(tg_table_schema), pg_catalog.quote_ident(tg_table_name),
            tg_argv[1]
            using errcode = '55000', hint = 'Delete those as well.';
    end if;
    return null;
end $$;

alter function crossfade.guard_target() set search_path = pg_catalog, pg_temp;
