//! Tables whose rows nothing identifies.

use super::Rule;
use crate::audit::dependency::names_a_code;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity};
use crate::audit::fix::Fix;
use crate::audit::question::{Claim, Question, count};
use crate::audit::schema::Table;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "no-primary-key",
    category: Category::Structure,
    finds: "tables without a primary key",
    check,
};

/// Larger tables are not sorted to see whether a column is unique.
const MOST_ROWS: u64 = 5_000_000;

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .database
        .designed()
        .filter(|t| t.primary_key.is_none())
        .map(|t| claim(facts, t))
        .collect()
}

fn claim(facts: &Facts, table: &Table) -> Claim {
    let existing = table
        .unique_keys
        .iter()
        .find(|k| k.not_null && !k.deferrable);
    if let Some(key) = existing {
        let text = format!(
            "the unique index {} is on NOT NULL columns and can become it",
            key.name
        );
        return Claim::settled(finding(
            table,
            &text,
            key.columns.clone(),
            Some(key.name.clone()),
        ));
    }
    let Some(profile) = facts.profile(table) else {
        return Claim::settled(unseen(table));
    };
    let likely = table.columns.iter().find(|c| {
        let seen = profile.column(&c.name);
        // A column that refers is unique only until the second row refers to the same.
        c.not_null
            && !facts.refers(table, &c.name)
            && (names_a_code(&c.name) || c.attnum == 1)
            && seen.is_some_and(|s| s.is_unique() && s.present > 10)
    });
    let Some(column) = likely.filter(|_| table.estimated_rows() <= MOST_ROWS) else {
        let text = "no column is unique: it needs a new one";
        return Claim::settled(finding(table, text, Vec::new(), None));
    };
    let (table, column) = (table.clone(), column.name.clone());
    Claim::Open(Question {
        about: table.name.to_string(),
        sql: format!(
            "select count(*)::bigint, count(distinct {})::bigint from {}",
            quote(&column),
            table.from_sql()
        ),
        decide: Box::new(move |answer| {
            let Some(answer) = answer else {
                return Some(unseen(&table));
            };
            Some(if count(answer, 0) == count(answer, 1) {
                let text = format!("{column} is NOT NULL and different in every row");
                finding(&table, &text, vec![column], None)
            } else {
                finding(
                    &table,
                    "no column is unique: it needs a new one",
                    Vec::new(),
                    None,
                )
            })
        }),
    })
}

/// Which columns could be its key only its rows tell.
fn unseen(table: &Table) -> Finding {
    reported(table, "its rows were not looked at: whether a column is unique is not known")
        .remedy("run the audit as a role that may read it, or say which columns identify a row")
        .cost(
            Effort::Migration,
            table.estimated_rows(),
            table.bytes,
            "a unique index built CONCURRENTLY, or a new identity column, which rewrites the table",
        )
}

fn reported(table: &Table, key: &str) -> Finding {
    let name = &table.name;
    let proof = format!(
        "select count(*) from pg_constraint where conrelid = '{}'::regclass and contype = 'p'",
        name.sql().replace('\'', "''")
    );
    RULE.finding(Severity::High, format!("{name} has no primary key"))
        .on(Object::table(name))
        .because(key)
        .because("a row cannot be told from its copy, and logical replication cannot follow UPDATE and DELETE")
        .proof(proof)
        .harm(table.weight())
}

fn finding(table: &Table, key: &str, columns: Vec<String>, existing: Option<String>) -> Finding {
    let remedy = if columns.is_empty() {
        "add an identity column as primary key".to_owned()
    } else {
        format!("make ({}) the primary key", columns.join(", "))
    };
    let text = if columns.is_empty() {
        "a new identity column rewrites the table under ACCESS EXCLUSIVE unless it is backfilled"
    } else {
        "the unique index is built CONCURRENTLY; ADD PRIMARY KEY USING INDEX takes a moment's ACCESS EXCLUSIVE"
    };
    let effort = if columns.is_empty() {
        Effort::Migration
    } else {
        Effort::Statement
    };
    reported(table, key)
        .remedy(remedy)
        .cost(effort, table.estimated_rows(), table.bytes, text)
        .fix(Fix::AddPrimaryKey {
            table: table.name.clone(),
            columns,
            existing_index: existing,
        })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, index, table};
    use super::*;
    use crate::audit::schema::Key;

    #[test]
    fn a_table_without_a_key_is_reported_with_the_column_that_could_be_it() {
        let mut facts = facts(vec![
            table("orders", &["id int8"]),
            table("log", &["entry_no int8!", "text text"]),
        ]);
        fill(&mut facts, "log", 50, |i, c| {
            if c == "text" {
                "a".to_owned()
            } else {
                i.to_string()
            }
        });
        let found = findings(&RULE, &facts, &[50, 50]);
        assert_eq!(found.len(), 1);
        let columns = vec!["entry_no".to_owned()];
        assert!(
            matches!(&found[0].fixes[0], Fix::AddPrimaryKey { columns: c, .. } if *c == columns)
        );
        let found = findings(&RULE, &facts, &[50, 49]);
        assert!(
            matches!(&found[0].fixes[0], Fix::AddPrimaryKey { columns: c, .. } if c.is_empty())
        );
    }

    #[test]
    fn a_unique_index_can_become_the_key() {
        let mut log = table("log", &["no int8!"]);
        log.unique_keys.push(Key {
            name: "log_no".to_owned(),
            columns: vec!["no".to_owned()],
            not_null: true,
            deferrable: false,
        });
        log.indexes.push(index("log_no", &["no"]));
        let found = findings(&RULE, &facts(vec![log]), &[]);
        assert!(
            matches!(&found[0].fixes[0], Fix::AddPrimaryKey { existing_index: Some(i), .. } if i == "log_no")
        );
    }

    #[test]
    fn of_a_table_that_nobody_looked_at_nothing_is_said_to_be_unique_or_not() {
        let found = findings(&RULE, &facts(vec![table("log", &["no int8!"])]), &[]);
        assert_eq!(
            found[0].evidence[0].text,
            "its rows were not looked at: whether a column is unique is not known"
        );
        assert!(found[0].fixes.is_empty());
    }
}
