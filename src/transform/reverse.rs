//! The way back: one SELECT that rebuilds the source's rows from the targets.
//!
//! It stands in `[reverse]` as a plain SELECT over whole tables. A run stores it as a
//! view (`crossfade.back_<id>`), which the server keeps by the tables' OIDs, so that
//! it means the same tables after a switch has renamed them. Wherever it is used it
//! is asked for some keys only; the condition goes down into the SELECT, to the
//! targets' indexes on `source_key`.

mod sql;

use tokio_postgres::Transaction;

use super::depend::{self, Facts};
use super::module::{ReverseSpec, TouchSpec};
use super::plan::{Plan, Target};
use crate::error::{Error, Kind, Result};
use crate::pg::catalog::{ReplicaIdentity, Table};
use crate::pg::quote;

/// A bound `[reverse]`.
#[derive(Debug, Clone)]
pub struct Reverse {
    /// The SELECT as it stands in the module.
    pub select: String,
    /// Positions in the source's columns of what it rebuilds: the key, and every other
    /// column that is not generated, or the `moved` ones. Ascending.
    pub columns: Vec<usize>,
    /// Targets it reads, by position.
    pub reads: Vec<usize>,
    /// The functions that somebody has made and the SELECT calls, by OID.
    pub functions: Vec<u32>,
    pub touches: Vec<Touch>,
}

/// Which source keys a change of a lookup touches.
#[derive(Debug, Clone)]
pub struct Touch {
    /// The lookup target, by position.
    pub target: usize,
    /// A SELECT of the source's key columns over the relation `changed`.
    pub select: String,
}

/// Compiles `[reverse]`, adding what is wrong with it to `problems`.
///
/// # Errors
/// Connection errors.
pub async fn compile(
    tx: &Transaction<'_>,
    plan: &Plan,
    problems: &mut Vec<Error>,
) -> Result<Option<Reverse>> {
    let module = &plan.module;
    if let Some(column) = module.moved.iter().find(|m| !moves(plan, m)) {
        problems.push(
            Error::new(
                Kind::Module,
                format!(
                    "module {}: {} has no column {} that could move",
                    module.name,
                    plan.source.name,
                    quote(column)
                ),
            )
            .remedy(
                "list columns of the source in `moved`, none of its key and none that is generated",
            ),
        );
    }
    let Some(spec) = &module.reverse else {
        return Ok(None);
    };
    tx.batch_execute("savepoint compile").await?;
    let facts = match depend::facts(tx, &plan.source, &spec.select, plan.targets.len()).await {
        Ok(facts) => facts,
        Err(e) => {
            tx.batch_execute("rollback to savepoint compile").await?;
            problems.push(e.context(format!("module {}, {}", module.name, spec.file)));
            return Ok(None);
        }
    };
    let before = problems.len();
    check_output(plan, spec, &facts, problems);
    let reads = check_reads(plan, spec, &facts, problems);
    let mut touches = Vec::new();
    for touch in &spec.touches {
        match compile_touch(tx, plan, touch).await? {
            Ok(touch) => touches.push(touch),
            Err(e) => problems.push(e),
        }
    }
    if problems.len() > before {
        return Ok(None);
    }
    Ok(Some(Reverse {
        select: spec.select.clone(),
        columns: rebuilt(plan),
        reads,
        functions: facts.functions,
        touches,
    }))
}

fn moves(plan: &Plan, name: &str) -> bool {
    plan.source
        .column_index(name)
        .is_some_and(|i| !plan.key.contains(&i) && !plan.source.columns[i].generated)
}

/// What a reverse has to give.
fn rebuilt(plan: &Plan) -> Vec<usize> {
    let moved = &plan.module.moved;
    (0..plan.source.columns.len())
        .filter(|&i| {
            let column = &plan.source.columns[i];
            plan.key.contains(&i)
                || (!column.generated && (moved.is_empty() || moved.contains(&column.name)))
        })
        .collect()
}

