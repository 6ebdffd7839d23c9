drop table crossfade.publication;
