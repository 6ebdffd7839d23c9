drop function crossfade.guard_source();
drop function crossfade.guard_target();
