-- CASCADE: the guards of tables that are switched go with their functions.
drop function crossfade.guard_delete() cascade;
drop function crossfade.guard_columns() cascade;
drop function crossfade.select_of(oid);
drop function crossfade.expression_of(pg_node_tree, oid);
drop table crossfade.moved_column;
