-- What each of a migration's publications was made of: one that somebody has changed since
-- may have left changes out of the stream, even where it looks as before again. Unknown
-- for publications made before this table was there.
create table crossfade.publication (
    migration_id int not null references crossfade.migration on delete cascade,
    name         text not null,
    made         text not null,
    primary key (migration_id, name)
);
