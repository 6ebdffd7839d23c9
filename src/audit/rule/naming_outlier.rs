//! Names that break the convention that most names of their kind keep. The convention is
//! what the majority does; none has to be configured.

use std::collections::BTreeMap;

use super::{Rule, float};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Table, TypeClass};
use crate::audit::word::{Case, case, is_plural, singular, snake, words};
use crate::pg::QualifiedName;

pub const RULE: Rule = Rule {
    id: "naming-outlier",
    category: Category::Name,
    finds: "names that break the convention of the others of their kind",
    check,
};

/// With fewer names there is no convention.
const FEWEST: usize = 6;
/// Of the names, how many must keep it.
const MAJORITY: f64 = 0.8;

/// A name, what it does, and what it would be called.
struct Named {
    object: Object,
    table: QualifiedName,
    column: Option<String>,
    habit: Habit,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    Case(Case),
    Plural,
    Singular,
    /// The last word.
    Ends(String),
    /// The primary key is called after its table.
    KeyOfTable,
}

impl Habit {
    fn name(&self) -> String {
        match self {
            Self::Case(case) => case.name().to_owned(),
            Self::Plural => "plural".to_owned(),
            Self::Singular => "singular".to_owned(),
            Self::Ends(word) => format!("…_{word}"),
            Self::KeyOfTable => "named after the table".to_owned(),
        }
    }
}

fn check(facts: &Facts) -> Vec<Claim> {
    let tables: Vec<&Table> = facts.database.designed().collect();
    let kinds: [(&str, Vec<Named>); 6] = [
        ("table names", cases(tables.iter().map(|t| (&t.name, None)))),
        ("table names", numbers(&tables)),
        (
            "column names",
            cases(
                tables
                    .iter()
                    .flat_map(|t| t.columns.iter().map(|c| (&t.name, Some(c.name.as_str())))),
            ),
        ),
        ("primary keys", keys(&tables)),
        ("referring columns", endings(references(facts))),
        ("moments", endings(moments(facts))),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, names)| finding(facts, kind, names))
        .map(Claim::settled)
        .collect()
}

fn named(table: &QualifiedName, column: Option<&str>, habit: Habit) -> Named {
    Named {
        object: match column {
            Some(column) => Object::column(table, column),
            None => Object::table(table),
        },
        table: table.clone(),
        column: column.map(str::to_owned),
        habit,
    }
}

fn cases<'a>(names: impl Iterator<Item = (&'a QualifiedName, Option<&'a str>)>) -> Vec<Named> {
    names
        .filter_map(|(table, column)| {
            let case = case(column.unwrap_or(&table.name));
            // A single word fits every lower-case convention.
            (case != Case::Single).then(|| named(table, column, Habit::Case(case)))
        })
        .collect()
}

fn numbers(tables: &[&Table]) -> Vec<Named> {
    // What has no plural, or is no noun, says nothing.
    const NEITHER: &[&str] = &[
        "history",
        "inventory",
        "stock",
        "data",
        "metadata",
        "info",
        "news",
        "media",
        "staff",
        "log",
        "equipment",
        "audit",
        "archive",
        "queue",
        "cache",
        "config",
        "status",
        "outbox",
        "inbox",
        "series",
        "analytics",
        "calendar",
        "settings",
        "people",
        "children",
        "feedback",
        "content",
    ];
    tables
        .iter()
        .filter_map(|t| {
            let last = words(&t.name.name).pop()?;
            let says = last.chars().all(char::is_alphabetic) && !NEITHER.contains(&last.as_str());
            let habit = if is_plural(&last) {
                Habit::Plural
            } else {
                Habit::Singular
            };
            says.then(|| named(&t.name, None, habit))
        })
        .collect()
}

