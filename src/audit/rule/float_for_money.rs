//! Amounts of money as binary fractions.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::TypeClass;
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

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .columns()
        .filter(|(_, c)| c.data_type.class == TypeClass::Float && is_amount(&c.name))
        .map(|(table, column)| {
            let name = &table.name;
            let quoted = quote(&column.name);
            RULE.finding(Severity::High, format!("{name}.{} is an amount in {}", plain(&column.name), column.data_type.sql))
                .on(Object::column(name, &column.name))
                .confidence(Confidence::share(0.9))
                .because("0.1 + 0.2 is not 0.3 there: sums drift, and equality fails")
                .proof(format!(
                    "select sum({quoted}) as summed, sum({quoted}::numeric) as exact from {}",
                    table.from_sql()
                ))
                .remedy("convert to numeric; give it a number of decimals once every value has no more")
                .cost(Effort::Migration, table.estimated_rows(), table.bytes, "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a backfilled column does not")
                .fix(Fix::ConvertColumn {
                    table: name.clone(),
                    column: column.name.clone(),
                    from_type: column.data_type.sql.clone(),
                    // Through its text, which is exact, and without a number of decimals: small prices
                    // have more than four.
                    to_type: "numeric".to_owned(),
                    using: format!("{quoted}::text::numeric"),
                })
                .harm(table.weight() + 1.0)
        })
        .map(Claim::settled)
        .collect()
}

fn is_amount(name: &str) -> bool {
    let words: Vec<_> = words(name).iter().map(|w| singular(w)).collect();
    let any = |list: &[&str]| words.iter().any(|w| list.iter().any(|l| singular(l) == *w));
    any(AMOUNTS) && !any(SHARES)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
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
}
