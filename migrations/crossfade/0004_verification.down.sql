alter table crossfade.daemon drop throttled;
drop table crossfade.verified;
drop table crossfade.verification;
alter table crossfade.certificate
    drop began_at, drop moved_at, drop version, drop columns_hash;
