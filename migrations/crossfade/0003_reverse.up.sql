-- The way back: where targets stand after a switch has renamed them, guards that let
-- crossfade's own sessions through, and the direction of a switch.

create table crossfade.target (
    source_id int not null references crossfade.source on delete cascade,
    -- Of the target in its module, from 0.
    position  int not null,
    table_oid oid not null,
    primary key (source_id, position)
);

alter table crossfade.migration
    -- Switches that committed, in either direction.
    add switches int not null default 0,
    -- The phase that the transaction `switch_xid` leads to.
    add switch_to text;

-- Which stream moves the checkpoint. A switch hands it over to the other one in its own
-- transaction, so that the one before can commit nothing any more.
alter table crossfade.checkpoint
    add leg text not null default 'forward' check (leg in ('forward', 'reverse'));

-- Which stream set a row aside. What the one before has left behind is not tried again
-- by the other: a row that the new tables refused is still in the old one, and is not
-- to be taken for deleted.
alter table crossfade.quarantine
    add leg text not null default 'forward' check (leg in ('forward', 'reverse'));

-- A transaction above READ COMMITTED may look at the phase of before the switch back:
-- locking the row fails for it with 40001 when the row has changed since.
create or replace function crossfade.guard_target() returns trigger language plpgsql
    security definer set search_path = pg_catalog as $$
begin
    if current_setting('crossfade.session', true) is not distinct from 'on' then
        return null;
    end if;
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform from crossfade.migration where name = tg_argv[0] for key share;
    end if;
    if exists (select from crossfade.migration
               where name = tg_argv[0] and phase <> 'switched') then
        raise exception 'crossfade: table %.% is being filled and is not to be written yet',
            quote_ident(tg_table_schema), quote_ident(tg_table_name)
            using errcode = '55000',
                  hint = 'Write to the old table until `crossfade switch`; `crossfade abort` removes this guard.';
    end if;
    return null;
end $$;

-- The reverse stream writes old tables.
create or replace function crossfade.guard_source() returns trigger language plpgsql as $$
begin
    if current_setting('crossfade.session', true) is not distinct from 'on' then
        return null;
    end if;
    raise exception 'crossfade: table %.% has been replaced by %',
        quote_ident(tg_table_schema), quote_ident(tg_table_name), tg_argv[0]
        using errcode = '55000', hint = 'Write to the new tables.';
end $$;
