//! Constraints that were never checked for the rows that were there before.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::{Claim, Question, count};
use crate::audit::schema::{ForeignKey, Table};
use crate::pg::ident::literal;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "not-valid-constraint",
    category: Category::Reference,
    finds: "constraints that are NOT VALID",
    check,
};

/// One that is NOT ENFORCED cannot be validated: it is meant to check nothing.
fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for key in table.foreign_keys.iter().filter(|k| !k.valid && k.enforced) {
            let readable = table.readable
                && facts
                    .database
                    .table(&key.referenced)
                    .is_some_and(|t| t.readable);
            if !readable {
                claims.push(Claim::settled(finding(table, &key.name, Some(key), None)));
                continue;
            }
            let (owned, key) = (table.clone(), key.clone());
            claims.push(Claim::Open(Question {
                about: format!("{}.{}", table.name, key.name),
                sql: orphans(table, &key),
                decide: Box::new(move |answer| {
                    Some(finding(
                        &owned,
                        &key.name,
                        Some(&key),
                        answer.map(|a| count(a, 0)),
                    ))
                }),
            }));
        }
        for check in table.checks.iter().filter(|c| !c.valid && c.enforced) {
            claims.push(Claim::settled(finding(table, &check.name, None, None)));
        }
    }
    claims
}

fn orphans(table: &Table, key: &ForeignKey) -> String {
    let pairs = key.columns.iter().zip(&key.referenced_columns);
    let equal: Vec<_> = pairs
        .map(|(a, b)| format!("r.{} = t.{}", quote(b), quote(a)))
        .collect();
    let filled: Vec<_> = key
        .columns
        .iter()
        .map(|c| format!("t.{} is not null", quote(c)))
        .collect();
    format!(
        "select count(*)::bigint from {} t where {} and not exists (select from {} r where {})",
        table.from_sql(),
        filled.join(" and "),
        key.referenced.sql(),
        equal.join(" and ")
    )
}

fn finding(table: &Table, name: &str, key: Option<&ForeignKey>, orphans: Option<u64>) -> Finding {
    let severity = if orphans.is_some_and(|o| o > 0) {
        Severity::High
    } else {
        Severity::Medium
    };
    let mut finding = RULE
        .finding(
            severity,
            format!("{}: constraint {} is NOT VALID", table.name, plain(name)),
        )
        .on(Object::constraint(&table.name, name));
    finding = match orphans {
        Some(0) => finding.measured("no row contradicts it", &[("orphans", 0.0)]),
        Some(n) => finding.measured(
            format!("{} rows refer to a row that does not exist", grouped(n)),
            &[("orphans", float(n))],
        ),
        None => finding.because("rows from before it was added were never checked"),
    };
    finding = finding.proof(match key {
        Some(key) => self::orphans(table, key),
        None => format!(
            "select pg_get_constraintdef(oid), convalidated from pg_constraint where conname = {} and conrelid = {}::regclass",
            literal(name),
            literal(&table.name.sql())
        ),
    });
    let remedy = if orphans.is_some_and(|o| o > 0) {
        "mend or delete the rows that contradict it, then VALIDATE CONSTRAINT"
    } else {
        "VALIDATE CONSTRAINT"
    };
    finding = finding
        .remedy(remedy)
        .cost(
            Effort::Statement,
            table.estimated_rows(),
            table.bytes,
            "VALIDATE reads the table under SHARE UPDATE EXCLUSIVE: reads and writes go on",
        )
        .harm(table.weight() + orphans.map_or(0.0, |o| (1.0 + float(o)).log10()));
    if key.is_none() {
        return finding;
    }
    finding.fix(Fix::ValidateForeignKey {
        table: table.name.clone(),
        constraint: name.to_owned(),
        orphans: orphans.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table, titles};
    use super::*;
    use crate::audit::schema::Check;

    #[test]
    fn rows_that_contradict_are_counted() {
        let mut orders = table("orders", &["id int8", "customer_id int8"]).refers(
            &["customer_id"],
            "customers",
            &["id"],
        );
        orders.foreign_keys[0].valid = false;
        let facts = facts(vec![table("customers", &["id int8"]), orders]);
        assert_eq!(findings(&RULE, &facts, &[0])[0].severity, Severity::Medium);
        let found = findings(&RULE, &facts, &[7]);
        assert_eq!(found[0].severity, Severity::High);
        assert_eq!(
            found[0].evidence[0].text,
            "7 rows refer to a row that does not exist"
        );
    }

    #[test]
    fn one_that_is_not_enforced_is_not_asked_to_be_valid() {
        let mut orders = table("orders", &["id int8", "customer_id int8"]).refers(
            &["customer_id"],
            "customers",
            &["id"],
        );
        orders.foreign_keys[0].valid = false;
        orders.checks.push(Check {
            name: "orders_id_check".to_owned(),
            definition: "CHECK ((id > 0)) NOT ENFORCED".to_owned(),
            valid: false,
            enforced: false,
        });
        assert_eq!(titles(&RULE, &facts(vec![table("customers", &["id int8"]), orders.clone()])).len(), 1);
        orders.foreign_keys[0].enforced = false;
        assert!(titles(&RULE, &facts(vec![table("customers", &["id int8"]), orders])).is_empty());
    }
}
