//! Moments written as seconds or milliseconds since 1970, and days written as 20240531.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, TimestampFormat};
use crate::audit::moment::{conversion, moment};
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table, TypeClass};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "time-as-number",
    category: Category::Type,
    finds: "moments stored as a number: since 1970, or a day in eight digits",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .columns()
        .filter(|(_, c)| {
            c.data_type.class.is_integer()
                || matches!(c.data_type.class, TypeClass::Numeric | TypeClass::Float)
        })
        .filter_map(|(t, c)| Some(finding(t, c, moment(facts, t, c)?.format)))
        .map(Claim::settled)
        .collect()
}

fn finding(table: &Table, column: &Column, format: TimestampFormat) -> Finding {
    let name = &table.name;
    let (_, value) = conversion(column, format);
    let day = format == TimestampFormat::CompactDate;
    let (to, holds) = if day {
        ("date", "all sampled values are days written in eight digits, and the name speaks of a time")
    } else {
        (
            "timestamp with time zone",
            "all sampled values are moments between 2000 and 2040 in this unit, and the name speaks of a time",
        )
    };
    let mut finding = RULE
        .finding(
            Severity::Medium,
            format!("{name}.{} is {} with {}", plain(&column.name), column.data_type.sql, format.name()),
        )
        .on(Object::column(name, &column.name))
        .confidence(Confidence::share(0.9))
        .because(holds)
        .because(if day {
            "the day after 20240131 is not 20240132: every calculation needs a conversion, and nothing keeps out 20240231"
        } else {
            "nobody can read it, date functions need a conversion, and nothing says which unit it is"
        });
    if !day && column.data_type.class == TypeClass::Integer(4) {
        finding = finding.because("integer ends in January 2038");
    }
    finding
        .proof(format!(
            "select to_char(min({value}), 'YYYY-MM') as first, to_char(max({value}), 'YYYY-MM') as last, count({}) as values from {}",
            quote(&column.name),
            table.from_sql()
        ))
        .remedy(format!("add a column of type {to}, backfill, and drop the number"))
        .cost(Effort::Migration, table.estimated_rows(), table.bytes, "the table is rewritten once, by a backfill in batches; the application changes with it")
        .fix(Fix::ConvertTimestamp {
            table: name.clone(),
            column: column.name.clone(),
            from_type: column.data_type.sql.clone(),
            format,
            to_type: to.to_owned(),
            unparsable: 0,
        })
        .harm(table.weight() - 0.5)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, table, titles};
    use super::*;

    #[test]
    fn only_a_name_of_a_time_makes_a_number_one() {
        let mut facts = facts(vec![table(
            "t",
            &[
                "id int8",
                "created_at int8",
                "phone int8",
                "updated_at int8",
                "created_by int8",
            ],
        )]);
        fill(&mut facts, "t", 50, |i, c| match c {
            "created_at" | "created_by" => (1_700_000_000_000 + i).to_string(),
            "phone" => (1_555_000_000 + i).to_string(),
            _ => i.to_string(),
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.t.created_at is int8 with epoch milliseconds"]
        );
    }
}
