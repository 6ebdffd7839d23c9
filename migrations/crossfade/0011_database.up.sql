-- The database that the migration began in. In a copy of it (CREATE DATABASE … TEMPLATE) the
-- state is there too, and names slots of the whole server that are the original's. Unknown
-- for a migration that an older program began, until its daemon is started.
alter table crossfade.migration add database_oid oid;
