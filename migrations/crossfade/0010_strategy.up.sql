-- How the migration was switched, which is how it has to be taken back, whatever the
-- configuration says by then. Unknown for a switch before this column was there.
alter table crossfade.migration add strategy text;
