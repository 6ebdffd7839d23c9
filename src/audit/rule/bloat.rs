//! Tables and indexes that are mostly room for rows that are not there.
//!
//! An estimate from sizes and statistics: no page is read. It is said only where it is
//! large beyond doubt.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Index, Table, TableKind};
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "bloat",
    category: Category::Index,
    finds: "tables and indexes that are much larger than their rows",
    check,
};

/// Times the expected size.
const TIMES: f64 = 3.0;
/// Bytes wasted, at least.
const LEAST_WASTE: f64 = 4.0 * 1024.0 * 1024.0;
/// Dead rows, at least, and as a share of all.
const DEAD_ROWS: u64 = 10_000;
const DEAD_SHARE: f64 = 0.3;
/// A row's header and item pointer; an index entry's.
const ROW_OVERHEAD: f64 = 28.0;
const ENTRY_OVERHEAD: f64 = 12.0;
/// Pages are filled so far by the server itself.
const FILLED: f64 = 0.9;

fn check(facts: &Facts) -> Vec<Claim> {
    let tables = facts
        .database
        .tables
        .iter()
        .filter(|t| !t.extension && matches!(t.kind, TableKind::Plain | TableKind::Partition));
    let mut claims = Vec::new();
    for table in tables {
        let Some(rows) = table.rows else { continue };
        claims.extend(heap(table, rows).map(Claim::settled));
        for index in table
            .indexes
            .iter()
            .filter(|i| i.valid && i.method == "btree")
        {
            claims.extend(tree(table, index, rows).map(Claim::settled));
        }
    }
    claims
}

/// The mean width of the columns, where every one has been analyzed.
fn width<'a>(columns: impl Iterator<Item = &'a Column>) -> Option<f64> {
    let mut sum = 0.0;
    for column in columns {
        let s = column.statistics?;
        // Alignment costs some bytes a column.
        sum += (f64::from(s.average_width) + 4.0) * (1.0 - s.null_fraction);
    }
    Some(sum)
}

fn heap(table: &Table, rows: u64) -> Option<Finding> {
    let a = &table.activity;
    let dead = a.dead_rows;
    let dead_share = float(dead) / float((dead + a.live_rows).max(1));
    let expected = width(table.columns.iter()).map(|w| float(rows) * (w + ROW_OVERHEAD) / FILLED);
    let wasted = expected.map_or(0.0, |e| float(table.bytes) - e);
    let large = expected.is_some_and(|e| float(table.bytes) > TIMES * e) && wasted > LEAST_WASTE;
    let dying = dead >= DEAD_ROWS && dead_share >= DEAD_SHARE;
    if !large && !dying {
        return None;
    }
    let name = &table.name;
    let mut finding = RULE
        .finding(
            Severity::Medium,
            format!("{name} is mostly dead or empty space"),
        )
        .on(Object::table(name))
        .confidence(Confidence::share(if dying { 0.9 } else { 0.75 }));
    if dying {
        finding = finding.measured(
            format!(
                "{} dead rows beside {} live ones: vacuum does not keep up",
                grouped(dead),
                grouped(a.live_rows)
            ),
            &[
                ("dead_rows", float(dead)),
                ("live_rows", float(a.live_rows)),
            ],
        );
    }
    if large {
        finding = finding.measured(
            format!(
                "{} KiB for about {} rows, which need about {:.0} KiB",
                table.bytes / 1024,
                grouped(rows),
                expected.unwrap_or(0.0) / 1024.0
            ),
            &[
                ("bytes", float(table.bytes)),
                ("expected", expected.unwrap_or(0.0)),
            ],
        );
    }
    Some(
        finding
            .proof(format!(
                "select n_live_tup, n_dead_tup, last_autovacuum, pg_table_size(relid) from pg_stat_all_tables where relid = {}::regclass",
                literal(&name.sql())
            ))
            .remedy("look for what holds vacuum back (an old transaction, a slot, its settings); pg_repack or VACUUM FULL gives the space back")
            .cost(Effort::Statement, rows, table.bytes, "VACUUM FULL rewrites the table under ACCESS EXCLUSIVE; pg_repack does not")
            .harm(table.weight() + wasted.max(1.0).log10() - 6.0),
    )
}

fn tree(table: &Table, index: &Index, rows: u64) -> Option<Finding> {
    // The width of an expression, and the share of a partial index, are not known.
    if index.predicate.is_some() {
        return None;
    }
    let columns: Option<Vec<&Column>> = index
        .keys
        .iter()
        .map(|k| k.column.as_deref())
        .chain(index.included.iter().map(|c| Some(c.as_str())))
        .map(|c| table.column(c?))
        .collect();
    let expected = float(rows) * (width(columns?.into_iter())? + ENTRY_OVERHEAD) / FILLED;
    let wasted = float(index.bytes) - expected;
    if float(index.bytes) <= TIMES * expected || wasted <= LEAST_WASTE {
        return None;
    }
    let name = plain(&index.name.name);
    Some(
        RULE.finding(Severity::Medium, format!("{}: index {name} is mostly empty", table.name))
            .on(Object::index(&table.name, &index.name.name))
            .confidence(Confidence::share(0.75))
            .measured(
                format!("{} KiB for about {} rows, which need about {:.0} KiB", index.bytes / 1024, grouped(rows), expected / 1024.0),
                &[("bytes", float(index.bytes)), ("expected", expected)],
            )
            .proof(format!("select pg_relation_size({}::regclass)", literal(&index.name.sql())))
            .remedy(format!("REINDEX INDEX CONCURRENTLY {name}"))
            .cost(Effort::Statement, rows, table.bytes, "CONCURRENTLY reads the table twice and blocks nobody; it needs room for a second index")
            .fix(Fix::Reindex { table: table.name.clone(), index: index.name.clone() })
            .harm(table.weight() + wasted.max(1.0).log10() - 6.5),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;
    use crate::audit::schema::ColumnStatistics;

    #[test]
    fn dead_rows_and_empty_pages_are_told_apart_from_full_ones() {
        let of = |bytes, index_bytes, dead| {
            let t = table("t", &["id int8", "a text"]).changed(|t| {
                t.rows = Some(100_000);
                t.bytes = bytes;
                t.activity.live_rows = 100_000;
                t.activity.dead_rows = dead;
                t.indexes[0].bytes = index_bytes;
                for c in &mut t.columns {
                    c.statistics = Some(ColumnStatistics {
                        null_fraction: 0.0,
                        distinct: -1.0,
                        average_width: 8,
                    });
                }
            });
            titles(&RULE, &facts(vec![t])).len()
        };
        let mib = 1 << 20;
        assert_eq!(of(6 * mib, 3 * mib, 500), 0);
        assert_eq!(of(40 * mib, 3 * mib, 0), 1);
        assert_eq!(of(6 * mib, 30 * mib, 0), 1);
        assert_eq!(of(6 * mib, 3 * mib, 90_000), 1);
    }
}
