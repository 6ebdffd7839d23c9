//! Moments without a time zone: which hour it was depends on who wrote it.

use super::{Rule, float};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, TimestampFormat};
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table, TypeClass};

pub const RULE: Rule = Rule {
    id: "timestamp-without-zone",
    category: Category::Type,
    finds: "timestamps without time zone",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let of = |class| {
        facts
            .columns()
            .filter(move |(_, c)| c.data_type.class == class)
            .collect::<Vec<(&Table, &Column)>>()
    };
    let (without, with) = (of(TypeClass::Timestamp), of(TypeClass::TimestampTz));
    if without.is_empty() {
        return Vec::new();
    }
    // A schema that does it everywhere has a convention: one finding, not a hundred.
    vec![Claim::settled(finding(&without, with.len()))]
}

fn finding(without: &[(&Table, &Column)], with: usize) -> Finding {
    let count = without.len();
    let noun = if count == 1 {
        "column is"
    } else {
        "columns are"
    };
    let severity = if with >= count {
        Severity::Medium
    } else {
        Severity::Low
    };
    let mut finding = RULE
        .finding(
            severity,
            format!("{count} {noun} timestamp without time zone"),
        )
        .each();
    for (table, column) in without {
        finding = finding.on(Object::column(&table.name, &column.name));
    }
    let shown: Vec<_> = without
        .iter()
        .take(8)
        .map(|(t, c)| format!("{}.{}", t.name, plain(&c.name)))
        .collect();
    let more = count.saturating_sub(shown.len());
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    finding = finding
        .measured(
            format!("{}{more}; {with} columns are timestamptz", shown.join(", ")),
            &[("without", float(count as u64)), ("with", float(with as u64))],
        )
        .because("the same text is another moment for a session in another time zone, and one hour a year happens twice");
    let rows = without.iter().map(|(t, _)| t.estimated_rows()).sum();
    let bytes = without.iter().map(|(t, _)| t.bytes).sum();
    finding = finding
        .proof(
            "select attrelid::regclass, attname from pg_attribute where atttypid = 'timestamp'::regtype and attnum > 0 and not attisdropped and attrelid >= 16384",
        )
        .remedy("convert to timestamptz, saying which zone the values are in: … AT TIME ZONE 'UTC'")
        .cost(
            Effort::Migration,
            rows,
            bytes,
            "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE, except for sessions in UTC (from version 12); a backfilled column does not",
        )
        .harm(without.iter().map(|(t, _)| t.weight()).fold(0.0, f64::max) - 1.0);
    for (table, column) in without {
        finding = finding.fix(Fix::ConvertTimestamp {
            table: table.name.clone(),
            column: column.name.clone(),
            from_type: column.data_type.sql.clone(),
            format: TimestampFormat::WithoutZone,
            to_type: "timestamp with time zone".to_owned(),
            unparsable: 0,
        });
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table};
    use super::*;

    #[test]
    fn all_of_them_are_one_finding() {
        let tables = vec![
            table("a", &["id int8", "x timestamp", "y timestamp"]),
            table("b", &["id int8", "x timestamptz"]),
        ];
        let found = findings(&RULE, &facts(tables), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].objects.len(), found[0].fixes.len()), (2, 2));
        assert!(findings(&RULE, &facts(vec![table("b", &["x timestamptz"])]), &[]).is_empty());
    }
}
