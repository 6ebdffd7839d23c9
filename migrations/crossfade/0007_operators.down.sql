alter table crossfade.migration drop recoveries, drop slot_lost, drop slot_lost_at;
alter table crossfade.source drop again;
alter table crossfade.daemon drop live, drop errors;
drop table crossfade.setting;