fn check_output(plan: &Plan, spec: &ReverseSpec, facts: &Facts, problems: &mut Vec<Error>) {
    let place = format!("module {}, {}", plan.module.name, spec.file);
    let mut refuse = |message: String, remedy: &str| {
        problems.push(Error::new(Kind::Module, format!("{place}: {message}")).remedy(remedy));
    };
    let wanted = rebuilt(plan);
    for &i in &wanted {
        let column = &plan.source.columns[i];
        if !facts.output.iter().any(|(name, _)| *name == column.name) {
            refuse(
                format!(
                    "column {} of {} is not rebuilt",
                    column.quoted(),
                    plan.source.name
                ),
                "select it, under the source's name for it: what is not rebuilt is lost on the way back",
            );
        }
    }
    for (_, target) in plan.row_targets() {
        for (source, name) in plan.key_columns().zip(&target.key) {
            let column = target.column(name);
            if !source.same_kind(column) {
                refuse(
                    format!(
                        "{}.{} is {}, and {}.{} is {}: a key written after the switch may have no counterpart, and one such row would leave nothing to compare",
                        target.table.name,
                        column.quoted(),
                        column.type_sql,
                        plan.source.name,
                        source.quoted(),
                        source.type_sql
                    ),
                    "give the target's key the source's type (smallint, integer and bigint are one, text and varchar too), or leave out [reverse]",
                );
            }
        }
    }
    for (name, _) in &facts.output {
        let known = plan.source.column_index(name);
        if !known.is_some_and(|i| wanted.contains(&i)) {
            refuse(
                format!("{} is not a column to rebuild", quote(name)),
                "give the source's columns only: all that are not generated, or with `moved` the key and those",
            );
        }
    }
    let stays = !plan.module.moved.is_empty();
    for (_, target) in plan.row_targets().filter(|_| stays) {
        let others: Vec<_> = (0..plan.source.columns.len())
            .filter(|i| !wanted.contains(i) && target.depends.on(*i))
            .map(|i| plan.source.columns[i].quoted())
            .collect();
        if !others.is_empty() {
            refuse(
                format!(
                    "{} is made of {} too, which the application goes on writing in {}",
                    target.table.name,
                    others.join(", "),
                    plan.source.name
                ),
                "make targets of the key and the `moved` columns only: after the switch nothing carries the others over",
            );
        }
    }
    if facts.reads_source {
        refuse(
            "it reads the relation `source`".to_owned(),
            "read the targets: the source is what is rebuilt",
        );
    }
    for function in &facts.unstable {
        refuse(
            format!("{function} can give another value each time it runs"),
            "derive the value from the targets' rows",
        );
    }
}

/// Every table it reads must be followed, so that each change is seen.
fn check_reads(
    plan: &Plan,
    spec: &ReverseSpec,
    facts: &Facts,
    problems: &mut Vec<Error>,
) -> Vec<usize> {
    let place = format!("module {}, {}", plan.module.name, spec.file);
    let mut reads = Vec::new();
    for &oid in &facts.relations {
        // The rows that stay are there in a split in place.
        if oid == plan.source.oid && !plan.module.moved.is_empty() {
            continue;
        }
        let Some(i) = plan.targets.iter().position(|t| t.table.oid == oid) else {
            problems.push(
                Error::new(
                    Kind::Module,
                    format!("{place}: it reads a relation (OID {oid}) that is no target"),
                )
                .remedy("read the module's targets only, by their own names and not through views: changes of anything else would not be seen"),
            );
            continue;
        };
        reads.push(i);
        let target = &plan.targets[i];
        if target.is_lookup() && !spec.touches.iter().any(|t| t.table == target.table.name) {
            problems.push(
                Error::new(
                    Kind::Module,
                    format!("{place}: it reads the lookup {}, and nothing says which rows a change of it touches", target.table.name),
                )
                .remedy("add [[reverse.touch]] with its `table` and a `select` of source keys over the relation `changed`"),
            );
        }
        problems.extend(check_identity(&place, target));
    }
    for target in &plan.targets {
        if target.rename_to.is_some()
            && plan.targets.iter().any(|t| {
                t.reads
                    .iter()
                    .any(|&r| plan.targets[r].table.oid == target.table.oid)
            })
        {
            problems.push(
                Error::new(
                    Kind::Module,
                    format!("{place}: {} is renamed at the switch and read by another SELECT, which would not find it afterwards", target.table.name),
                )
                .remedy("leave out `rename_to`, or do not read that target"),
            );
        }
    }
    reads
}

