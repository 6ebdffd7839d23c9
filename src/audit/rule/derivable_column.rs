//! Columns that other columns of the same row already say.

use super::{Rule, float, grouped, listed};
use crate::audit::derivation::Derivation;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::{Claim, Question, count};
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
                sql: format!(
                    "select count({})::bigint, count(*) filter (where {})::bigint from {}",
                    quote(&derivation.column),
                    derivation.differs,
                    table.from_sql()
                ),
                decide: Box::new(move |answer| {
                    let counted = answer.map(|a| (count(a, 0), count(a, 1)));
                    let other = counted.is_some_and(|(rows, differ)| differ * 100 > rows);
                    (!other).then(|| finding(&table, &derivation, counted))
                }),
            }));
        }
    }
    claims
}

fn finding(table: &Table, derivation: &Derivation, counted: Option<(u64, u64)>) -> Finding {
    let name = &table.name;
    let differ = counted.map_or(0, |(_, n)| n);
    let severity = if differ > 0 {
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
    let finding = match counted {
        Some((rows, 0)) => finding.measured(
            format!("in all {} rows that have a value", grouped(rows)),
            &[("rows", float(rows))],
        ),
        Some((rows, n)) => finding.measured(
            format!(
                "in all but {} of {} rows: those contradict themselves",
                grouped(n),
                grouped(rows)
            ),
            &[("rows", float(rows)), ("differing", float(n))],
        ),
        None => finding.because("it holds in the sample; the whole table was not read in time"),
    };
    finding
        .because(format!("every change of {} has to change it, too", listed(&derivation.parts)))
        .proof(format!("select count(*) from {} where {}", table.from_sql(), derivation.differs))
        .remedy(format!(
            "drop {column} and compute it, or make it GENERATED ALWAYS AS ({}) STORED so that it cannot be wrong",
            derivation.formula
        ))
        .cost(
            Effort::Migration,
            table.estimated_rows(),
            table.bytes,
            "dropping takes a moment's ACCESS EXCLUSIVE; a stored generated column rewrites the table",
        )
        .fix(Fix::DropColumn {
            table: name.clone(),
            column: derivation.column.clone(),
            derivation: derivation.formula.clone(),
        })
        .harm(table.weight() - 2.0)
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
        assert!(
            findings(&RULE, &facts, &[100, 30]).is_empty(),
            "the whole table contradicts"
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
