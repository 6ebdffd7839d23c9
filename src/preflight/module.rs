//! Every module of the configuration against the tables it names.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{Finding, Report, Scene, carried, role, source, target, way_back};
use crate::error::{Context, Error, Kind, Result};
use crate::state::{migration, place};
use crate::transform::{Module, Plan, bind};

pub(super) async fn check(client: &mut Client, scene: &Scene<'_>, report: &mut Report) {
    // Where it cannot be told, `replica_role` has failed already.
    let replica = role::may_be_replica(client).await.unwrap_or(false);
    let mut plans = Vec::new();
    for dir in &scene.config.transforms {
        let module = match Module::load(dir) {
            Ok(module) => module,
            Err(e) => {
                report.add("module", Err(e));
                continue;
            }
        };
        // A switch may have renamed the tables of a migration that has begun.
        let bound = match begun(client, scene).await {
            Some(id) => place::bind(client, id, &module).await,
            None => bind::bind(client, &module).await,
        };
        match bound {
            Ok(plan) => {
                report.add("module", Ok(Finding::ok(summary(&plan))));
                plans.push(plan);
            }
            Err(problems) => {
                for problem in problems {
                    report.add("module", Err(problem));
                }
            }
        }
        if report.connection_lost() {
            return;
        }
    }
    for plan in &plans {
        source::check(client, plan, report).await;
        report.add("select", may_run(client, plan).await);
        report.add("carried_key", carried::carried(client, plan).await);
        report.add("other_tables", others(client, plan).await);
        let siblings: Vec<u32> = plan.targets.iter().map(|t| t.table.oid).collect();
        for t in &plan.targets {
            target::check(client, scene, t, &siblings, replica, report).await;
            report.add(
                "target_constraints",
                source::deferrable(client, &t.table).await,
            );
        }
    }
    report.add("tables", distinct(&plans));
    way_back::check(client, scene, &plans, report).await;
}

/// The migration's number where it has begun.
async fn begun(client: &Client, scene: &Scene<'_>) -> Option<i32> {
    scene.begun?;
    let row = migration::find(client, &scene.config.name).await;
    row.ok().flatten().map(|row| row.id)
}

fn summary(plan: &Plan) -> String {
    let targets: Vec<_> = plan
        .targets
        .iter()
        .map(|t| t.table.name.to_string())
        .collect();
    format!(
        "{}: {} → {}",
        plan.module.name,
        plan.source.name,
        targets.join(", ")
    )
}

/// EXPLAIN starts the SELECTs without running them, which is when the server
/// checks privileges on every table and function they use.
async fn may_run(client: &Client, plan: &Plan) -> Result<Finding> {
    for (t, spec) in plan.targets.iter().zip(&plan.module.targets) {
        let sql = format!(
            "explain with {} select * from ({}\n) q",
            plan.source_range((false, false)),
            t.select
        );
        client
            .query(&sql, &[])
            .await
            .map_err(|e| {
                let error = Error::from(e);
                match error.kind {
                    Kind::Privilege => error.remedy("GRANT what is named to the role"),
                    Kind::Connection => error,
                    _ => Error {
                        kind: Kind::Module,
                        ..error
                    },
                }
            })
            .context(format!("module {}, {}", plan.module.name, spec.file))?;
    }
    Ok(Finding::ok(format!(
        "the role may run the SELECTs of {}",
        plan.module.name
    )))
}

/// What a SELECT reads beside the row and earlier targets is as it is at that moment: nobody
/// follows its changes.
async fn others(client: &Client, plan: &Plan) -> Result<Finding> {
    let own: Vec<u32> = plan.targets.iter().map(|t| t.table.oid).collect();
    let read: Vec<u32> = plan
        .targets
        .iter()
        .flat_map(|t| t.relations.iter().copied())
        .filter(|oid| !own.contains(oid))
        .collect();
    let row = client
        .query_one(
            "select string_agg(distinct c.oid::regclass::text, ', ') from pg_catalog.pg_class c
             where c.oid = any($1::oid[]) and c.relnamespace <> 'pg_catalog'::regnamespace",
            &[&read],
        )
        .await?;
    let name = &plan.module.name;
    let Some(tables) = row.get::<_, Option<String>>(0) else {
        let found = format!("the SELECTs of {name} read nothing that is not followed");
        return Ok(Finding::ok(found));
    };
    Ok(Finding::warning(
        format!("the SELECTs of {name} read {tables}, whose changes are not followed"),
        "leave it as it is until the switch: rows made before a change of it would be made otherwise after it, and `crossfade verify` would name them",
    ))
}

/// A target that is also a source would feed itself.
fn distinct(plans: &[Plan]) -> Result<Finding> {
    let mut written: BTreeMap<u32, &str> = BTreeMap::new();
    let mut shared = Vec::new();
    for plan in plans {
        for t in &plan.targets {
            if let Some(source) = plans.iter().find(|p| p.source.oid == t.table.oid) {
                return Err(Error::new(
                    Kind::Module,
                    format!(
                        "{} is a target of module {} and the source of module {}",
                        t.table.name, plan.module.name, source.module.name
                    ),
                )
                .remedy("write into a table that no module reads from as its source"));
            }
            let read = |p: &&Plan| t.relations.contains(&p.source.oid);
            if let Some(other) = plans.iter().find(read) {
                return Err(Error::new(
                    Kind::Module,
                    format!(
                        "module {} reads {}, the source of module {}, whose changes would not reach its rows and which the switch may rename",
                        plan.module.name, other.source.name, other.module.name
                    ),
                )
                .remedy("carry what is needed of it in a lookup target of its own, or migrate one after the other"));
            }
            let other = written.insert(t.table.oid, &plan.module.name);
            if other.is_some() && !t.is_lookup() {
                shared.push(t.table.name.to_string());
            }
        }
    }
    if shared.is_empty() {
        return Ok(Finding::ok(
            "no table is both source and target, nor read beside its own module",
        ));
    }
    Err(Error::new(
        Kind::Module,
        format!(
            "several modules write {}: to each of them the rows of the others are rows too many, and a TRUNCATE of its source takes them away",
            shared.join(", ")
        ),
    )
    .remedy("give each source a target of its own, a partition for one; only lookups can be shared"))
}
