//! Frequent statements that search a large table without an index.

use std::collections::BTreeMap;

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::Table;
use crate::audit::statement::{Statement, Use};

pub const RULE: Rule = Rule {
    id: "missing-index",
    category: Category::Index,
    finds: "frequent searches that no index serves",
    check,
};

/// A smaller table is read in one go.
const FEWEST_ROWS: u64 = 5_000;
const FEWEST_CALLS: u64 = 20;
/// A column with fewer different values is no way to find rows.
const FEWEST_VALUES: f64 = 20.0;

/// Of the table's rows, how many a search by a range may give, to be a search.
const MOST_FOUND: f64 = 0.05;

/// How rows are looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// By what is equal, and perhaps by a range after it.
    Search,
    /// The first ones in an order.
    First,
}

fn check(facts: &Facts) -> Vec<Claim> {
    let Some(statements) = &facts.statements else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    for table in facts
        .database
        .designed()
        .filter(|t| t.estimated_rows() >= FEWEST_ROWS)
    {
        let mut searches: BTreeMap<(Way, Vec<String>), Vec<&Statement>> = BTreeMap::new();
        for statement in &statements.all {
            for used in statement.tables.iter().filter(|u| u.table == table.name) {
                if let Some(wanted) = wanted(table, statement, used) {
                    searches.entry(wanted).or_default().push(statement);
                }
            }
        }
        for ((way, columns), statements) in searches {
            let calls: u64 = statements.iter().map(|s| s.calls).sum();
            if calls >= FEWEST_CALLS {
                claims.push(Claim::settled(finding(
                    table, way, columns, &statements, calls,
                )));
            }
        }
    }
    claims
}

/// The index that would serve the statement, where none does.
fn wanted(table: &Table, statement: &Statement, used: &Use) -> Option<(Way, Vec<String>)> {
    let equal: Vec<String> = used.equal.iter().cloned().collect();
    if is_served(table, &equal) {
        return None;
    }
    let columns = selective(table, equal.clone());
    if !columns.is_empty() {
        return Some((Way::Search, columns));
    }
    // What is equal in many rows does not find them, but sorts them before the range.
    let ahead: Vec<String> = equal.into_iter().take(2).collect();
    let (way, last) = by_range(table, statement, used)
        .map(|c| (Way::Search, c))
        .or_else(|| by_order(table, statement, used).map(|c| (Way::First, c)))?;
    if leads_to(table, &ahead, last) {
        return None;
    }
    let mut columns = ahead;
    columns.push(last.to_owned());
    Some((way, columns))
}

/// The one column whose range picks a few rows, as their number tells.
fn by_range<'a>(table: &Table, statement: &Statement, used: &'a Use) -> Option<&'a str> {
    let found = statement.mean_rows?;
    let few = found <= MOST_FOUND * float(table.estimated_rows());
    let column = used.ranged.first().filter(|_| used.ranged.len() == 1)?;
    // A LIMIT ends a search that would have found more, unless the order is the range's.
    let whole = !used.limited || used.first_by.as_ref() == Some(column);
    (few && whole && is_selective(table, column)).then_some(column)
}

/// The column by whose order the first rows are taken, of this table alone.
fn by_order<'a>(table: &Table, statement: &Statement, used: &'a Use) -> Option<&'a str> {
    let column = used.first_by.as_deref()?;
    let alone = statement.tables.len() == 1 && used.ranged.iter().all(|c| c == column);
    let few = statement
        .mean_rows
        .is_some_and(|n| n <= MOST_FOUND * float(table.estimated_rows()));
    (alone && few && !statement.writes && is_selective(table, column)).then_some(column)
}

fn is_selective(table: &Table, column: &str) -> bool {
    distinct(table, column).is_none_or(|d| d >= FEWEST_VALUES)
}

/// Some index leads with one of the columns: the search begins there.
fn is_served(table: &Table, columns: &[String]) -> bool {
    leading(table).any(|c| columns.contains(c) && is_selective(table, c))
}

