//! The same fact, a moment, written down in different ways in different tables.

use std::collections::BTreeMap;

use super::{Rule, float, grouped, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, TimestampFormat};
use crate::audit::moment::{Moment, conversion, moment};
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table};
use crate::audit::word::words;

pub const RULE: Rule = Rule {
    id: "mixed-timestamps",
    category: Category::Type,
    finds: "the same fact stored as epoch, text and timestamp in different tables",
    check,
};

struct Place<'a> {
    table: &'a Table,
    column: &'a Column,
    moment: Moment,
}

fn check(facts: &Facts) -> Vec<Claim> {
    let mut by_fact: BTreeMap<String, Vec<Place<'_>>> = BTreeMap::new();
    for (table, column) in facts.columns() {
        if let Some(moment) = moment(facts, table, column) {
            let place = Place {
                table,
                column,
                moment,
            };
            by_fact.entry(fact(&column.name)).or_default().push(place);
        }
    }
    by_fact
        .iter()
        .filter_map(|(fact, places)| finding(fact, places))
        .map(Claim::settled)
        .collect()
}

/// `created_at`, `createdAt`, `created_on` and `created` are one fact.
fn fact(name: &str) -> String {
    let mut words = words(name);
    let endings = [
        "at",
        "on",
        "ts",
        "time",
        "timestamp",
        "date",
        "datetime",
        "epoch",
        "ms",
        "utc",
    ];
    while words.len() > 1 && words.last().is_some_and(|w| endings.contains(&w.as_str())) {
        words.pop();
    }
    words.join("_")
}

fn finding(fact: &str, places: &[Place<'_>]) -> Option<Finding> {
    let mut forms: BTreeMap<TimestampFormat, Vec<&Place<'_>>> = BTreeMap::new();
    for place in places {
        forms.entry(place.moment.format).or_default().push(place);
    }
    // A day and a moment are different facts with the same name.
    let of_moments = forms.keys().filter(|f| !is_day(**f)).count();
    if of_moments < 2 {
        return None;
    }
    let minority: Vec<&Place<'_>> = places
        .iter()
        .filter(|p| p.moment.format != TimestampFormat::WithZone && !is_day(p.moment.format))
        .collect();
    let ways: Vec<String> = forms
        .iter()
        .filter(|(f, _)| !is_day(**f))
        .map(|(format, places)| match places.len() {
            1 => format!("{} in one table", format.name()),
            n => format!("{} in {n} tables", format.name()),
        })
        .collect();
    let mut finding = RULE
        .finding(
            Severity::High,
            format!("`{fact}` is stored in {of_moments} ways: {}", listed(&ways)),
        )
        .each()
        .confidence(Confidence::share(0.9));
    for place in &minority {
        finding = finding.on(Object::column(&place.table.name, &place.column.name));
        let column = format!("{}.{}", place.table.name, plain(&place.column.name));
        let mut text = format!("{column} is {}", place.column.data_type.sql);
        if place.moment.format != TimestampFormat::WithoutZone {
            text.push_str(&format!(" with {}", place.moment.format.name()));
        }
        if place.moment.unparsable > 0 {
            text.push_str(&format!(
                "; {} of {} sampled values are none",
                grouped(place.moment.unparsable),
                grouped(place.moment.values)
            ));
        }
        finding = finding.measured(text, &[("unparsable", float(place.moment.unparsable))]);
    }
    let rows: u64 = minority.iter().map(|p| p.table.estimated_rows()).sum();
    let bytes: u64 = minority.iter().map(|p| p.table.bytes).sum();
    let weight = minority
        .iter()
        .map(|p| p.table.weight())
        .fold(0.0, f64::max);
    let counts: Vec<_> = minority
        .iter()
        .map(|p| {
            let (parses, _) = conversion(p.column, p.moment.format);
            format!(
                "select {} as place, count(*) as rows, count(*) filter (where not ({parses})) as unparsable from {}",
                crate::pg::ident::literal(&format!("{}.{}", p.table.name, p.column.name)),
                p.table.from_sql()
            )
        })
        .collect();
    finding = finding
        .because("they cannot be compared or joined without a conversion, and each conversion guesses a time zone")
        .proof(counts.join(" union all "))
        .remedy("make all of them timestamptz: add a column, backfill, switch readers and writers, drop the old one")
        .cost(Effort::Migration, rows, bytes, "each table is rewritten once, by a backfill in batches; the application changes with it")
        .harm(weight + float(minority.len() as u64));
    for place in minority {
        finding = finding.fix(Fix::ConvertTimestamp {
            table: place.table.name.clone(),
            column: place.column.name.clone(),
            from_type: place.column.data_type.sql.clone(),
            format: place.moment.format,
            to_type: "timestamp with time zone".to_owned(),
            unparsable: place.moment.unparsable,
        });
    }
    Some(finding)
}

fn is_day(format: TimestampFormat) -> bool {
    matches!(
        format,
        TimestampFormat::Date | TimestampFormat::IsoDate | TimestampFormat::CompactDate
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    #[test]
    fn one_fact_in_three_forms_is_one_finding() {
        let mut facts = facts(vec![
            table("orders", &["id int8", "created_at text"]),
            table("payments", &["id int8", "createdAt int8"]),
            table("users", &["id int8", "created timestamptz"]),
            table("days", &["id int8", "created_on date"]),
        ]);
        fill(&mut facts, "orders", 50, |i, c| {
            if c == "id" {
                i.to_string()
            } else {
                format!("2024-01-{:02} 10:00:00", i % 28 + 1)
            }
        });
        fill(&mut facts, "payments", 50, |i, c| {
            if c == "id" {
                i.to_string()
            } else {
                (1_700_000_000 + i).to_string()
            }
        });
        let found = findings(&RULE, &facts, &[]);
        assert_eq!(found.len(), 1, "{:?}", titles(&RULE, &facts));
        assert_eq!(found[0].objects.len(), 2);
        assert!(found[0].proof.contains(
            r#"(where not ("createdAt" is null or "createdAt" >= 946684800 and "createdAt" < 2208988800))"#
        ));
        let formats: Vec<_> = found[0]
            .fixes
            .iter()
            .map(|f| match f {
                Fix::ConvertTimestamp { format, .. } => *format,
                _ => panic!(),
            })
            .collect();
        assert_eq!(
            formats,
            [TimestampFormat::Iso8601, TimestampFormat::EpochSeconds]
        );
    }

    #[test]
    fn one_form_everywhere_is_no_mixture() {
        let facts = facts(vec![
            table(
                "a",
                &["id int8", "created_at timestamptz", "updated_at timestamp"],
            ),
            table("b", &["id int8", "created_at timestamptz", "due date"]),
        ]);
        assert!(titles(&RULE, &facts).is_empty());
    }
}
