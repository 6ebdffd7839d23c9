-- crossfade's own state: everything that must survive a crash.

create table crossfade.migration (
    id               int generated always as identity primary key,
    name             text not null unique,
    phase            text not null,
    -- The server whose log is followed: another one means a failover.
    system_identifier text not null,
    -- SHA-256 of the modules' text at the start.
    module_hash      text not null,
    paused           boolean not null default false,
    -- Set by abort and finish: a running daemon ends.
    stop             boolean not null default false,
    -- A switch holds or is about to take the lock on the sources until then.
    switching_until  timestamptz,
    created_at       timestamptz not null default clock_timestamp(),
    copy_started_at  timestamptz,
    copy_finished_at timestamptz,
    switched_at      timestamptz,
    -- The transaction of the last switch attempt, written before it commits.
    switch_xid       xid8
);

-- One row a migration, updated with every applied batch: room for HOT updates.
create table crossfade.checkpoint (
    migration_id int primary key references crossfade.migration on delete cascade,
    -- Everything that committed on the source up to here is in the targets, in
    -- the same transaction as this value.
    applied_lsn  pg_lsn not null,
    -- Commit time, on the source, of the newest transaction applied.
    commit_time  timestamptz,
    rows_applied bigint not null default 0,
    transactions bigint not null default 0
) with (fillfactor = 10);

create table crossfade.source (
    id           int generated always as identity primary key,
    migration_id int not null references crossfade.migration on delete cascade,
    module       text not null,
    table_oid    oid not null,
    unique (migration_id, module)
);

create table crossfade.quarantine (
    source_id int not null references crossfade.source on delete cascade,
    -- The source row's key, one text a column.
    key       text[] not null,
    -- bad: a value cannot be converted; unique: another row holds a unique value
    -- at the moment; locked: the source was locked when the row had to be read.
    reason    text not null check (reason in ('bad', 'unique', 'locked')),
    sqlstate  text not null,
    message   text not null,
    since     timestamptz not null default clock_timestamp(),
    retry     boolean not null default false,
    primary key (source_id, key)
);

create table crossfade.daemon (
    migration_id   int primary key references crossfade.migration on delete cascade,
    pid            int not null,
    host           text not null,
    started_at     timestamptz not null default clock_timestamp(),
    seen_at        timestamptz not null default clock_timestamp(),
    waiting        text,
    lag_seconds    double precision not null default 0,
    lag_bytes      bigint not null default 0,
    max_lag_seconds double precision not null default 0
) with (fillfactor = 10);

create table crossfade.certificate (
    migration_id int primary key references crossfade.migration on delete cascade,
    verified_at  timestamptz not null default clock_timestamp(),
    -- The checkpoint before the first range was read: keys that changed later are
    -- in the change log and are verified again at the switch.
    applied_lsn  pg_lsn not null,
    module_hash  text not null,
    detail       jsonb not null
);