/// Some index reaches the column, over nothing but what is equal.
fn leads_to(table: &Table, equal: &[String], column: &str) -> bool {
    table.indexes.iter().any(|i| {
        let mut keys = i.keys.iter().map_while(|k| k.column.as_ref());
        i.valid
            && i.predicate.is_none()
            && i.method == "btree"
            && keys.find(|c| !equal.contains(c)).is_some_and(|c| c == column)
    })
}

/// The first columns of the usable indexes.
fn leading(table: &Table) -> impl Iterator<Item = &String> {
    table
        .indexes
        .iter()
        .filter(|i| i.valid && i.predicate.is_none())
        .filter_map(|i| i.keys.first()?.column.as_ref())
}

/// The columns worth an index, the most selective first.
fn selective(table: &Table, columns: Vec<String>) -> Vec<String> {
    let mut columns: Vec<(f64, String)> = columns
        .into_iter()
        .map(|c| (distinct(table, &c).unwrap_or(f64::MAX), c))
        .collect();
    columns.sort_by(|a, b| b.0.total_cmp(&a.0));
    if columns.first().is_none_or(|(d, _)| *d < FEWEST_VALUES) {
        return Vec::new();
    }
    columns.truncate(3);
    columns.into_iter().map(|(_, c)| c).collect()
}

/// Different values, as ANALYZE estimates them.
fn distinct(table: &Table, column: &str) -> Option<f64> {
    let statistics = table.column(column)?.statistics?;
    Some(if statistics.distinct < 0.0 {
        -statistics.distinct * float(table.estimated_rows())
    } else {
        statistics.distinct
    })
}

