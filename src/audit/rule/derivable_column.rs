//! Columns that other columns of the same row already say.

use super::{Rule, float, grouped, listed};
use crate::audit::derivation::Derivation;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::{Answer, Claim, Question, count};
use crate::audit::schema::Table;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "derivable-column",
    category: Category::Structure,
    finds: "columns that are a formula of other columns of the row",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        let Some(profile) = facts.profile(table) else {
            continue;
        };
        for derivation in &profile.derivations {
            let (table, derivation) = (table.clone(), derivation.clone());
            claims.push(Claim::Open(Question {
                about: format!("{}.{}", table.name, plain(&derivation.column)),
                sql: counting(&table, &derivation),
                decide: Box::new(move |answer| {
                    let counted = answer.map(Counted::of);
                    let other = counted.is_some_and(|c| c.otherwise() * 100 > c.rows);
                    (!other).then(|| finding(&table, &derivation, counted))
                }),
            }));
        }
    }
    claims
}

/// Rows of the whole table, by what they say of the formula.
#[derive(Clone, Copy)]
struct Counted {
    /// Those that have a value.
    rows: u64,
    /// Those of them in which the formula gives another one.
    differing: u64,
    /// Those of them in which it gives none, since a part of it is NULL.
    alone: u64,
}

impl Counted {
    fn of(answer: &Answer) -> Self {
        Self {
            rows: count(answer, 0),
            differing: count(answer, 1),
            alone: count(answer, 2),
        }
    }

    /// The rows whose value only the column tells.
    fn otherwise(self) -> u64 {
        self.differing + self.alone
    }
}

fn counting(table: &Table, derivation: &Derivation) -> String {
    let column = quote(&derivation.column);
    format!(
        "select count({column})::bigint, count(*) filter (where {})::bigint, \
         count(*) filter (where {})::bigint from {}",
        derivation.differs,
        alone(derivation),
        table.from_sql()
    )
}

/// SQL that is true where the value has nothing to be computed from.
fn alone(derivation: &Derivation) -> String {
    format!(
        "{} is not null and ({}) is null",
        quote(&derivation.column),
        derivation.formula
    )
}

fn rows_of(count: u64) -> String {
    let rows = if count == 1 { "row" } else { "rows" };
    format!("{} {rows}", grouped(count))
}

fn finding(table: &Table, derivation: &Derivation, counted: Option<Counted>) -> Finding {
    let name = &table.name;
    let otherwise = counted.map_or(0, Counted::otherwise);
    let severity = if otherwise > 0 {
        Severity::Medium
    } else {
        Severity::Low
    };
    let column = plain(&derivation.column);
    let finding = RULE
        .finding(
            severity,
            format!("{name}.{column} is {}", derivation.formula.replace('"', "").replace("::bigint", "")),
        )
        .on(Object::column(name, &derivation.column))
        .confidence(Confidence::share(if counted.is_some() {
            0.9
        } else {
            0.65
        }));
    let finding = told(finding, counted)
        .because(format!("every change of {} has to change it, too", listed(&derivation.parts)))
        .proof(format!(
            "select count(*) from {} where {} or {}",
            table.from_sql(),
            derivation.differs,
            alone(derivation)
        ))
        .cost(
            Effort::Migration,
            table.estimated_rows(),
            table.bytes,
            "dropping takes a moment's ACCESS EXCLUSIVE; a stored generated column rewrites the table",
        )
        .harm(table.weight() - 2.0);
    // Only where every value is known to be told by the formula nothing is lost with it.
    let why = match counted {
        Some(counted) if counted.otherwise() == 0 => {
            return finding
                .remedy(format!(
                    "drop {column} and compute it, or make it GENERATED ALWAYS AS ({}) STORED so that it cannot be wrong",
                    derivation.formula
                ))
                .fix(Fix::DropColumn {
                    table: name.clone(),
                    column: derivation.column.clone(),
                    derivation: derivation.formula.clone(),
                });
        }
        Some(counted) => format!(
            "say first what the value of {} means that the formula does not give: it would be lost with {column}",
            rows_of(counted.otherwise())
        ),
        None => "compare the whole table first, with the SQL of the proof".to_owned(),
    };
    finding.remedy(format!(
        "{why}; then drop {column} and compute it, or make it GENERATED ALWAYS AS ({}) STORED",
        derivation.formula
    ))
}

