//! Whether a switch can be taken back, tried on a sample of the source's rows.

use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::{Finding, Report, Scene, identity};
use crate::error::{Context, Error, Kind, Result};
use crate::transform::{Plan, Reverse};

/// Rows from either end of the key that are taken there and back.
const SAMPLE: u32 = 500;

pub(super) async fn check(
    client: &mut Client,
    scene: &Scene<'_>,
    plans: &[Plan],
    report: &mut Report,
) {
    if plans.is_empty() {
        return;
    }
    report.add("way_back", Ok(there_is_one(plans)));
    let reversible = plans.iter().all(|plan| plan.reverse.is_some());
    if !scene.makes_slot() {
        return;
    }
    if reversible {
        report.add("way_back_slot", slots(client).await);
    }
    for (plan, reverse) in plans.iter().filter_map(|p| Some((p, p.reverse.as_ref()?))) {
        for target in reverse.reads.iter().map(|&i| &plan.targets[i]) {
            let key: Vec<&str> = target.key.iter().map(String::as_str).collect();
            let found = identity::check(client, &target.table, &key).await;
            report.add("target_identity", found);
        }
    }
    for plan in plans {
        if let Some(reverse) = &plan.reverse {
            report.add("round_trip", round_trip(client, plan, reverse).await);
        }
    }
}

fn there_is_one(plans: &[Plan]) -> Finding {
    let without: Vec<&str> = plans
        .iter()
        .filter(|plan| plan.reverse.is_none())
        .map(|plan| plan.module.name.as_str())
        .collect();
    if without.is_empty() {
        return Finding::ok("`crossfade switch --back` will be possible after the switch");
    }
    Finding::warning(
        format!(
            "there will be no way back after the switch: no [reverse] in module {}",
            without.join(", ")
        ),
        "add a [reverse] whose SELECT rebuilds the source's rows from the targets, before the first run",
    )
}

/// The way back needs a slot of its own beside the one of the way forward.
async fn slots(client: &Client) -> Result<Finding> {
    let free: i64 = client
        .query_one(
            "select current_setting('max_replication_slots')::bigint
                    - (select count(*) from pg_catalog.pg_replication_slots)",
            &[],
        )
        .await?
        .get(0);
    if free >= 2 {
        return Ok(Finding::ok(format!("{free} replication slots are free")));
    }
    Ok(Finding::warning(
        "one replication slot is free, and a way back needs another: the switch would wait for it",
        "drop a slot that nobody uses, or raise max_replication_slots and restart the server",
    ))
}

/// Writes what the module makes of the sample, rebuilds it, compares; then rolls back.
async fn round_trip(client: &mut Client, plan: &Plan, reverse: &Reverse) -> Result<Finding> {
    // One snapshot for the sample and for what the reverse reads beside the targets, such
    // as the table that stays in a split in place: a row that the application deletes or
    // changes in between would be called one that the reverse does not rebuild.
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    let found = sampled(&tx, plan, reverse).await;
    tx.rollback().await?;
    match found {
        // Somebody has a lock on the tables for longer than this waits; that is no fault of
        // the module's, nor a reason not to begin.
        Err(e) if e.kind == Kind::Contention => Ok(not_tried(plan, &e)),
        found => found,
    }
}

fn not_tried(plan: &Plan, error: &Error) -> Finding {
    Finding::warning(
        format!(
            "the way back of {} could not be tried on a sample: {}",
            plan.module.name, error.message
        ),
        "`crossfade verify` compares every row in both directions before the switch",
    )
}

