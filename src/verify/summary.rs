//! What a verification comes to: the report, and the rows that no range holds.

use serde_json::json;
use tokio_postgres::{Client, GenericClient};

use super::Subject;
use super::compare::object;
use super::pass::frontier::Sums;
use super::report::{Difference, DifferenceKind, Report, SourceReport, Tally, TargetReport};
use super::sql::{Statements, pairs};
use crate::error::Result;
use crate::transform::Target;

/// (source, pair) in the order of a report's targets.
fn positions(subject: &Subject) -> Vec<(usize, usize)> {
    subject
        .sources
        .iter()
        .enumerate()
        .flat_map(|(s, (plan, _))| (0..pairs(plan)).map(move |t| (s, t)))
        .collect()
}

/// Rows in no range: a NULL in their key.
pub(super) async fn outside(
    client: &Client,
    subject: &Subject,
    source: usize,
    tally: &mut Tally,
) -> Result<()> {
    let (plan, chunks) = &subject.sources[source];
    let sql = Statements::new(plan, chunks);
    for (i, target) in plan.row_targets() {
        let rows = client
            .query(&sql.outside(target, tally.limit.max(1)), &[])
            .await?;
        let Some(first) = rows.first() else { continue };
        let count = u64::try_from(first.get::<_, i64>(1)).unwrap_or(0);
        let examples = rows
            .iter()
            .map(|row| Difference {
                table: target.table.name.to_string(),
                kind: DifferenceKind::Outside,
                reverse: false,
                source_key: Vec::new(),
                key: object(row.get(0)),
                columns: Vec::new(),
            })
            .collect();
        tally.add(source, i, count, examples);
    }
    Ok(())
}

/// A report of what was decided, with the quarantine counted.
pub(super) async fn summary<C: GenericClient>(
    client: &C,
    subject: &Subject,
    tally: Tally,
) -> Result<Report> {
    let ids: Vec<i32> = subject.sources.iter().map(|(_, c)| c.source_id).collect();
    let quarantined: i64 = client
        .query_one(
            "select count(*) from crossfade.quarantine where source_id = any($1)",
            &[&ids],
        )
        .await?
        .get(0);
    let targets = positions(subject)
        .into_iter()
        .map(|(s, t)| {
            let plan = &subject.sources[s].0;
            let target = plan.targets.get(t);
            TargetReport {
                table: target
                    .map_or(&plan.source.name, |t| &t.table.name)
                    .to_string(),
                reverse: target.is_none(),
                digest: None,
                differences: tally.counts.get(&(s, t)).copied().unwrap_or(0),
            }
        })
        .collect();
    Ok(Report {
        sources: subject
            .sources
            .iter()
            .map(|(plan, _)| SourceReport {
                table: plan.source.name.to_string(),
                ..SourceReport::default()
            })
            .collect(),
        targets,
        differences: tally.listed,
        quarantined: u64::try_from(quarantined).unwrap_or(0),
        moving: tally.moving,
        unsettled: tally.unsettled,
        suspects: tally.suspects,
        ..Report::default()
    })
}

/// Fills in what the ranges came to.
pub(super) fn fill(subject: &Subject, report: &mut Report, totals: &[Sums]) {
    for (of, sums) in report.sources.iter_mut().zip(totals) {
        of.ranges = sums.ranges;
        of.rows = sums.rows;
    }
    for (target, (s, t)) in report.targets.iter_mut().zip(positions(subject)) {
        let lookup = subject.sources[s].0.targets.get(t);
        if !lookup.is_some_and(Target::is_lookup) {
            target.digest = totals[s].targets.get(t).copied();
        }
    }
}

/// What a certificate says of the pass that earned it.
pub(super) fn detail(report: &Report) -> serde_json::Value {
    json!({
        "sources": report.sources.iter().map(|s| json!({
            "source": s.table, "ranges": s.ranges, "rows": s.rows,
        })).collect::<Vec<_>>(),
        "targets": report.targets.iter().map(|t| json!({
            "table": t.table, "reverse": t.reverse, "rows": t.digest.map(|d| d.rows),
            "checksum": t.digest.map(|d| d.checksum()),
        })).collect::<Vec<_>>(),
        "quarantined": report.quarantined,
    })
}
