alter table crossfade.source drop key_columns;
