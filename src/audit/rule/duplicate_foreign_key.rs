//! Foreign keys that check the same thing twice.

use std::cmp::Ordering;

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
            let others = || {
                let all = table.foreign_keys.iter().enumerate();
                all.filter(move |(j, other)| i != *j && covers(table, other, key, *j < i))
                    .map(|(_, other)| other)
            };
            // Beside one that does something else there may be one that does the same.
            let stronger = others().find(|o| agree(o, key)).or_else(|| others().next());
            if let Some(other) = stronger {
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

/// Both do the same when a row that is referred to goes or changes, and what stays checks no later.
fn agree(other: &ForeignKey, key: &ForeignKey) -> bool {
    other.terms == key.terms && soon(other) >= soon(key)
}

/// How soon it checks: a later check beside a sooner one finds nothing more.
fn soon(key: &ForeignKey) -> (bool, bool) {
    (!key.deferrable, !key.deferred)
}

/// Of two that are the same the second goes; one over fewer columns goes.
fn covers(table: &Table, other: &ForeignKey, key: &ForeignKey, first: bool) -> bool {
    if other.referenced != key.referenced || other.enforced != key.enforced {
        return false;
    }
    let (big, small) = (pairs(other), pairs(key));
    // The one that is checked is worth more than the one that is not, or is later.
    let worth = |f: &ForeignKey| (f.valid, soon(f));
    if big == small {
        return match worth(other).cmp(&worth(key)) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => first,
        };
    }
    // A row in which one of its columns is NULL the longer one does not check at all.
    let always = other.columns.iter().all(|c| {
        let column = table.column(c);
        key.columns.contains(c) || column.is_some_and(|c| c.not_null)
    });
    let part = big.len() > small.len() && small.iter().all(|p| big.contains(p));
    part && always && other.valid >= key.valid
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
    let finding = RULE
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
        .because("each write is checked twice")
        .proof(format!(
            "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = {}::regclass and conname in ({}, {})",
            literal(&name.sql()),
            literal(&key.name),
            literal(&other.name)
        ))
        .cost(
            Effort::Statement,
            0,
            0,
            "DROP CONSTRAINT takes a moment's ACCESS EXCLUSIVE on both tables",
        )
        .harm(table.weight() - 1.0);
    if agree(other, key) {
        return finding
            .remedy(format!("drop {}", plain(&key.name)))
            .fix(Fix::DropForeignKey {
                table: name.clone(),
                constraint: key.name.clone(),
            });
    }
    let differ = if (other.on_delete, other.on_update) == (key.on_delete, key.on_update) {
        "they do not check at the same time, or do not take NULL in the same way"
    } else {
        "they do different things on DELETE or UPDATE, and together the stricter wins"
    };
    finding.because(differ).remedy(format!(
        "decide which of {} and {} is meant, and drop the other: a DELETE or UPDATE that one of them refuses may go through afterwards, and take rows of {name} along",
        plain(&key.name),
        plain(&other.name)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table, titles};
    use super::*;
    use crate::audit::schema::Action;

    #[test]
    fn the_second_of_two_and_the_part_of_a_whole_are_reported() {
        let orders = table("orders", &["id int8", "a int8", "b int8", "c int8!"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"])
            .refers(&["b", "c"], "y", &["b", "c"])
            .refers(&["b"], "y", &["b"])
            .refers(&["c"], "x", &["id"]);
        assert_eq!(titles(&RULE, &facts(vec![orders])).len(), 2);
    }

    #[test]
    fn which_of_two_that_differ_is_meant_is_for_people() {
        let differ = |change: fn(&mut ForeignKey)| {
            let orders = table("orders", &["id int8", "a int8"])
                .refers(&["a"], "x", &["id"])
                .refers(&["a"], "x", &["id"])
                .changed(|t| change(&mut t.foreign_keys[0]));
            findings(&RULE, &facts(vec![orders]), &[])
        };
        let changes: [fn(&mut ForeignKey); 2] = [
            |f| {
                f.on_delete = Action::Cascade;
                f.terms = "c".to_owned();
            },
            |f| f.terms = "f".to_owned(),
        ];
        for change in changes {
            let found = differ(change);
            assert_eq!(found.len(), 1);
            assert!(found[0].fixes.is_empty(), "{:?}", found[0].fixes);
            assert!(found[0].remedy.starts_with("decide which of "));
        }
        assert_eq!(differ(|_| ())[0].fixes.len(), 1);
        // Of two that check at different times the later one goes.
        let later: [fn(&mut ForeignKey); 2] = [
            |f| f.deferrable = true,
            |f| (f.deferrable, f.deferred) = (true, true),
        ];
        for deferrable in later {
            let found = differ(deferrable);
            assert!(
                matches!(&found[0].fixes[0], Fix::DropForeignKey { constraint, .. } if constraint == "orders_a_fkey0")
            );
        }
        // One that nobody checks stands in for none.
        assert!(differ(|f| f.enforced = false).is_empty());
    }

    #[test]
    fn the_twin_that_does_the_same_is_the_one_that_makes_it_superfluous() {
        let orders = table("orders", &["id int8", "a int8"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"])
            .refers(&["a"], "x", &["id"])
            .changed(|t| t.foreign_keys[0].terms = "c".to_owned());
        let found = findings(&RULE, &facts(vec![orders]), &[]);
        let fixes: Vec<_> = found.iter().map(|f| f.fixes.len()).collect();
        assert_eq!(fixes, [0, 1]);
        assert_eq!(
            found[1].title,
            "public.orders: foreign key orders_a_fkey2 repeats orders_a_fkey1"
        );
    }

    #[test]
    fn a_longer_one_that_skips_rows_or_was_never_checked_covers_nothing() {
        let lines = |columns: &[&str], valid: bool| {
            let lines = table("lines", columns)
                .refers(&["b", "c"], "y", &["b", "c"])
                .refers(&["b"], "y", &["b"])
                .changed(|t| t.foreign_keys[0].valid = valid);
            titles(&RULE, &facts(vec![lines])).len()
        };
        assert_eq!(lines(&["id int8", "b int8", "c int8!"], true), 1);
        assert_eq!(lines(&["id int8", "b int8", "c int8"], true), 0);
        assert_eq!(lines(&["id int8", "b int8", "c int8!"], false), 0);
    }
}