fn keys(tables: &[&Table]) -> Vec<Named> {
    tables
        .iter()
        .filter_map(|t| {
            let key = t.primary_key.as_ref().filter(|k| k.columns.len() == 1)?;
            let column = t.column(&key.columns[0])?;
            let name = words(&column.name);
            // Natural keys and keys that refer have names of their own.
            let surrogate =
                column.data_type.class.is_integer() || column.data_type.class == TypeClass::Uuid;
            if !surrogate
                || t.in_foreign_key(&column.name)
                || name.last().is_none_or(|w| w != "id" && w != "uuid")
            {
                return None;
            }
            let own: Vec<_> = words(&t.name.name).iter().map(|w| singular(w)).collect();
            let habit = if name.len() == 1 {
                Habit::Ends("id".to_owned())
            } else if name[..name.len() - 1]
                .iter()
                .all(|w| own.contains(&singular(w)))
            {
                Habit::KeyOfTable
            } else {
                return None;
            };
            Some(named(&t.name, Some(&column.name), habit))
        })
        .collect()
}

/// Columns that refer to a surrogate key by one column.
fn references(facts: &Facts) -> Vec<(QualifiedName, String)> {
    let mut found: Vec<_> = facts
        .references
        .iter()
        .filter(|r| {
            r.columns.len() == 1
                && words(&r.referenced_columns[0])
                    .last()
                    .is_some_and(|w| w == "id")
        })
        .map(|r| (r.table.clone(), r.columns[0].clone()))
        // Roles such as `created_by` and `bill_to` are a convention of their own.
        .filter(|(_, c)| {
            words(c)
                .last()
                .is_some_and(|w| !["by", "to", "from"].contains(&w.as_str()))
                && words(c).iter().all(|w| w.parse::<u32>().is_err())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn moments(facts: &Facts) -> Vec<(QualifiedName, String)> {
    facts
        .columns()
        .filter(|(_, c)| {
            matches!(
                c.data_type.class,
                TypeClass::Timestamp | TypeClass::TimestampTz
            )
        })
        .map(|(t, c)| (t.name.clone(), c.name.clone()))
        // `valid_from` and `expires` say what they are.
        .filter(|(_, c)| {
            let last = words(c).pop().unwrap_or_default();
            [
                "at",
                "on",
                "date",
                "time",
                "ts",
                "timestamp",
                "dt",
                "datetime",
            ]
            .contains(&last.as_str())
                && words(c).len() > 1
        })
        .collect()
}

fn endings(columns: Vec<(QualifiedName, String)>) -> Vec<Named> {
    columns
        .into_iter()
        .filter_map(|(table, column)| {
            let last = words(&column).pop()?;
            Some(named(&table, Some(&column), Habit::Ends(last)))
        })
        .collect()
}

fn finding(facts: &Facts, kind: &str, names: Vec<Named>) -> Option<Finding> {
    if names.len() < FEWEST {
        return None;
    }
    let mut counts: BTreeMap<Habit, usize> = BTreeMap::new();
    for name in &names {
        *counts.entry(name.habit.clone()).or_default() += 1;
    }
    let (habit, kept) = counts.into_iter().max_by_key(|(_, n)| *n)?;
    let total = names.len();
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let share = kept as f64 / total as f64;
    if share < MAJORITY || kept == total {
        return None;
    }
    let outliers: Vec<Named> = names.into_iter().filter(|n| n.habit != habit).collect();
    let shown: Vec<_> = outliers
        .iter()
        .take(10)
        .map(|n| n.object.to_string())
        .collect();
    let more = outliers.len() - shown.len();
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    let mut finding = RULE
        .finding(
            Severity::Low,
            format!("{} of {total} {kind} are not {}: {}{more}", outliers.len(), habit.name(), shown.join(", ")),
        ).each()
        .confidence(Confidence::share(share))
        .measured(
            format!("{kept} of {total} {kind} are {}", habit.name()),
            &[("kept", float(kept as u64)), ("names", float(total as u64))],
        )
        .proof("select c.oid::regclass, a.attname from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 where c.relkind in ('r', 'p') and c.oid >= 16384")
        .remedy("rename them, or leave them: nothing breaks but habits")
        .cost(Effort::Statement, 0, 0, "RENAME takes a moment's ACCESS EXCLUSIVE; every statement that uses the name changes with it")
        .harm(float(outliers.len() as u64).log10());
    for outlier in outliers {
        finding = finding.on(outlier.object.clone());
        let current = outlier
            .column
            .clone()
            .unwrap_or_else(|| outlier.table.name.clone());
        if let Some(to) = renamed(&current, &habit, &outlier.table)
            && is_free(facts, &outlier, &to)
        {
            finding = finding.fix(Fix::Rename {
                table: outlier.table,
                column: outlier.column,
                to,
            });
        }
    }
    Some(finding)
}

/// The name under the convention, where there is no doubt about it.
fn renamed(name: &str, habit: &Habit, table: &QualifiedName) -> Option<String> {
    let words = words(name);
    let pascal = |w: &String| {
        let mut chars = w.chars();
        chars
            .next()
            .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
    };
    let to = match habit {
        Habit::Case(Case::Snake) => snake(name),
        Habit::Case(Case::Pascal) => words.iter().map(pascal).collect(),
        Habit::Case(Case::Camel) => {
            let (first, rest) = words.split_first()?;
            format!("{first}{}", rest.iter().map(pascal).collect::<String>())
        }
        Habit::Plural if case(name) != Case::Pascal => plural(name),
        Habit::Singular => {
            let last = words.last()?;
            format!(
                "{}{}",
                &name[..name.len().checked_sub(last.len())?],
                singular(last)
            )
        }
        Habit::Ends(last)
            if last == "id" && words.len() > 1 && words.last().is_some_and(|w| w == "id") =>
        {
            "id".to_owned()
        }
        Habit::Ends(last) if last == "id" => format!("{}_id", snake(name)),
        Habit::Ends(last) => {
            let front = &words[..words.len().checked_sub(1)?];
            format!("{}_{last}", front.join("_"))
        }
        Habit::KeyOfTable => format!("{}_id", singular(&snake(&table.name))),
        Habit::Plural | Habit::Case(_) => return None,
    };
    (to != name && !to.is_empty()).then_some(to)
}

fn plural(name: &str) -> String {
    let end = |e: &str| name.ends_with(e);
    if end("y") && !["ay", "ey", "oy", "uy"].iter().any(|e| name.ends_with(e)) {
        format!("{}ies", &name[..name.len() - 1])
    } else if end("s") || end("x") || end("ch") || end("sh") {
        format!("{name}es")
    } else {
        format!("{name}s")
    }
}

fn is_free(facts: &Facts, outlier: &Named, to: &str) -> bool {
    match &outlier.column {
        Some(_) => facts
            .database
            .table(&outlier.table)
            .is_some_and(|t| t.column(to).is_none()),
        None => facts
            .database
            .table(&QualifiedName::new(outlier.table.schema.clone(), to))
            .is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table};
    use super::*;

    #[test]
    fn the_majority_is_the_convention() {
        let mut tables: Vec<Table> = [
            "order_items",
            "price_lists",
            "tax_rates",
            "user_roles",
            "stock_levels",
            "gift_cards",
        ]
        .iter()
        .map(|n| table(n, &["id int8", "created_at timestamptz"]))
        .collect();
        tables.push(table("TaxClass", &["id int8", "created_at timestamptz"]));
        let found = findings(&RULE, &facts(tables), &[]);
        let objects: Vec<_> = found
            .iter()
            .flat_map(|f| f.objects.iter().map(ToString::to_string))
            .collect();
        assert!(
            objects.iter().all(|o| o == "public.\"TaxClass\""),
            "{objects:?}"
        );
        assert_eq!(found.len(), 2, "its case and its number");
        assert!(matches!(&found[0].fixes[0], Fix::Rename { to, .. } if to == "tax_class"));
    }

    #[test]
    fn a_schema_without_a_convention_has_no_outliers() {
        let tables = [
            "OrderItems",
            "priceLists",
            "tax_rates",
            "userRole",
            "StockLevels",
            "gift_card",
        ]
        .iter()
        .map(|n| table(n, &["id int8"]))
        .collect();
        assert!(findings(&RULE, &facts(tables), &[]).is_empty());
    }
}
