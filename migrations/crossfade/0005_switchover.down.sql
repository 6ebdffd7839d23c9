drop table crossfade.switchover;
