-- The key that chunks, change log and quarantine are about: another one would be read out
-- of a stream whose replica identity is another one by now, and named the wrong rows.
-- Attribute numbers in the key's order; unknown until a source that was there before is
-- used again.
alter table crossfade.source add key_columns smallint[];
