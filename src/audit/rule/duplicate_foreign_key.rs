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
                .find(|(j, other)| i != *j && covers(table, other, key, *j < i));
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
fn covers(table: &Table, other: &ForeignKey, key: &ForeignKey, first: bool) -> bool {
    if other.referenced != key.referenced || !other.enforced || !key.enforced {
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
    // With NULL in one of its columns the larger one checks nothing.
    let filled = |c: &String| table.column(c).is_some_and(|c| c.not_null);
    big.len() > small.len()
        && small.iter().all(|p| big.contains(p))
        && other.columns.iter().all(filled)
}

/// The other one does all that this one does, so that this one can go.
fn does_as_much(table: &Table, other: &ForeignKey, key: &ForeignKey) -> bool {
    let full = |f: &ForeignKey| {
        let declared = table.belongings.constraints.get(&f.name);
        f.columns.len() > 1 && declared.is_some_and(|c| c.definition.contains("MATCH FULL"))
    };
    other.on_delete == key.on_delete
        && other.on_update == key.on_update
        && (key.deferrable || !other.deferrable)
        && (full(other) || !full(key))
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
    let finding = finding
        .proof(format!(
            "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = {}::regclass and conname in ({}, {})",
            literal(&name.sql()),
            literal(&key.name),
            literal(&other.name)
        ))
        .cost(Effort::Statement, 0, 0, "DROP CONSTRAINT takes a moment's ACCESS EXCLUSIVE on both tables")
        .harm(table.weight() - 1.0);
    if !does_as_much(table, other, key) {
        return finding.remedy(format!(
            "they do not do the same (ON DELETE, ON UPDATE, MATCH or DEFERRABLE): decide whether {} or {} is meant, and drop the other",
            plain(&key.name),
            plain(&other.name)
        ));
    }
    finding
        .remedy(format!("drop {}", plain(&key.name)))
        .fix(Fix::DropForeignKey { table: name.clone(), constraint: key.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table, titles};
    use super::*;
    use crate::audit::schema::Action;

    #[test]
    fn the_second_of_two_and_the_part_of_a_whole_are_reported() {
        let orders = table("orders", &["id int8", "a int8", "b int8!", "c int8!"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"])
            .refers(&["b", "c"], "y", &["b", "c"])
            .refers(&["b"], "y", &["b"])
            .refers(&["c"], "x", &["id"]);
        assert_eq!(titles(&RULE, &facts(vec![orders.clone()])).len(), 2);
        // The larger one checks nothing where a column of it is NULL.
        let mut orders = orders;
        orders.columns[3].not_null = false;
        assert_eq!(titles(&RULE, &facts(vec![orders])).len(), 1);
    }

    #[test]
    fn one_that_does_something_else_is_for_people() {
        let orders = table("orders", &["id int8", "a int8"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"]);
        let fixes = |orders: &Table| {
            let found = findings(&RULE, &facts(vec![orders.clone()]), &[]);
            assert_eq!(found.len(), 1);
            found[0].fixes.len()
        };
        assert_eq!(fixes(&orders), 1);
        for change in [
            |f: &mut ForeignKey| f.on_delete = Action::Cascade,
            |f: &mut ForeignKey| f.on_update = Action::SetNull,
            |f: &mut ForeignKey| f.deferrable = true,
        ] {
            let mut orders = orders.clone();
            change(&mut orders.foreign_keys[0]);
            assert_eq!(fixes(&orders), 0);
        }
    }
}
