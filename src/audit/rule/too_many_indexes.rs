//! Tables that are written often and have many indexes.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity};
use crate::audit::question::Claim;
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "too-many-indexes",
    category: Category::Index,
    finds: "many indexes on a table that is written often",
    check,
};

const MANY: usize = 9;
const FEWEST_WRITES: u64 = 10_000;

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        let count = table.indexes.len();
        let a = &table.activity;
        let hot = a.writes() >= FEWEST_WRITES && a.writes() > a.index_scans + a.sequential_scans;
        if count < MANY || !hot {
            continue;
        }
        let name = &table.name;
        let finding = RULE
            .finding(Severity::Medium, format!("{name} is written often and has {count} indexes"))
            .on(Object::table(name))
            .confidence(Confidence::share(0.75))
            .measured(
                format!(
                    "{} writes and {} reads; {} of {} updates touched no index",
                    grouped(a.writes()),
                    grouped(a.index_scans + a.sequential_scans),
                    grouped(a.hot_updates),
                    grouped(a.updates)
                ),
                &[("writes", float(a.writes())), ("indexes", float(count as u64)), ("hot_updates", float(a.hot_updates))],
            )
            .measured(
                format!("the indexes take {} KiB beside {} KiB of the table", table.index_bytes / 1024, table.bytes / 1024),
                &[("index_bytes", float(table.index_bytes)), ("bytes", float(table.bytes))],
            )
            .proof(format!(
                "select indexrelid::regclass, idx_scan, pg_relation_size(indexrelid) from pg_stat_all_indexes where relid = {}::regclass order by 2",
                literal(&name.sql())
            ))
            .remedy("drop the ones that are read least; make several of one column into one of several")
            .cost(Effort::Statement, 0, table.index_bytes, "DROP INDEX CONCURRENTLY blocks nobody")
            .harm(table.weight());
        claims.push(Claim::settled(finding));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn only_a_table_that_is_written_more_than_read_counts() {
        let of = |writes, reads| {
            let mut t = table("t", &["id int8", "a text"]);
            for i in 0..10 {
                t = t.with_index(&format!("i{i}"), &["a"]);
            }
            t.activity.inserts = writes;
            t.activity.index_scans = reads;
            titles(&RULE, &facts(vec![t])).len()
        };
        assert_eq!((of(50_000, 100), of(100, 0), of(50_000, 90_000)), (1, 0, 0));
    }
}
