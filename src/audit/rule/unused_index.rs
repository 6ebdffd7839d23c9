//! Indexes that nobody has read for long.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Index, Table};
use crate::audit::twin::twin;
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "unused-index",
    category: Category::Index,
    finds: "indexes that were not used since the server began to count",
    check,
};

/// One page is no cost.
const SMALLEST: u64 = 16 * 1024;

fn check(facts: &Facts) -> Vec<Claim> {
    // A server that counts since yesterday knows nothing of the end of the month, and
    // one that nobody reads knows nothing at all.
    let Some(age) = facts.database.statistics_age else {
        return Vec::new();
    };
    let days = age.as_secs() / 86_400;
    if days < u64::from(facts.thresholds.unused_after_days) || facts.database.standby {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        let read = table.activity.sequential_scans + table.activity.index_scans > 0;
        for index in table.indexes.iter().filter(|i| is_unused(table, i)) {
            if !read {
                continue;
            }
            let name = plain(&index.name.name);
            let finding = RULE
                .finding(Severity::Low, format!("{}: index {name} was not used for {days} days", table.name))
                .on(Object::index(&table.name, &index.name.name))
                .confidence(Confidence::share(0.8))
                .measured(
                    format!(
                        "0 scans in {days} days, while the table was read {} times and written {} times; it takes {} KiB",
                        grouped(table.activity.sequential_scans + table.activity.index_scans),
                        grouped(table.activity.writes()),
                        index.bytes / 1024
                    ),
                    &[("days", float(days)), ("bytes", float(index.bytes)), ("writes", float(table.activity.writes()))],
                )
                .because("standbys count for themselves: look there, too")
                .proof(format!(
                    "select idx_scan, idx_tup_read, (select stats_reset from pg_stat_database where datname = current_database()) from pg_stat_all_indexes where indexrelid = {}::regclass",
                    literal(&index.name.sql())
                ))
                .remedy(format!("DROP INDEX CONCURRENTLY {name}, once nothing rare (a monthly report, a standby) needs it"))
                .cost(Effort::Statement, 0, index.bytes, "CONCURRENTLY waits for open transactions and blocks nobody")
                .fix(Fix::DropIndex {
                    table: table.name.clone(),
                    index: index.name.clone(),
                    definition: index.definition.clone(),
                })
                .harm(float(index.bytes.max(1)).log10() - 1.0 + (1.0 + float(table.activity.writes())).log10() / 4.0);
            claims.push(Claim::settled(finding));
        }
    }
    claims
}

fn is_unused(table: &Table, index: &Index) -> bool {
    let serves_a_key = table.foreign_keys.iter().any(|f| {
        index
            .keys
            .first()
            .and_then(|k| k.column.as_ref())
            .is_some_and(|c| f.columns.contains(c))
    });
    index.scans == 0
        && index.valid
        && !index.unique
        && index.constraint.is_none()
        && !index.replica_identity
        && !index.partition_of_index
        // A foreign key's index is used by DELETEs that may never have come yet.
        && !serves_a_key
        && index.bytes >= SMALLEST
        && table.kind != crate::audit::schema::TableKind::Partitioned
        && twin(table, index).is_none()
        && !stands_in(table, index)
}

/// Another index is superfluous only as long as this one is there, and may be the one that is
/// used.
fn stands_in(table: &Table, index: &Index) -> bool {
    let mut kept = table.indexes.iter().filter_map(|i| twin(table, i));
    kept.any(|(kept, _)| kept.name == index.name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn only_a_server_that_has_counted_for_long_can_say_so() {
        let t = table("t", &["id int8", "a text", "b text"])
            .with_index("a", &["a"])
            .which(|i| {
                i.scans = 0;
                i.bytes = 1 << 20;
            })
            .with_index("b", &["b"])
            .which(|i| {
                i.scans = 0;
                i.bytes = 1 << 20;
                i.unique = true;
            })
            .changed(|t| t.activity.sequential_scans = 9);
        let mut facts = facts(vec![t]);
        assert!(
            titles(&RULE, &facts).is_empty(),
            "nobody knows for how long"
        );
        facts.database.statistics_age = Some(Duration::from_secs(86_400));
        assert!(titles(&RULE, &facts).is_empty(), "one day");
        facts.database.statistics_age = Some(Duration::from_secs(30 * 86_400));
        assert_eq!(
            titles(&RULE, &facts),
            ["public.t: index a was not used for 30 days"]
        );
        facts.database.standby = true;
        assert!(titles(&RULE, &facts).is_empty(), "a standby counts its own");
    }

    #[test]
    fn of_two_that_are_the_same_one_stays() {
        let t = table("t", &["id int8", "a text"])
            .with_index("a1", &["a"])
            .which(|i| {
                i.scans = 0;
                i.bytes = 1 << 20;
            })
            .changed(|t| t.activity.sequential_scans = 9);
        let used_twin = t.clone().with_index("a2", &["a"]);
        for (t, unused) in [(t, 1), (used_twin, 0)] {
            let mut facts = facts(vec![t]);
            facts.database.statistics_age = Some(Duration::from_secs(30 * 86_400));
            assert_eq!(titles(&RULE, &facts).len(), unused);
        }
    }
}
