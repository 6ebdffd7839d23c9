//! Tables that nothing is connected to and that look left over.

use super::{Rule, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity};
use crate::audit::question::Claim;
use crate::audit::schema::Table;
use crate::audit::word::{stem, words};
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "orphan-table",
    category: Category::Structure,
    finds: "tables that are connected to nothing and look left over",
    check,
};

const LEFTOVERS: &[&str] = &[
    "backup",
    "bak",
    "bkp",
    "old",
    "tmp",
    "temp",
    "copy",
    "deprecated",
    "unused",
    "obsolete",
    "delete",
];

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .database
        .designed()
        .filter_map(|t| finding(facts, t))
        .map(Claim::settled)
        .collect()
}

fn finding(facts: &Facts, table: &Table) -> Option<Finding> {
    let connected = table.dependents > 0
        || !table.parents.is_empty()
        || facts
            .database
            .tables
            .iter()
            .any(|t| t.parents.contains(&table.name))
        || facts
            .references
            .iter()
            .any(|r| r.is_declared() && (r.table == table.name || r.referenced == table.name));
    if connected {
        return None;
    }
    let copied = copy_of(facts, table);
    let named = words(&table.name.name)
        .iter()
        .any(|w| LEFTOVERS.contains(&w.as_str()));
    let dated = words(&table.name.name)
        .iter()
        .any(|w| (w.len() == 8 || w.len() == 6) && w.starts_with("20") && w.parse::<u32>().is_ok());
    let old_enough = facts
        .database
        .statistics_age
        .is_some_and(|age| age.as_secs() >= u64::from(facts.thresholds.unused_after_days) * 86_400);
    let a = &table.activity;
    let unused = old_enough && a.sequential_scans + a.index_scans + a.writes() == 0;
    let signs = usize::from(copied.is_some()) + usize::from(named || dated) + usize::from(unused);
    // One sign is an accident: an archive has the columns of its table, a table called
    // `old_prices` can be in use.
    if signs < 2 {
        return None;
    }
    let name = &table.name;
    let mut finding = RULE
        .finding(Severity::Low, format!("{name} looks left over"))
        .on(Object::table(name))
        .confidence(Confidence::share(if signs == 3 { 0.95 } else { 0.8 }))
        .because("no foreign key and no view is connected to it");
    if let Some(other) = copied {
        finding = finding.because(format!("it has the columns of {}", other.name));
    }
    if named || dated {
        finding = finding.because("its name says so");
    }
    if unused {
        finding =
            finding.because("it was neither read nor written since the server began to count");
    }
    Some(
        finding
            .proof(format!(
                "select seq_scan, idx_scan, n_tup_ins + n_tup_upd + n_tup_del as writes from pg_stat_all_tables where relid = {}::regclass",
                literal(&name.sql())
            ))
            .remedy(format!("ask who made it; then rename it for a while, and drop it when nobody misses it ({} rows)", grouped(table.estimated_rows())))
            .cost(Effort::Statement, 0, 0, "RENAME and DROP take a moment's ACCESS EXCLUSIVE")
            .harm(table.weight() - 2.0),
    )
}

/// A table with nearly the same columns, whose name is part of this one's.
fn copy_of<'a>(facts: &'a Facts, table: &Table) -> Option<&'a Table> {
    let own = stem(&table.name.name);
    facts.database.designed().find(|other| {
        let alike = table
            .columns
            .iter()
            .filter(|c| {
                other
                    .column(&c.name)
                    .is_some_and(|o| o.data_type.class == c.data_type.class)
            })
            .count();
        let most = table.columns.len().max(other.columns.len());
        let part = own.contains(&stem(&other.name.name)) && own != stem(&other.name.name);
        other.oid != table.oid && part && most > 1 && alike * 10 >= most * 8
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn a_copy_with_a_date_in_its_name_is_left_over() {
        let columns = ["id int8", "name text", "price numeric"];
        let tables = vec![
            table("products", &columns),
            table(
                "products_backup_20210105",
                &["id int8", "name text", "price numeric"],
            ),
            table("schema_migrations", &["version text"]),
            table("archived_products", &columns),
            table("old_prices", &["id int8", "amount numeric"]),
        ];
        assert_eq!(
            titles(&RULE, &facts(tables)),
            ["public.products_backup_20210105 looks left over"]
        );
    }

    #[test]
    fn what_a_view_reads_is_connected() {
        let columns = ["id int8", "name text"];
        let copy = table("products_old", &columns).changed(|t| t.dependents = 1);
        assert!(titles(&RULE, &facts(vec![table("products", &columns), copy])).is_empty());
    }
}
