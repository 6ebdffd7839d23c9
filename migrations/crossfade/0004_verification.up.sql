-- Verification: what a certificate covers, how far a pass is, how the last one ended.

-- A certificate made before this migration names no columns: it is void.
alter table crossfade.certificate
    -- When the pass began; `verified_at` is when it ended.
    add began_at     timestamptz,
    -- When the keys that changed since were last found equal too.
    add moved_at     timestamptz not null default clock_timestamp(),
    add version      text not null default '',
    -- Of the names, types and collations of all columns of sources and targets.
    add columns_hash text not null default '';

-- The pass that is under way or was interrupted. One row a migration, updated at
-- most once a second: room for HOT updates.
create table crossfade.verification (
    migration_id int primary key references crossfade.migration on delete cascade,
    began_at     timestamptz not null default clock_timestamp(),
    moved_at     timestamptz not null default clock_timestamp(),
    -- Time spent in it so far, interruptions left out.
    seconds      double precision not null default 0,
    -- The checkpoint before its first range was read.
    applied_lsn  pg_lsn not null,
    module_hash  text not null,
    columns_hash text not null,
    version      text not null,
    -- `migration.switches` then: a switch writes rows of keys that were set aside and
    -- does not log them, so no pass goes on beyond one.
    switches     int not null,
    -- For each source: the key up to which everything is verified, and the counts
    -- and checksums up to there.
    frontier     jsonb not null
) with (fillfactor = 10);

-- How the last verification ended that found something out.
create table crossfade.verified (
    migration_id int primary key references crossfade.migration on delete cascade,
    ended_at     timestamptz not null default clock_timestamp(),
    outcome      text not null,
    -- Differing rows by table; never keys or values.
    differences  jsonb not null default '{}',
    -- When a full pass was last clean; outlives the certificate.
    clean_at     timestamptz
);

-- Why the copy waits: verification waits for the same reason.
alter table crossfade.daemon add throttled text;
