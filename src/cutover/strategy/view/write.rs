//! What is written to the view, as two generated functions.
//!
//! `write_<id>` is the view's trigger. It runs with the writer's own settings, since it
//! reads the view again and compares with what the writer's statement read.
//! `merge_<id>` writes the targets with the module's own SELECTs, under the settings
//! that these are meant for.
//!
//! An INSTEAD OF trigger is called with no row locked. Two sessions that both add to a
//! value would read the same one and one addition would be lost. So the trigger locks
//! the row in the first target, reads the view's row again in a new snapshot, and when
//! that is not what the statement read, raises a serialization failure: the statement
//! cannot be computed anew from here, as the server does with a table.

use super::update;
use crate::pg::QualifiedName;
use crate::pg::catalog::Column;
use crate::pg::connect::PINNED;
use crate::pg::ident::literal;
use crate::transform::Plan;

fn names(source_id: i32) -> (String, String) {
    (
        format!("crossfade.write_{source_id}"),
        format!("crossfade.merge_{source_id}"),
    )
}

/// Both functions and the trigger. `checks` are the old table's CHECK constraints.
#[must_use]
pub fn sql(plan: &Plan, source_id: i32, checks: &[(String, String)]) -> String {
    let (write, merge) = names(source_id);
    let place = plan.module.source.sql();
    let body = trigger_body(plan, source_id, checks);
    let targets = merge_body(plan);
    let settings: String = PINNED
        .iter()
        .map(|(name, value)| format!(" set {name} = {}", literal(value)))
        .collect();
    // Only the view's trigger calls it: with EXECUTE anybody could write the targets.
    format!(
        "create function {merge}(op text, old {place}, new {place}) returns void
             language plpgsql security definer set search_path from current{settings}
             as {};
         revoke execute on function {merge} from public;
         create function {write}() returns trigger
             language plpgsql security definer set search_path from current
             as {};
         revoke execute on function {write} from public;
         create trigger crossfade_write instead of insert or update or delete on {place}
             for each row execute function {write}();",
        dollars(&targets),
        dollars(&body),
    )
}

/// Removes the view and its functions.
#[must_use]
pub fn drop_sql(place: &QualifiedName, source_id: i32) -> String {
    let (write, merge) = names(source_id);
    let place = place.sql();
    format!(
        "drop function {merge}(text, {place}, {place}); drop view {place}; drop function {write}();"
    )
}

/// A text in dollar quotes that it does not contain.
fn dollars(text: &str) -> String {
    let mut tag = "$crossfade$".to_owned();
    let mut n = 0;
    while text.contains(&tag) {
        n += 1;
        tag = format!("$crossfade{n}$");
    }
    format!("{tag}{text}{tag}")
}

/// `record."column"` as a value of the source's own type.
fn value(column: &Column, record: &str) -> String {
    column.cast(&format!("{record}.{}", column.quoted()))
}

fn key_values(plan: &Plan, record: &str) -> Vec<String> {
    plan.key_columns().map(|c| value(c, record)).collect()
}

fn trigger_body(plan: &Plan, source_id: i32, checks: &[(String, String)]) -> String {
    let (_, merge) = names(source_id);
    let place = plan.module.source.sql();
    let same_row: Vec<_> = plan
        .key_columns()
        .map(|c| format!("v.{} = {}", c.quoted(), value(c, "old")))
        .collect();
    format!(
        "
#variable_conflict use_column
declare
    present {place};
begin
    if tg_op <> 'INSERT' then
{lock}
        select v.* into present from {place} v where {same_row};
        if not found then
            return null;
        end if;
        if present operator(pg_catalog.*<>) old then
            raise exception 'crossfade: a row of %.% has changed since this statement read it',
                quote_ident(tg_table_schema), quote_ident(tg_table_name)
                using errcode = '40001', hint = 'Run the transaction again.';
        end if;
    end if;
    if tg_op = 'DELETE' then
        perform {merge}(tg_op, old, null);
        return old;
    end if;
{constraints}
    if tg_op = 'INSERT' then
        perform {merge}(tg_op, null, new);
    else
        perform {merge}(tg_op, old, new);
    end if;
    return new;
end ",
        lock = lock(plan, source_id),
        same_row = same_row.join(" and "),
        constraints = constraints(plan, checks),
    )
}

