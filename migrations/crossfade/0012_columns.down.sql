-- CASCADE: the guards of tables that are switched go with their functions.
drop function crossfade.guard_moving() cascade;
drop function crossfade.guard_current() cascade;
drop table crossfade.moved_default;
