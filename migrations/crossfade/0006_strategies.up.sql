-- What the strategies `columns` and `view` leave behind while they are switched.

-- Moved columns as they were before the switch: a switch back restores that.
create table crossfade.moved_column (
    source_id   int not null references crossfade.source on delete cascade,
    name        text not null,
    not_null    boolean not null,
    -- The default as SQL, its names qualified.
    default_sql text,
    primary key (source_id, name)
);

-- An expression as SQL that means the same under every search path.
create function crossfade.expression_of(expression pg_node_tree, relation oid) returns text
    language sql stable set search_path = pg_catalog
    as 'select pg_get_expr(expression, relation)';

-- A view's SELECT, likewise.
create function crossfade.select_of(view oid) returns text
    language sql stable set search_path = pg_catalog
    as 'select pg_get_viewdef(view)';

-- On moved columns from the switch on. The trigger's condition says that one of them
-- would change, so that nothing else ever calls this; its arguments are the columns
-- and the tables they moved to. The stream back has to write them.
create function crossfade.guard_columns() returns trigger language plpgsql as $$
begin
    if current_setting('crossfade.session', true) = 'on' then
        return new;
    end if;
    raise exception 'crossfade: % of table %.% moved to %', tg_argv[0],
        quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[1]
        using errcode = '55000', hint = 'Write there.';
end $$;

-- At the commit that deletes a source row: rows of new tables must not stay behind.
-- Before the switch crossfade took them along. The arguments are a condition on the
-- row ($1) that was deleted, and the tables.
--
-- SECURITY DEFINER: who deletes an order may not be allowed to read the new tables.
-- It runs SQL that its caller gives it, and EXECUTE is asked for when a trigger is
-- made: so nobody else may make one.
create function crossfade.guard_delete() returns trigger language plpgsql
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

revoke execute on function crossfade.guard_delete() from public;
