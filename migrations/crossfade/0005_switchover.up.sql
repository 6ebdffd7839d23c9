-- What each run of `crossfade switch` has come to. Written by its control session,
-- never by the session that holds the lock: a rolled back attempt leaves its trace.

create table crossfade.switchover (
    id            bigint generated always as identity primary key,
    migration_id  int not null references crossfade.migration on delete cascade,
    direction     text not null check (direction in ('forward', 'back')),
    attempt       int not null default 0,
    -- The transaction of the newest attempt.
    xid           xid8,
    step          text not null,
    started_at    timestamptz not null default clock_timestamp(),
    step_at       timestamptz not null default clock_timestamp(),
    ended_at      timestamptz,
    outcome       text check (outcome in ('switched', 'not_switched', 'unknown')),
    stall_ms      double precision,
    -- The hook after_switch is owed: it has not been seen to end well.
    after_pending boolean not null default false,
    detail        jsonb not null default '{}'
) with (fillfactor = 50);

create index on crossfade.switchover (migration_id, id);