/// A row that is in none of the first target's is locked by its key.
fn lock(plan: &Plan, source_id: i32) -> String {
    let keys: Vec<_> = key_values(plan, "old")
        .iter()
        .map(|v| format!("({v})::text"))
        .collect();
    let by_key = format!(
        "        perform pg_advisory_xact_lock(hashtextextended(concat_ws('|', {}), {source_id}));",
        keys.join(", ")
    );
    let Some((_, first)) = plan.row_targets().next() else {
        return by_key;
    };
    format!(
        "        perform from {} t where {} for update;
        if not found then
{by_key}
        end if;",
        first.table.name.sql(),
        update::carried(first, &key_values(plan, "old"))
    )
}

/// What the old table would not have taken.
fn constraints(plan: &Plan, checks: &[(String, String)]) -> String {
    let table = format!(
        "schema = {}, table = {}",
        literal(&plan.module.source.schema),
        literal(&plan.module.source.name)
    );
    let mut text = String::new();
    for c in plan
        .source
        .columns
        .iter()
        .filter(|c| c.not_null && !c.generated)
    {
        text.push_str(&format!(
            "    if new.{} is null then
        raise exception 'null value in a column that is not null'
            using errcode = '23502', column = {}, {table};
    end if;\n",
            c.quoted(),
            literal(&c.name)
        ));
    }
    let row: Vec<_> = plan
        .source
        .columns
        .iter()
        .map(|c| format!("{} as {}", value(c, "new"), c.quoted()))
        .collect();
    for (name, expression) in checks {
        text.push_str(&format!(
            "    perform from (select {}) r where not ({expression});
    if found then
        raise exception 'new row violates a check constraint'
            using errcode = '23514', constraint = {}, {table};
    end if;\n",
            row.join(", "),
            literal(name)
        ));
    }
    text
}

fn merge_body(plan: &Plan) -> String {
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let row = |record: &str| -> String {
        let values: Vec<_> = plan
            .used_columns()
            .map(|c| format!("{} as {}", value(c, record), c.quoted()))
            .collect();
        format!("source as materialized (select {})", values.join(", "))
    };
    let source = row("new");
    let touched = |record: &str| -> String {
        let keys: Vec<_> = key_values(plan, record)
            .iter()
            .enumerate()
            .map(|(i, v)| format!("{v} as k{i}"))
            .collect();
        format!("touched as materialized (select {})", keys.join(", "))
    };
    let moved: Vec<_> = plan
        .key_columns()
        .map(|c| format!("old.{0} is distinct from new.{0}", c.quoted()))
        .collect();
    let delete = statements(&[plan.delete_bound(&touched("old"), &all)]);
    let lookups: String = plan
        .insert_lookups(&source, &all)
        .iter()
        .map(|sql| format!("{sql};\n"))
        .collect();
    let insert = statements(&plan.insert(&source, &all, "select 1"));
    // Where a target's SELECT reads another target, the row is written out.
    let merge = if plan.stages().len() == 1 {
        let row = update::Row {
            before: &row("old"),
            after: &source,
            key: &key_values(plan, "old"),
        };
        statements(&[update::merge(plan, &row)])
    } else {
        statements(&plan.merge_bound(&source, &touched("new"), &all))
    };
    format!(
        "
#variable_conflict use_column
declare
    done int;
begin
if op = 'DELETE' then
{delete}
return;
end if;
{lookups}
if op = 'INSERT' then
{insert}
elsif {} then
{delete}
{insert}
else
{merge}
end if;
end ",
        moved.join(" or ")
    )
}

/// Statements that end in `select 1`, which PL/pgSQL wants to put somewhere.
fn statements(list: &[String]) -> String {
    list.iter()
        .map(|sql| {
            let sql = sql.strip_suffix("select 1").unwrap_or(sql);
            format!("{sql}select 1 into done;\n")
        })
        .collect()
}
