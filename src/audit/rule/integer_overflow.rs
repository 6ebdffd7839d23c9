//! Keys and sequences that run out of numbers.

use super::{Rule, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::{Claim, Question, number};
use crate::audit::schema::{Column, Sequence, Table, TypeClass};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "integer-overflow",
    category: Category::Type,
    finds: "integer keys and sequences near their end",
    check,
};

/// Of the numbers that there are.
const WARN: f64 = 0.5;
const ALARM: f64 = 0.8;

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        let Some(key) = table.primary_key.as_ref().filter(|k| k.columns.len() == 1) else {
            continue;
        };
        let Some(column) = table.column(&key.columns[0]) else {
            continue;
        };
        let TypeClass::Integer(width) = column.data_type.class else {
            continue;
        };
        let sequence = facts.database.sequences.iter().find(|s| {
            s.owner
                .as_ref()
                .is_some_and(|(t, c)| t == &table.name && c == &column.name)
        });
        let most = largest(width).min(sequence.map_or(i64::MAX, |s| s.maximum));
        if let Some(last) = sequence.and_then(|s| s.last_value) {
            claims
                .extend(finding(facts, table, column, sequence, (last, most)).map(Claim::settled));
        } else if width < 8 && column.readable && table.estimated_rows() > 0 {
            // Without a sequence: the index has the greatest at its end.
            let (sql, about) = (
                max_sql(table, column),
                format!("{}.{}", table.name, plain(&column.name)),
            );
            let parts = (
                table.clone(),
                column.clone(),
                referencing(facts, table, &column.name),
            );
            claims.push(Claim::Open(Question {
                about,
                sql,
                decide: Box::new(move |answer| {
                    let last = number(answer?, 0);
                    report(&parts.0, &parts.1, None, (last, most), parts.2)
                }),
            }));
        }
    }
    // Sequences that no key owns.
    for sequence in facts
        .database
        .sequences
        .iter()
        .filter(|s| s.owner.is_none() && !s.cycles)
    {
        claims.extend(lonely(sequence).map(Claim::settled));
    }
    claims
}

fn largest(width: u8) -> i64 {
    match width {
        2 => i64::from(i16::MAX),
        4 => i64::from(i32::MAX),
        _ => i64::MAX,
    }
}

