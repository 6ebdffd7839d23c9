-- For operators: settings changed at run time, what the daemon measures, and what is
-- needed to begin the stream anew after its slot was lost.

-- Throttle and pace as an operator has set them; the file's values stand behind them.
create table crossfade.setting (
    migration_id int not null references crossfade.migration on delete cascade,
    key          text not null,
    value        text not null,
    set_at       timestamptz not null default clock_timestamp(),
    primary key (migration_id, key)
);

alter table crossfade.daemon
    -- What the daemon last measured, as `status` shows it.
    add live jsonb not null default '{}',
    -- The last errors with their remedies, oldest first; outlives the daemon.
    add errors jsonb not null default '[]';

-- The targets may hold rows of changes that were lost with a slot: every chunk that is
-- not copied is compared with its target rows, and those are made right.
alter table crossfade.source add again boolean not null default false;

alter table crossfade.migration
    -- How often the stream was begun anew after its slot was lost.
    add recoveries int not null default 0,
    -- Why the slot is gone, until the stream has been begun anew.
    add slot_lost text,
    add slot_lost_at timestamptz;