async fn sampled(tx: &Transaction<'_>, plan: &Plan, reverse: &Reverse) -> Result<Finding> {
    tx.batch_execute(
        "select set_config('crossfade.session', 'on', true); set local lock_timeout = '2s'",
    )
    .await?;
    // Foreign keys and triggers stay out of it, where the role may say so.
    tx.batch_execute("savepoint role").await?;
    if tx
        .batch_execute("set local session_replication_role = replica")
        .await
        .is_err()
    {
        tx.batch_execute("rollback to savepoint role").await?;
    }
    let (up, down): (Vec<_>, Vec<_>) = plan
        .key_list("s.")
        .into_iter()
        .map(|k| (k.clone(), format!("{k} desc")))
        .unzip();
    let from = plan.source.from_sql();
    tx.batch_execute(&format!(
        "create temp table crossfade_sample on commit drop as
           (select * from {from} s order by {} limit {SAMPLE})",
        up.join(", ")
    ))
    .await
    .context("sampling the source")?;
    let known: Vec<_> = plan
        .key_columns()
        .map(|c| format!("x.{0} = s.{0}", c.quoted()))
        .collect();
    tx.batch_execute(&format!(
        "insert into pg_temp.crossfade_sample
         select * from (select * from {from} s order by {} limit {SAMPLE}) s
         where not exists (select from pg_temp.crossfade_sample x where {})",
        down.join(", "),
        known.join(" and ")
    ))
    .await
    .context("sampling the source")?;
    if let Some(finding) = write(tx, plan).await? {
        return Ok(finding);
    }
    compare(tx, plan, reverse).await
}

/// Writes the sample's targets; a finding where that cannot be tried.
async fn write(tx: &Transaction<'_>, plan: &Plan) -> Result<Option<Finding>> {
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let binding = "source as materialized (select * from pg_temp.crossfade_sample)";
    let mut statements = plan.insert_lookups(binding, &all);
    statements.extend(plan.insert(binding, &all, "select 1"));
    for sql in &statements {
        let Err(e) = tx.query(sql, &[]).await else {
            continue;
        };
        let error = Error::from(e);
        if error.is_bad_row() || matches!(error.kind, Kind::Contention | Kind::Privilege) {
            return Ok(Some(not_tried(plan, &error)));
        }
        return Err(error.context(format!("module {}", plan.module.name)));
    }
    Ok(None)
}

async fn compare(tx: &Transaction<'_>, plan: &Plan, reverse: &Reverse) -> Result<Finding> {
    let on: Vec<_> = plan
        .key_columns()
        .map(|c| format!("b.{0} = s.{0}", c.quoted()))
        .collect();
    let differs: Vec<String> = reverse
        .columns
        .iter()
        .map(|&i| {
            let c = &plan.source.columns[i];
            format!(
                "row(s.{0})::text is distinct from row({1})::text",
                c.quoted(),
                c.hold(&format!("b.{}", c.quoted()))
            )
        })
        .collect();
    let counts: Vec<String> = differs
        .iter()
        .map(|d| format!("count(*) filter (where {d})"))
        .collect();
    let row = tx
        .query_one(
            &format!(
                "select count(*), count(*) filter (where {}), {}
                 from pg_temp.crossfade_sample s left join lateral
                   (select {} from {} b where {}) b on true",
                differs.join(" or "),
                counts.join(", "),
                reverse.column_list(plan, "b."),
                reverse.inline(),
                on.join(" and ")
            ),
            &[],
        )
        .await
        .context(format!("module {}, [reverse]", plan.module.name))?;
    let (rows, wrong): (i64, i64) = (row.get(0), row.get(1));
    if wrong == 0 {
        return Ok(Finding::ok(format!(
            "{rows} sampled rows of {} are rebuilt exactly",
            plan.source.name
        )));
    }
    let columns: Vec<String> = reverse
        .columns
        .iter()
        .enumerate()
        .filter(|(n, _)| row.get::<_, i64>(2 + n) > 0)
        .map(|(n, &i)| {
            format!(
                "{} ({} rows)",
                plan.source.columns[i].quoted(),
                row.get::<_, i64>(2 + n)
            )
        })
        .collect();
    Err(Error::new(
        Kind::Module,
        format!(
            "module {}: the reverse does not rebuild {wrong} of {rows} sampled rows of {} exactly: {}",
            plan.module.name,
            plan.source.name,
            columns.join(", ")
        ),
    )
    .remedy("correct the reverse's SELECT: what it gives must print as the source's value does; or leave [reverse] out and have no way back"))
}