/// A change of a target's row must name the source key it belongs to.
fn check_identity(place: &str, target: &Target) -> Option<Error> {
    let table: &Table = &target.table;
    if table.identity == ReplicaIdentity::Full {
        return None;
    }
    let fits = table
        .key()
        .is_ok_and(|key| target.key.iter().all(|k| key.columns.contains(k)));
    if fits {
        return None;
    }
    let columns: Vec<_> = target.key.iter().map(|k| quote(k)).collect();
    Some(
        Error::new(
            Kind::Module,
            format!(
                "{place}: the replica identity of {} does not contain ({})",
                table.name,
                columns.join(", ")
            ),
        )
        .remedy(format!(
            "make it part of the primary key, or ALTER TABLE {} REPLICA IDENTITY USING INDEX a unique index that contains it, or REPLICA IDENTITY FULL",
            table.name.sql()
        )),
    )
}

async fn compile_touch(
    tx: &Transaction<'_>,
    plan: &Plan,
    spec: &TouchSpec,
) -> Result<Result<Touch, Error>> {
    let place = format!("module {}, {}", plan.module.name, spec.file);
    let Some(target) = plan
        .targets
        .iter()
        .position(|t| t.is_lookup() && t.table.name == spec.table)
    else {
        return Ok(Err(Error::new(
            Kind::Module,
            format!("{place}: {} is no lookup target", spec.table),
        )
        .remedy(
            "only lookups need a touch: a row target carries the source's key",
        )));
    };
    let touch = Touch {
        target,
        select: spec.select.clone(),
    };
    if let Some(renamed) = renamed_read(tx, plan, target, &spec.select).await? {
        return Ok(Err(Error::new(
            Kind::Module,
            format!("{place}: it reads {renamed}, which is renamed at the switch and would not be found afterwards"),
        )
        .remedy("leave out `rename_to` of that target")));
    }
    tx.batch_execute("savepoint touch").await?;
    let types = vec![postgres_types::Type::TEXT_ARRAY; plan.targets[target].key.len()];
    let prepared = tx.prepare_typed(&plan.touched_by(&touch), &types).await;
    tx.batch_execute("rollback to savepoint touch").await?;
    Ok(match prepared {
        Ok(_) => Ok(touch),
        Err(e) => {
            let error = Error::from(e);
            Err(Error {
                kind: depend::blame(error.kind),
                ..error
            }
            .context(place))
        }
    })
}

/// A target with `rename_to` that a touch reads; its text would mean another table, or
/// none, once the switch has renamed that. `None` also where it does not compile, which
/// is found next.
async fn renamed_read(
    tx: &Transaction<'_>,
    plan: &Plan,
    lookup: usize,
    select: &str,
) -> Result<Option<String>> {
    let target = &plan.targets[lookup];
    let columns: Vec<_> = target
        .key
        .iter()
        .map(|k| format!("{} as {}", target.column(k).cast("null"), quote(k)))
        .collect();
    let bound = format!(
        "with changed as (select {}) select * from ({select}\n) q",
        columns.join(", ")
    );
    tx.batch_execute("savepoint reads").await?;
    let facts = depend::facts(tx, &plan.source, &bound, plan.targets.len() + 1).await;
    tx.batch_execute("rollback to savepoint reads").await?;
    let Ok(facts) = facts else { return Ok(None) };
    let renamed = plan
        .targets
        .iter()
        .find(|t| t.rename_to.is_some() && facts.relations.contains(&t.table.oid));
    Ok(renamed.map(|t| t.table.name.to_string()))
}
