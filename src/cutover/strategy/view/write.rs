//! What is written to the view, as two generated functions.
//!
//! `write_<id>` is the view's trigger. It runs with the writer's own settings, since it
//! reads the view again and compares with what the writer's statement read.
//! `merge_<id>` writes the targets with the module's own SELECTs, under the settings
//! that these are meant for.
//!
//! An INSTEAD OF trigger is called with no row locked. Two sessions that both add to a
//! value would read the same one and one addition would be lost. So the trigger locks
//! the row's parts in the targets, reads the view's row again in a new snapshot, and when
//! that is not what the statement read, raises a serialization failure: the statement
//! cannot be computed anew from here, as the server does with a table.

use super::constraints::Constraints;
use super::unique::Further;
use super::{kept, update, value};
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

/// Both functions and the trigger. `path` is where the module's names are found, as SQL;
/// `further` has one entry a target.
#[must_use]
pub fn sql(
    plan: &Plan,
    source_id: i32,
    path: &str,
    constraints: &Constraints,
    further: &[Further],
) -> String {
    let (write, merge) = names(source_id);
    let place = plan.module.source.sql();
    let body = trigger_body(plan, source_id, constraints);
    let targets = merge_body(plan, further);
    let settings: String = PINNED
        .iter()
        .map(|(name, value)| format!(" set {name} = {}", literal(value)))
        .collect();
    // Only the view's trigger calls it: with EXECUTE anybody could write the targets.
    format!(
        "create function {merge}(op text, old {place}, new {place}) returns void
             language plpgsql security definer set search_path = {path}{settings}
             as {};
         revoke execute on function {merge} from public;
         create function {write}() returns trigger
             language plpgsql security definer set search_path = {path}
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

fn key_values(plan: &Plan, record: &str) -> Vec<String> {
    plan.key_columns().map(|c| value(c, record)).collect()
}

fn trigger_body(plan: &Plan, source_id: i32, constraints: &Constraints) -> String {
    let (_, merge) = names(source_id);
    let place = plan.module.source.sql();
    format!(
        "
#variable_conflict use_column
<<crossfade>>
declare
    present {place};
    held xid[];
    made xid[];
    own xid[];
    broken text;
begin
    if tg_op <> 'INSERT' then
{lock}
        select v.* into present from {place} v where {same_row};
        if not found then
            return null;
        end if;
        if present operator(pg_catalog.*<>) old then
{changed}
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
        same_row = kept::key(plan, "old"),
        changed = changed(plan),
        constraints = constraints.sql(plan),
    )
}

/// Locks the row in every target, in the order in which they are written: what another
/// session changes of it afterwards waits, what it has changed before is read. A row that
/// is in none of the first target's is locked by its key. `made` gets the transactions
/// that the locked rows are of, `held` those that had locked them before, or this one
/// where it has waited for a newer row.
fn lock(plan: &Plan, source_id: i32) -> String {
    let old = key_values(plan, "old");
    let keys: Vec<_> = old.iter().map(|v| format!("({v})::text")).collect();
    let by_key = format!(
        "        perform pg_advisory_xact_lock(hashtextextended(concat_ws('|', {}), {source_id}));",
        keys.join(", ")
    );
    let mut targets = plan.row_targets().map(|(_, t)| t);
    let Some(first) = targets.next() else {
        return by_key;
    };
    // Who adds a row that refers to the first target's waits; the others need no more
    // than what an UPDATE takes.
    let others: String = targets
        .map(|t| {
            format!(
                "\n        perform from {} t where {} for no key update;",
                t.table.name.sql(),
                update::carried(t, &old)
            )
        })
        .collect();
    format!(
        "        select array_agg(x.held), array_agg(x.made) into held, made from
            (select t.xmax as held, t.xmin as made from {} t where {} for update) x;
        if held is null then
{by_key}
        end if;{others}",
        first.table.name.sql(),
        update::carried(first, &old)
    )
}

/// The row is not what the statement read. It may be the statement's own doing: a join
/// that finds the row twice changes it once in a table. What is to be there then mostly
/// is there; where it is not, a transaction that runs again would meet the same.
///
/// It is the statement's own where this transaction has written or locked the row before,
/// and the first target's has not been written by another one that this transaction may
/// have waited for: one that is not older than everything its snapshots know as running.
fn changed(plan: &Plan) -> String {
    let rows: Vec<_> = plan
        .row_targets()
        .map(|(_, t)| {
            format!(
                "or exists (select from {} t where {} and t.xmin = any(crossfade.own))",
                t.table.name.sql(),
                update::carried(t, &key_values(plan, "old"))
            )
        })
        .collect();
    let there: Vec<_> = plan
        .source
        .columns
        .iter()
        .filter(|c| !c.generated)
        .map(|c| {
            let of = |record: &str| format!("{record}.{}", c.quoted());
            format!(
                "({} or {})",
                kept::alike(&of("new"), &of("old")),
                kept::alike(&of("new"), &of("present"))
            )
        })
        .collect();
    format!(
        "            own := array(select l.transactionid from pg_catalog.pg_locks l
                where l.pid = pg_backend_pid() and l.locktype = 'transactionid' and l.mode = 'ExclusiveLock');
            if (own && held {rows})
                and not exists (select from unnest(crossfade.made) m where m <> all(crossfade.own) and coalesce(age(m) <=
                    (select age(a.backend_xmin) from pg_stat_get_activity(pg_backend_pid()) a), true)) then
                if tg_op = 'UPDATE' and {there} then
                    return null;
                end if;
                raise exception 'crossfade: a statement cannot change a row of %.% a second time',
                    quote_ident(tg_table_schema), quote_ident(tg_table_name)
                    using errcode = '21000', hint = 'Let it find each row once.';
            end if;
            raise exception 'crossfade: a row of %.% has changed since this statement read it',
                quote_ident(tg_table_schema), quote_ident(tg_table_name)
                using errcode = '40001', hint = 'Run the transaction again.';",
        rows = rows.join("\n                "),
        there = there.join(" and "),
    )
}

fn merge_body(plan: &Plan, further: &[Further]) -> String {
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let source = update::source(plan, "new");
    let touched = |record: &str| -> String {
        let keys: Vec<_> = key_values(plan, record)
            .iter()
            .enumerate()
            .map(|(i, v)| format!("{v} as k{i}"))
            .collect();
        format!("touched as materialized (select {})", keys.join(", "))
    };
    let names: Vec<_> = plan.key_columns().map(Column::quoted).collect();
    let key = |record: &str| -> String {
        let parts: Vec<_> = names.iter().map(|n| format!("{record}.{n}")).collect();
        parts.join(", ")
    };
    // By their images: a key that is equal and printed otherwise is another text.
    let stays = kept::alike(&key("old"), &key("new"));
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
            before: &update::source(plan, "old"),
            after: &source,
            key: &key_values(plan, "old"),
        };
        statements(&[update::merge(plan, &row, further)])
    } else {
        let merge = statements(&plan.merge_bound(&source, &touched("new"), &all));
        if further.iter().any(Further::any) {
            format!(
                "begin\n{merge}exception when unique_violation or exclusion_violation then\n{delete}{insert}end;\n"
            )
        } else {
            merge
        }
    };
    format!(
        "
#variable_conflict use_column
declare
    done int;
{declarations}begin
if op = 'DELETE' then
{delete}
return;
end if;
{lookups}
if op = 'INSERT' then
{insert}
elsif {stays} then
{merge}
else
{delete}
{insert}
end if;
{kept}
end ",
        declarations = kept::declarations(plan),
        kept = kept::sql(plan),
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
