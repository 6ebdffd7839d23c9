//! Moments and days written as text.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, TimestampFormat};
use crate::audit::moment::{Moment, conversion, moment};
use crate::audit::question::{Claim, Question, count};
use crate::audit::schema::{Column, Table};

pub const RULE: Rule = Rule {
    id: "time-as-text",
    category: Category::Type,
    finds: "moments stored as text",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (table, column) in facts.columns().filter(|(_, c)| c.data_type.class.is_text()) {
        let Some(found) = moment(facts, table, column) else {
            continue;
        };
        let (parses, _) = conversion(column, found.format);
        let (table, column) = (table.clone(), column.clone());
        claims.push(Claim::Open(Question {
            about: format!("{}.{}", table.name, plain(&column.name)),
            sql: format!(
                "select count({})::bigint, count(*) filter (where not ({parses}))::bigint from {}",
                crate::pg::quote(&column.name),
                table.from_sql()
            ),
            decide: Box::new(move |answer| {
                let counted = answer.map(|a| (count(a, 0), count(a, 1)));
                let other = counted.is_some_and(|(values, bad)| bad * 5 > values);
                (!other).then(|| finding(&table, &column, found, counted))
            }),
        }));
    }
    claims
}

fn finding(table: &Table, column: &Column, found: Moment, counted: Option<(u64, u64)>) -> Finding {
    let name = &table.name;
    let (parses, _) = conversion(column, found.format);
    let unparsable = counted.map_or(found.unparsable, |(_, bad)| bad);
    let to = match found.format {
        TimestampFormat::IsoDate | TimestampFormat::CompactDate => "date",
        _ => "timestamp with time zone",
    };
    let finding = RULE
        .finding(
            Severity::High,
            format!(
                "{name}.{} is {} with {}",
                plain(&column.name),
                column.data_type.sql,
                found.format.name()
            ),
        )
        .on(Object::column(name, &column.name))
        .confidence(Confidence::share(0.95));
    let finding = match counted {
        Some((values, bad)) => finding.measured(
            format!(
                "{} of {} values do not parse",
                grouped(bad),
                grouped(values)
            ),
            &[("values", float(values)), ("unparsable", float(bad))],
        ),
        None => {
            finding.because("the whole table was not read in time: this is what the sample says")
        }
    };
    finding
        .because("texts sort by their letters, take more room, and nothing keeps out what is no date")
        .proof(format!("select count(*) from {} where not ({parses})", table.from_sql()))
        .remedy(format!("add a column of type {to}, backfill, and drop the text"))
        .cost(Effort::Migration, table.estimated_rows(), table.bytes, "the table is rewritten once, by a backfill in batches; the application changes with it")
        .fix(Fix::ConvertTimestamp {
            table: name.clone(),
            column: column.name.clone(),
            from_type: column.data_type.sql.clone(),
            format: found.format,
            to_type: to.to_owned(),
            unparsable,
        })
        .harm(table.weight())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table};
    use super::*;

    #[test]
    fn the_rows_that_do_not_parse_are_counted() {
        let mut facts = facts(vec![table(
            "orders",
            &["id int8", "placed text", "version text", "code text"],
        )]);
        fill(&mut facts, "orders", 60, |i, c| match c {
            "placed" => format!("{:02}.03.2024", i % 28 + 1),
            "version" => format!("{}.{}.2024", i % 3, i % 5),
            "code" => format!("{:08}", 20_240_101 + i),
            _ => i.to_string(),
        });
        let found = findings(&RULE, &facts, &[60, 2]);
        assert_eq!(found.len(), 1);
        assert!(matches!(
            found[0].fixes[0],
            Fix::ConvertTimestamp {
                format: TimestampFormat::DayMonthYearDots,
                unparsable: 2,
                ..
            }
        ));
        assert!(
            findings(&RULE, &facts, &[60, 30]).is_empty(),
            "half of the table is something else"
        );
    }
}