/// With what the whole table says of it.
fn told(finding: Finding, counted: Option<Counted>) -> Finding {
    let Some(counted) = counted else {
        return finding.because("it holds in the sample; the whole table was not read in time");
    };
    let rows = ("rows", float(counted.rows));
    if counted.otherwise() == 0 {
        return finding.measured(
            format!("in all {} rows that have a value", grouped(counted.rows)),
            &[rows],
        );
    }
    let mut finding = finding.measured(
        format!(
            "in all but {} of {} rows that have a value",
            grouped(counted.otherwise()),
            grouped(counted.rows)
        ),
        &[rows],
    );
    if counted.differing > 0 {
        finding = finding.measured(
            format!("in {} the formula gives another value", rows_of(counted.differing)),
            &[("differing", float(counted.differing))],
        );
    }
    if counted.alone > 0 {
        finding = finding.measured(
            format!(
                "in {} a part of the formula is NULL: nothing else tells the value",
                rows_of(counted.alone)
            ),
            &[("alone", float(counted.alone))],
        );
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    #[test]
    fn products_sums_and_joined_names_are_found() {
        let columns = [
            "id int8",
            "qty int4",
            "price numeric",
            "line_total numeric",
            "first text",
            "last text",
            "full_name text",
            "wide int4",
            "deep int4",
            "area int8",
        ];
        let mut facts = facts(vec![table("lines", &columns)]);
        fill(&mut facts, "lines", 100, |i, c| match c {
            "qty" => (i % 7 + 1).to_string(),
            "price" => format!("{}.25", i % 11),
            "line_total" => format!("{:.2}", (i % 7 + 1) as f64 * ((i % 11) as f64 + 0.25)),
            "first" => format!("F{}", i % 13),
            "last" => format!("L{}", i % 17),
            "wide" => (i * 7 % 23).to_string(),
            "deep" => (i * 5 % 31).to_string(),
            "area" => ((i * 7 % 23) * (i * 5 % 31) * (i % 7 + 1)).to_string(),
            "full_name" => format!("F{} L{}", i % 13, i % 17),
            _ => i.to_string(),
        });
        let found = findings(&RULE, &facts, &[100, 0]);
        let titles: Vec<_> = found.iter().map(|f| f.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "public.lines.line_total is qty * price",
                "public.lines.area is qty * wide * deep",
                "public.lines.full_name is first || ' ' || last"
            ]
        );
        let Fix::DropColumn { derivation, .. } = &found[1].fixes[0] else {
            panic!()
        };
        assert_eq!(derivation, r#""qty"::bigint * "wide" * "deep""#);
        for other in [[100, 30, 0], [100, 0, 2]] {
            assert!(
                findings(&RULE, &facts, &other).is_empty(),
                "the whole table contradicts"
            );
        }
        // A value that the formula does not give would be lost with the column.
        for (other, text) in [
            ([1000, 2, 0], "in 2 rows the formula gives another value"),
            (
                [1000, 0, 1],
                "in 1 row a part of the formula is NULL: nothing else tells the value",
            ),
        ] {
            for found in findings(&RULE, &facts, &other) {
                assert!(found.fixes.is_empty(), "{:?}", found.fixes);
                assert_eq!(found.severity, Severity::Medium);
                assert_eq!(found.evidence[1].text, text);
            }
        }
    }

    #[test]
    fn small_numbers_do_not_follow_from_each_other_because_they_are_small() {
        let mut facts = facts(vec![table(
            "t",
            &["id int8", "daily numeric", "monthly numeric", "penalty numeric", "doubled numeric"],
        )]);
        fill(&mut facts, "t", 100, |i, c| match c {
            "daily" => format!("{:.5}", 0.0001 + (i * 7 % 13) as f64 / 1e5),
            "monthly" => format!("{:.5}", 0.0011 + (i * 11 % 17) as f64 / 1e5),
            "penalty" => format!("{:.5}", 0.0021 + (i * 5 % 19) as f64 / 1e5),
            "doubled" => format!("{:.5}", 0.0012 + ((i * 7 % 13) + (i * 11 % 17)) as f64 / 1e5),
            _ => i.to_string(),
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.t.doubled is daily + monthly"]
        );
    }

    #[test]
    fn numbers_that_have_nothing_to_do_with_each_other_are_left_alone() {
        let mut facts = facts(vec![table("t", &["id int8", "a int4", "b int4", "c int4"])]);
        fill(&mut facts, "t", 100, |i, c| match c {
            "a" => (i * 7 % 13).to_string(),
            "b" => (i * 11 % 17).to_string(),
            "c" => (i * 5 % 19).to_string(),
            _ => i.to_string(),
        });
        assert!(titles(&RULE, &facts).is_empty());
    }
}