fn max_sql(table: &Table, column: &Column) -> String {
    format!(
        "select max({})::bigint from {}",
        quote(&column.name),
        table.from_sql()
    )
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn used(last: i64, most: i64) -> f64 {
    last as f64 / most as f64
}

/// Columns that refer to the key and are as narrow.
fn referencing(
    facts: &Facts,
    table: &Table,
    column: &str,
) -> Vec<(crate::pg::QualifiedName, String)> {
    facts
        .references
        .iter()
        .filter(|r| r.referenced == table.name)
        .flat_map(|r| {
            r.columns
                .iter()
                .zip(&r.referenced_columns)
                .map(move |(c, k)| (r, c, k))
        })
        .filter(|(_, _, k)| k.as_str() == column)
        .map(|(r, c, _)| (r.table.clone(), c.clone()))
        .collect()
}

fn finding(
    facts: &Facts,
    table: &Table,
    column: &Column,
    sequence: Option<&Sequence>,
    (last, most): (i64, i64),
) -> Option<Finding> {
    report(
        table,
        column,
        sequence,
        (last, most),
        referencing(facts, table, &column.name),
    )
}

fn report(
    table: &Table,
    column: &Column,
    sequence: Option<&Sequence>,
    (last, most): (i64, i64),
    referencing: Vec<(crate::pg::QualifiedName, String)>,
) -> Option<Finding> {
    let share = used(last, most);
    if share < WARN {
        return None;
    }
    let name = &table.name;
    let severity = if share >= ALARM {
        Severity::Critical
    } else {
        Severity::High
    };
    let bigint = column.data_type.class == TypeClass::Integer(8);
    let mut finding = RULE
        .finding(
            severity,
            format!(
                "{name}.{} has used {:.0} % of its numbers",
                plain(&column.name),
                share * 100.0
            ),
        )
        .on(Object::column(name, &column.name));
    if let Some(sequence) = sequence {
        finding = finding.on(Object::Sequence {
            sequence: sequence.name.clone(),
        });
    }
    let others: Vec<_> = referencing
        .iter()
        .map(|(t, c)| format!("{t}.{}", plain(c)))
        .collect();
    finding = finding.measured(
        format!(
            "the highest is {}, the type or its sequence ends at {}",
            grouped(last.unsigned_abs()),
            grouped(most.unsigned_abs())
        ),
        &[
            ("last", used(last, 1)),
            ("limit", used(most, 1)),
            ("used", share),
        ],
    );
    if !others.is_empty() {
        finding = finding.because(format!("{} must be widened with it", others.join(", ")));
    }
    finding = finding
        .because("INSERT fails when the end is reached")
        .proof(match sequence {
            Some(s) => format!("select last_value from {}", s.name.sql()),
            None => max_sql(table, column),
        })
        .remedy(if bigint { "raise the sequence's MAXVALUE" } else { "widen the key, its sequence and the columns that refer to it to bigint" })
        .cost(
            if bigint { Effort::Statement } else { Effort::Migration },
            table.estimated_rows(),
            table.bytes,
            "ALTER TYPE rewrites the table and its indexes under ACCESS EXCLUSIVE: use a second column that is backfilled and swapped",
        )
        .harm(table.weight() + 5.0 * share);
    if bigint {
        return Some(finding);
    }
    Some(finding.fix(Fix::WidenInteger {
        table: name.clone(),
        column: column.name.clone(),
        from_type: column.data_type.sql.clone(),
        to_type: "bigint".to_owned(),
        sequence: sequence.map(|s| s.name.clone()),
        referencing,
    }))
}

fn lonely(sequence: &Sequence) -> Option<Finding> {
    let last = sequence.last_value?;
    let share = used(last, sequence.maximum);
    let name = &sequence.name;
    (share >= WARN).then(|| {
        RULE.finding(
            if share >= ALARM {
                Severity::Critical
            } else {
                Severity::High
            },
            format!(
                "sequence {name} has used {:.0} % of its numbers",
                share * 100.0
            ),
        )
        .on(Object::Sequence {
            sequence: name.clone(),
        })
        .measured(
            format!(
                "the last is {}, the end is {}",
                grouped(last.unsigned_abs()),
                grouped(sequence.maximum.unsigned_abs())
            ),
            &[("last", used(last, 1)), ("used", share)],
        )
        .proof(format!("select last_value from {}", name.sql()))
        .remedy("ALTER SEQUENCE … AS bigint, once the columns that it fills are bigint")
        .cost(
            Effort::Statement,
            0,
            0,
            "a moment's SHARE ROW EXCLUSIVE on the sequence",
        )
        .harm(3.0 + 5.0 * share)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table};
    use super::*;
    use crate::pg::QualifiedName;

    #[test]
    fn half_is_a_warning_and_four_fifths_an_alarm() {
        let mut facts = facts(vec![
            table("orders", &["id int4"]),
            table("items", &["id int8", "order_id int4"]).refers(&["order_id"], "orders", &["id"]),
        ]);
        let orders = QualifiedName::new("public", "orders");
        for (last, expected) in [
            (1_000_000_000, None),
            (1_200_000_000, Some(Severity::High)),
            (2_000_000_000, Some(Severity::Critical)),
        ] {
            facts.database.sequences = vec![Sequence {
                name: QualifiedName::new("public", "orders_id_seq"),
                last_value: Some(last),
                maximum: i64::from(i32::MAX),
                cycles: false,
                owner: Some((orders.clone(), "id".to_owned())),
            }];
            let found = findings(&RULE, &facts, &[5]);
            assert_eq!(found.first().map(|f| f.severity), expected, "{last}");
            if let Some(f) = found.first() {
                assert!(
                    matches!(&f.fixes[0], Fix::WidenInteger { referencing, .. } if referencing.len() == 1)
                );
            }
        }
    }

    #[test]
    fn a_key_without_a_sequence_is_asked_for_its_greatest() {
        let facts = facts(vec![table("codes", &["id int2"])]);
        assert!(findings(&RULE, &facts, &[1_000]).is_empty());
        assert_eq!(findings(&RULE, &facts, &[30_000]).len(), 1);
    }
}
