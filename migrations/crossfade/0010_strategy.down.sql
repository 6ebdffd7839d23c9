alter table crossfade.migration drop strategy;
