//! Every name that the switch gives must be free, those included that come along with
//! a table: its indexes and the sequences it owns are in its schema too.

use tokio_postgres::Client;

use super::{Check, check as gate};
use crate::config::{Config, Strategy, old_name};
use crate::cutover::Direction;
use crate::error::Result;
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;

/// A table that gets another name.
struct Move {
    oid: u32,
    from: QualifiedName,
    to: QualifiedName,
}

fn moves(strategy: Strategy, plan: &Plan, direction: Direction) -> Vec<Move> {
    if !matches!(strategy, Strategy::Rename | Strategy::View) {
        return Vec::new();
    }
    let source = &plan.source;
    let mut moves = vec![Move {
        oid: source.oid,
        from: source.name.clone(),
        to: match direction {
            Direction::Forward => old_name(&source.name),
            Direction::Back => plan.module.source.clone(),
        },
    }];
    for (spec, target) in plan.module.targets.iter().zip(&plan.targets) {
        let to = match direction {
            Direction::Forward => target.rename_to.clone(),
            Direction::Back => Some(spec.table.clone()),
        };
        if let Some(to) = to.filter(|to| *to != target.table.name) {
            moves.push(Move {
                oid: target.table.oid,
                from: target.table.name.clone(),
                to,
            });
        }
    }
    moves
}

/// Before the switch every table still has the name that the module gives it. One that has
/// another was put aside by somebody, and what has its name now is a table that nobody
/// has followed.
fn in_place(plan: &Plan, direction: Direction) -> Check {
    let source = (&plan.module.source, &plan.source.name);
    let specs = plan.module.targets.iter().zip(&plan.targets);
    let targets = specs.map(|(spec, target)| (&spec.table, &target.table.name));
    let moved: Vec<_> = std::iter::once(source)
        .chain(targets)
        .filter(|(given, now)| direction == Direction::Forward && given != now)
        .map(|(given, now)| format!("{given} is called {now} by now"))
        .collect();
    gate(
        "tables",
        moved.is_empty(),
        match moved.as_slice() {
            [] => format!(
                "the tables of module {} are where they were",
                plan.module.name
            ),
            _ => moved.join("; "),
        },
        "give the table its name back, or `crossfade abort` and begin anew with the one that has it now",
    )
}

pub(super) async fn check(
    client: &Client,
    config: &Config,
    plan: &Plan,
    direction: Direction,
) -> Result<Vec<Check>> {
    let moves = moves(config.switch.strategy, plan, direction);
    let mut checks = vec![in_place(plan, direction)];
    // What is moved away makes room, and the view is dropped before the table returns.
    let moving: Vec<u32> = moves.iter().map(|m| m.oid).collect();
    for Move { oid, from, to } in &moves {
        let from_view = config.switch.strategy == Strategy::View
            && direction == Direction::Back
            && *to == plan.module.source;
        let taken = !from_view && taken(client, to, &moving).await?;
        checks.push(gate(
            "free_names",
            !taken,
            format!("{to} {}", if taken { "exists" } else { "is free" }),
            format!("rename or drop {to}"),
        ));
        if from.schema != to.schema {
            checks.extend(followers(client, *oid, to).await?);
        }
    }
    Ok(checks)
}

async fn taken(client: &Client, name: &QualifiedName, moving: &[u32]) -> Result<bool> {
    Ok(client
        .query_one(
            "select coalesce(to_regclass($1)::oid <> all($2), false)",
            &[&name.sql(), &moving],
        )
        .await?
        .get(0))
}

/// Renaming a table does not rename its indexes, so an old `orders_pkey` often is where
/// the new one would go.
async fn followers(client: &Client, oid: u32, to: &QualifiedName) -> Result<Option<Check>> {
    let rows = client
        .query(
            "with mine as (
                 select indexrelid as oid from pg_index where indrelid = $1
                 union
                 select objid from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
                 where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
                   and d.refobjid = $1 and d.deptype in ('a', 'i'))
             select n.nspname::text, c.relname::text,
                    case c.relkind when 'S' then 'SEQUENCE' else 'INDEX' end
             from mine join pg_class c on c.oid = mine.oid
             join pg_namespace n on n.oid = c.relnamespace
             where exists (select from pg_class x join pg_namespace xn on xn.oid = x.relnamespace
                           where x.relname = c.relname and xn.nspname = $2 and x.oid <> c.oid)
             order by 1, 2",
            &[&oid, &to.schema],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = rows.iter().map(|r| r.get(1)).collect();
    let remedy: Vec<String> = rows
        .iter()
        .map(|r| {
            let name = QualifiedName::new(r.get::<_, String>(0), r.get::<_, String>(1));
            format!("ALTER {} {} RENAME TO …", r.get::<_, String>(2), name.sql())
        })
        .collect();
    Ok(Some(gate(
        "free_names",
        false,
        format!(
            "{} exists in schema {} already, where {to} goes with its own",
            names.join(", "),
            quote(&to.schema)
        ),
        remedy.join("; "),
    )))
}