fn finding(
    table: &Table,
    way: Way,
    columns: Vec<String>,
    statements: &[&Statement],
    calls: u64,
) -> Finding {
    let name = &table.name;
    let shown: Vec<_> = columns.iter().map(|c| plain(c)).collect();
    let total: f64 = statements.iter().map(|s| s.total_milliseconds).sum();
    let mean = total / float(calls.max(1));
    let ids: Vec<_> = statements
        .iter()
        .take(5)
        .map(|s| s.id.to_string())
        .collect();
    let severity = if mean >= 10.0 {
        Severity::High
    } else {
        Severity::Medium
    };
    let mut finding = RULE.finding(
        severity,
        match way {
            Way::Search => format!(
                "{name} is searched by {} without an index",
                shown.join(", ")
            ),
            Way::First => format!(
                "the first rows of {name} by {} are looked for without an index",
                shown.join(", ")
            ),
        },
    );
    for column in &columns {
        finding = finding.on(Object::column(name, column));
    }
    finding
        .confidence(Confidence::share(0.75))
        .measured(
            format!(
                "{} {} these columns: {} calls, {mean:.1} ms each on average",
                statements.len(),
                if statements.len() == 1 { "statement looks by" } else { "statements look by" },
                grouped(calls)
            ),
            &[("calls", float(calls)), ("mean_milliseconds", mean)],
        )
        .measured(
            format!(
                "the table of about {} rows was read from end to end {} times",
                grouped(table.estimated_rows()),
                grouped(table.activity.sequential_scans)
            ),
            &[("rows", float(table.estimated_rows())), ("sequential_scans", float(table.activity.sequential_scans))],
        )
        .proof(format!(
            "select queryid, calls, mean_exec_time, query from pg_stat_statements where queryid in ({})",
            ids.join(", ")
        ))
        .remedy("CREATE INDEX CONCURRENTLY on these columns; `crossfade explain` tells what it would bring")
        .cost(Effort::Statement, table.estimated_rows(), table.bytes, "CONCURRENTLY reads the table twice and blocks nobody; each write has one index more to keep")
        .fix(Fix::AddIndex { table: name.clone(), columns, predicate: None, unique: false })
        .harm(table.weight() + (1.0 + total).log10())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{facts, table, titles};
    use super::*;
    use crate::audit::schema::ColumnStatistics;
    use crate::audit::statement::{Statements, Use};

    /// A table of 100,000 orders and one statement on it.
    fn facts_of(calls: u64, found: Option<f64>, used: impl FnOnce(&mut Use)) -> Facts {
        let columns = ["id int8", "email text", "paid bool", "placed_at timestamptz"];
        let orders = table("orders", &columns).changed(|t| {
            t.rows = Some(100_000);
            for (column, distinct) in [("email", -0.5), ("paid", 2.0), ("placed_at", -1.0)] {
                let c = t.columns.iter_mut().find(|c| c.name == column).unwrap();
                c.statistics = Some(ColumnStatistics {
                    null_fraction: 0.0,
                    distinct,
                    average_width: 8,
                });
            }
        });
        let mut facts = facts(vec![orders]);
        let mut of_table = Use {
            table: facts.database.tables[0].name.clone(),
            columns: BTreeSet::new(),
            equal: BTreeSet::new(),
            ranged: BTreeSet::new(),
            first_by: None,
            limited: false,
        };
        used(&mut of_table);
        facts.statements = Some(Statements {
            all: vec![Statement {
                id: 7,
                calls,
                total_milliseconds: 5000.0,
                mean_rows: found,
                writes: false,
                tables: vec![of_table],
            }],
        });
        facts
    }

    fn set(columns: &[&str]) -> BTreeSet<String> {
        columns.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn frequent_selective_searches_are_reported() {
        let searched = |columns: &[&str], calls| {
            titles(
                &RULE,
                &facts_of(calls, Some(1.0), |u| u.equal = set(columns)),
            )
        };
        assert_eq!(
            searched(&["email"], 500),
            ["public.orders is searched by email without an index"]
        );
        assert_eq!(searched(&["email", "paid"], 500).len(), 1);
        for (columns, calls) in [
            (&["id"][..], 500),
            (&["id", "email"], 500),
            (&["paid"], 500),
            (&["email"], 5),
        ] {
            assert!(searched(columns, calls).is_empty(), "{columns:?} {calls}");
        }
    }

    #[test]
    fn a_range_is_a_search_where_it_finds_few_rows() {
        let ranged = |found, limited| {
            titles(
                &RULE,
                &facts_of(500, found, |u| {
                    u.ranged = set(&["placed_at"]);
                    u.limited = limited;
                }),
            )
        };
        assert_eq!(
            ranged(Some(40.0), false),
            ["public.orders is searched by placed_at without an index"]
        );
        assert!(ranged(Some(60_000.0), false).is_empty(), "half of them");
        assert!(ranged(None, false).is_empty(), "a count of nobody knows how many");
        assert!(ranged(Some(10.0), true).is_empty(), "any ten will do");
    }

    #[test]
    fn what_is_equal_in_many_rows_stands_before_the_range() {
        let facts = facts_of(500, Some(40.0), |u| {
            u.equal = set(&["paid"]);
            u.ranged = set(&["placed_at"]);
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.orders is searched by paid, placed_at without an index"]
        );
        let mut served = facts;
        let orders = served.database.tables.remove(0);
        served
            .database
            .tables
            .push(orders.with_index("i", &["paid", "placed_at"]));
        assert!(titles(&RULE, &served).is_empty());
    }

    #[test]
    fn the_first_rows_in_an_order_need_an_index_on_it() {
        let first = |columns: &[&str], by: &str| {
            titles(
                &RULE,
                &facts_of(500, Some(20.0), |u| {
                    u.ranged = set(columns);
                    u.first_by = Some(by.to_owned());
                    u.limited = true;
                }),
            )
        };
        assert_eq!(
            first(&[], "placed_at"),
            ["the first rows of public.orders by placed_at are looked for without an index"]
        );
        assert_eq!(first(&["placed_at"], "placed_at").len(), 1);
        assert!(first(&[], "id").is_empty());
        assert!(first(&[], "paid").is_empty());
        assert!(first(&["email"], "placed_at").is_empty(), "the range may find none");
    }
}
