//! Foreign keys that check the same thing twice.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{ForeignKey, Table};
use crate::pg::ident::literal;

pub const RULE: Rule = Rule {
    id: "duplicate-foreign-key",
    category: Category::Reference,
    finds: "foreign keys that another one makes superfluous",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for (i, key) in table.foreign_keys.iter().enumerate() {
            let stronger = table
                .foreign_keys
                .iter()
                .enumerate()
                .find(|(j, other)| i != *j && covers(other, key, *j < i));
            if let Some((_, other)) = stronger {
                claims.push(Claim::settled(finding(table, key, other)));
            }
        }
    }
    claims
}

fn pairs(key: &ForeignKey) -> Vec<(&String, &String)> {
    let mut pairs: Vec<_> = key.columns.iter().zip(&key.referenced_columns).collect();
    pairs.sort();
    pairs
}

/// Of two that are the same the second goes; one over fewer columns goes.
fn covers(other: &ForeignKey, key: &ForeignKey, first: bool) -> bool {
    if other.referenced != key.referenced {
        return false;
    }
    let (big, small) = (pairs(other), pairs(key));
    if big == small {
        // The one that is checked is worth more than the one that is not.
        return match (other.valid, key.valid) {
            (true, false) => true,
            (false, true) => false,
            _ => first,
        };
    }
    big.len() > small.len() && small.iter().all(|p| big.contains(p))
}

fn finding(table: &Table, key: &ForeignKey, other: &ForeignKey) -> Finding {
    let same = pairs(key) == pairs(other);
    let name = &table.name;
    let why = if same {
        format!(
            "{} refers from the same columns to the same key",
            plain(&other.name)
        )
    } else {
        format!(
            "{} refers to the same table from these columns and more",
            plain(&other.name)
        )
    };
    let mut finding = RULE
        .finding(
            if same {
                Severity::Medium
            } else {
                Severity::Low
            },
            format!(
                "{name}: foreign key {} repeats {}",
                plain(&key.name),
                plain(&other.name)
            ),
        )
        .on(Object::constraint(name, &key.name))
        .on(Object::constraint(name, &other.name))
        .because(why)
        .because("each write is checked twice");
    if key.on_delete != other.on_delete || key.on_update != other.on_update {
        finding =
            finding.because("they do different things on DELETE or UPDATE: decide which is meant");
    }
    finding
        .proof(format!(
            "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = {}::regclass and conname in ({}, {})",
            literal(&name.sql()),
            literal(&key.name),
            literal(&other.name)
        ))
        .remedy(format!("drop {}", plain(&key.name)))
        .cost(Effort::Statement, 0, 0, "DROP CONSTRAINT takes a moment's ACCESS EXCLUSIVE on both tables")
        .fix(Fix::DropForeignKey { table: name.clone(), constraint: key.name.clone() })
        .harm(table.weight() - 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn the_second_of_two_and_the_part_of_a_whole_are_reported() {
        let orders = table("orders", &["id int8", "a int8", "b int8", "c int8"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"])
            .refers(&["b", "c"], "y", &["b", "c"])
            .refers(&["b"], "y", &["b"])
            .refers(&["c"], "x", &["id"]);
        assert_eq!(titles(&RULE, &facts(vec![orders])).len(), 2);
    }
}
