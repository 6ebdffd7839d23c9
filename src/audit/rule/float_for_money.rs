//! Amounts of money as binary fractions.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::{Claim, Question, count};
use crate::audit::schema::{Column, Table, TypeClass};
use crate::audit::word::{singular, words};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "float-for-money",
    category: Category::Type,
    finds: "amounts of money in float columns",
    check,
};

const AMOUNTS: &[&str] = &[
    "price",
    "amount",
    "total",
    "subtotal",
    "cost",
    "fee",
    "balance",
    "salary",
    "wage",
    "revenue",
    "budget",
    "refund",
    "payment",
    "discount",
    "tax",
    "vat",
    "charge",
    "deposit",
    "credit",
    "debit",
    "paid",
    "msrp",
    "margin",
    "commission",
    "surcharge",
    "premium",
    "rent",
    "bonus",
    "payout",
    "expense",
    "spend",
    "profit",
    "turnover",
    "toll",
];
/// A share of an amount is none.
const SHARES: &[&str] = &[
    "rate",
    "ratio",
    "percent",
    "percentage",
    "pct",
    "factor",
    "share",
    "score",
    "weight",
    "hours",
    "hour",
    "minutes",
    "km",
    "distance",
    "probability",
    "index",
    "count",
    "limit",
    "time",
    "days",
    "quantity",
    "qty",
    "ml",
    "cl",
    "mg",
    "kg",
    "gram",
    "mm",
    "cm",
    "kwh",
    "liter",
    "litre",
];

/// What the column becomes.
const AMOUNT: &str = "numeric(19,4)";

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .columns()
        .filter(|(_, c)| c.data_type.class == TypeClass::Float && is_amount(&c.name))
        .map(|(table, column)| {
            if facts.profile(table).is_none() || !column.readable {
                return Claim::settled(finding(table, column, None));
            }
            let (owned, named) = (table.clone(), column.clone());
            Claim::Open(Question {
                about: format!("{}.{}", table.name, plain(&column.name)),
                sql: counting(table, column),
                decide: Box::new(move |answer| {
                    let counted = answer.map(|a| (count(a, 0), count(a, 1)));
                    Some(finding(&owned, &named, counted))
                }),
            })
        })
        .collect()
}

/// Values, and those of them that four decimals do not hold: beyond what sums in binary
/// fractions are wrong by.
fn counting(table: &Table, column: &Column) -> String {
    format!(
        "select count({0})::bigint, count(*) filter (where {1})::bigint from {2}",
        quote(&column.name),
        other(column),
        table.from_sql()
    )
}

fn other(column: &Column) -> String {
    let name = quote(&column.name);
    let (digits, wrong) = match &column.data_type.base[..] {
        "float4" => ("real", "1e-6"),
        _ => ("double precision", "1e-12"),
    };
    // What is larger, infinite or no number has no place in the type at all.
    format!(
        "{name} is not null and case when abs({name}) < 1e15 then \
         abs(round({name}::numeric, 4)::{digits} - {name}) > {wrong} * abs({name}) else true end"
    )
}

fn finding(table: &Table, column: &Column, counted: Option<(u64, u64)>) -> Finding {
    let name = &table.name;
    let quoted = quote(&column.name);
    let finding = RULE
        .finding(
            Severity::High,
            format!(
                "{name}.{} is an amount in {}",
                plain(&column.name),
                column.data_type.sql
            ),
        )
        .on(Object::column(name, &column.name))
        .confidence(Confidence::share(0.9))
        .because("0.1 + 0.2 is not 0.3 there: sums drift, and equality fails")
        .cost(
            Effort::Migration,
            table.estimated_rows(),
            table.bytes,
            "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a backfilled column does not",
        )
        .harm(table.weight() + 1.0);
    let sums = format!(
        "select sum({quoted}) as summed, sum({quoted}::numeric) as exact from {}",
        table.from_sql()
    );
    match counted {
        Some((_, 0)) => finding
            .proof(sums)
            .remedy("convert to numeric with a fixed number of decimals")
            .fix(Fix::ConvertColumn {
                table: name.clone(),
                column: column.name.clone(),
                from_type: column.data_type.sql.clone(),
                to_type: AMOUNT.to_owned(),
                using: format!("round({quoted}::numeric, 4)"),
            }),
        Some((values, others)) => finding
            .measured(
                format!(
                    "{} of {} values are no amounts with four decimals: {AMOUNT} would round them, or has no place for them",
                    grouped(others),
                    grouped(values)
                ),
                &[("values", float(values)), ("others", float(others))],
            )
            .proof(format!(
                "select count(*) from {} where {}",
                table.from_sql(),
                other(column)
            ))
            .remedy("convert to numeric with as many decimals as the values need: say first how many these are"),
        None => finding
            .because("how many decimals its values have was not looked at")
            .proof(sums)
            .remedy("convert to numeric with as many decimals as the values need: look at them first"),
    }
}

fn is_amount(name: &str) -> bool {
    let words: Vec<_> = words(name).iter().map(|w| singular(w)).collect();
    let any = |list: &[&str]| words.iter().any(|w| list.iter().any(|l| singular(l) == *w));
    any(AMOUNTS) && !any(SHARES)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    #[test]
    fn rates_and_places_are_no_amounts() {
        let columns = [
            "id int8",
            "unit_price float8",
            "tax_rate float8",
            "latitude float8",
            "total_weight float8",
            "amount_ml float8",
            "fee numeric",
        ];
        let facts = facts(vec![table("a", &columns)]);
        assert_eq!(
            titles(&RULE, &facts),
            ["public.a.unit_price is an amount in float8"]
        );
    }

    #[test]
    fn values_that_four_decimals_do_not_hold_are_for_people() {
        let mut facts = facts(vec![table("a", &["id int8", "unit_price float8"])]);
        let unseen = findings(&RULE, &facts, &[1000, 0]);
        assert!(unseen[0].fixes.is_empty());
        fill(&mut facts, "a", 20, |i, _| i.to_string());
        let found = findings(&RULE, &facts, &[1000, 0]);
        assert_eq!(found[0].fixes.len(), 1);
        let found = findings(&RULE, &facts, &[1000, 7]);
        assert!(found[0].fixes.is_empty());
        assert_eq!(
            found[0].evidence[1].text,
            "7 of 1,000 values are no amounts with four decimals: numeric(19,4) would round them, or has no place for them"
        );
    }
}
