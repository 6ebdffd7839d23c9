alter table crossfade.migration drop database_oid;
