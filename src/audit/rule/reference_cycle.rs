//! Tables that need each other's rows to exist first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity};
use crate::audit::question::Claim;
use crate::audit::schema::{Database, ForeignKey, Table};
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "reference-cycle",
    category: Category::Structure,
    finds: "tables whose foreign keys lead back to them with no way to begin",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    cycles(&facts.database)
        .into_iter()
        .map(|c| Claim::settled(finding(&facts.database, &c)))
        .collect()
}

/// Where nothing can be left out at first: every column NOT NULL, checked at once.
fn is_hard(table: &Table, key: &ForeignKey) -> bool {
    let not_null = key
        .columns
        .iter()
        .all(|c| table.column(c).is_some_and(|c| c.not_null));
    not_null && !key.deferrable && key.referenced != table.name
}

/// Sets of tables that reach each other over hard keys.
fn cycles(database: &Database) -> Vec<Vec<QualifiedName>> {
    let mut reach: BTreeMap<&QualifiedName, BTreeSet<&QualifiedName>> = BTreeMap::new();
    for table in database.designed() {
        for key in table.foreign_keys.iter().filter(|k| is_hard(table, k)) {
            reach
                .entry(&table.name)
                .or_default()
                .insert(&key.referenced);
        }
    }
    let reachable = |from: &QualifiedName| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&QualifiedName> =
            reach.get(from).into_iter().flatten().copied().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(reach.get(next).into_iter().flatten().copied());
            }
        }
        seen
    };
    let all: BTreeMap<&QualifiedName, BTreeSet<&QualifiedName>> =
        reach.keys().map(|t| (*t, reachable(t))).collect();
    let mut found: Vec<Vec<QualifiedName>> = Vec::new();
    for (table, reached) in &all {
        if !reached.contains(table) || found.iter().flatten().any(|t| t == *table) {
            continue;
        }
        let members = reached
            .iter()
            .filter(|other| all.get(*other).is_some_and(|r| r.contains(table)))
            .map(|t| (*t).clone())
            .collect();
        found.push(members);
    }
    found
}

fn finding(database: &Database, cycle: &[QualifiedName]) -> Finding {
    let names: Vec<String> = cycle.iter().map(ToString::to_string).collect();
    let keys: Vec<(&Table, &ForeignKey)> = cycle
        .iter()
        .filter_map(|n| database.table(n))
        .flat_map(|t| t.foreign_keys.iter().map(move |k| (t, k)))
        .filter(|(t, k)| is_hard(t, k) && cycle.contains(&k.referenced))
        .collect();
    let list: Vec<_> = cycle
        .iter()
        .map(|n| format!("{}::regclass", literal(&n.sql())))
        .collect();
    let mut finding = RULE.finding(
        Severity::Medium,
        format!("{} each need a row of the other first", listed(&names)),
    );
    for name in cycle {
        finding = finding.on(Object::table(name));
    }
    for (table, key) in &keys {
        finding = finding.because(format!(
            "{}.{} is NOT NULL and refers to {} at once",
            table.name,
            key.columns.join(", "),
            key.referenced
        ));
    }
    let rows = cycle
        .iter()
        .filter_map(|n| database.table(n))
        .map(Table::estimated_rows)
        .sum();
    let list = list.join(", ");
    finding
        .proof(format!(
            "select conrelid::regclass, conname, confrelid::regclass from pg_constraint where contype = 'f' and conrelid in ({list}) and confrelid in ({list}) and not condeferrable"
        ))
        .remedy("make one of the keys DEFERRABLE INITIALLY DEFERRED, or its column nullable")
        .cost(Effort::Statement, rows, 0, "ALTER CONSTRAINT … DEFERRABLE takes a moment's lock and reads no rows")
        .harm(3.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn a_cycle_is_hard_only_where_nothing_can_be_left_out() {
        let tables = |second: &str| {
            vec![
                table("departments", &["id int8", second]).refers(
                    &["manager_id"],
                    "employees",
                    &["id"],
                ),
                table(
                    "employees",
                    &["id int8", "department_id int8!", "boss_id int8!"],
                )
                .refers(&["department_id"], "departments", &["id"])
                .refers(&["boss_id"], "employees", &["id"]),
            ]
        };
        assert_eq!(
            titles(&RULE, &facts(tables("manager_id int8!"))),
            ["public.departments and public.employees each need a row of the other first"]
        );
        assert!(titles(&RULE, &facts(tables("manager_id int8"))).is_empty());
        let mut deferred = tables("manager_id int8!");
        deferred[0].foreign_keys[0].deferrable = true;
        assert!(titles(&RULE, &facts(deferred)).is_empty());
    }
}
