//! A column name that has one type in most tables and another in a few.

use std::collections::BTreeMap;

use super::{Rule, float, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table, TypeClass};
use crate::audit::value::Form;
use crate::audit::word::words;
use crate::pg::ident::literal;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "same-name-different-type",
    category: Category::Type,
    finds: "the same name with another type in a few tables",
    check,
};

/// With fewer columns of a name there is no majority.
const FEWEST: usize = 3;
/// Names that mean something else in every table.
const GENERIC: &[&str] = &[
    "id",
    "name",
    "value",
    "type",
    "kind",
    "status",
    "state",
    "code",
    "number",
    "no",
    "key",
    "data",
    "position",
    "level",
    "version",
    "rank",
    "score",
    "result",
    "content",
    "reference",
    "ref",
    "count",
    "size",
    "total",
    "flag",
    "active",
    "default",
    "settings",
    "options",
    "metadata",
    "note",
    "notes",
    "comment",
    "comments",
    "date",
    "time",
    "duration",
    "period",
    "priority",
    "unit",
    "weight",
    "source",
    "target",
    "rate",
    "quantity",
];

fn check(facts: &Facts) -> Vec<Claim> {
    let mut by_name: BTreeMap<String, Vec<(&Table, &Column)>> = BTreeMap::new();
    for (table, column) in facts.columns() {
        let key = words(&column.name).join("_");
        if !GENERIC.contains(&key.as_str()) && !is_moment(&column.name, column) {
            by_name.entry(key).or_default().push((table, column));
        }
    }
    by_name
        .into_values()
        .filter_map(|places| finding(facts, &places))
        .map(Claim::settled)
        .collect()
}

/// Moments have a rule of their own.
fn is_moment(name: &str, column: &Column) -> bool {
    let time = matches!(
        column.data_type.class,
        TypeClass::Timestamp | TypeClass::TimestampTz | TypeClass::Date
    );
    let last = words(name).pop().unwrap_or_default();
    time || ["at", "on", "date", "time", "ts"].contains(&last.as_str())
}

/// Widths and lengths are no other type.
fn family(class: TypeClass) -> TypeClass {
    match class {
        TypeClass::Integer(_) => TypeClass::Integer(8),
        TypeClass::PaddedChar | TypeClass::Enum => TypeClass::Text,
        TypeClass::Json => TypeClass::Jsonb,
        other => other,
    }
}

fn finding(facts: &Facts, places: &[(&Table, &Column)]) -> Option<Finding> {
    if places.len() < FEWEST {
        return None;
    }
    let mut families: BTreeMap<TypeClass, Vec<&(&Table, &Column)>> = BTreeMap::new();
    for place in places {
        families
            .entry(family(place.1.data_type.class))
            .or_default()
            .push(place);
    }
    let (usual, most) = families.iter().max_by_key(|(_, p)| p.len())?;
    if families.len() < 2 || most.len() * 3 < places.len() * 2 {
        return None;
    }
    let usual_type = &most[0].1.data_type.sql;
    // Other values are another fact with the same name: only what could be converted is
    // the same one.
    let odd: Vec<&(&Table, &Column)> = places
        .iter()
        .filter(|(t, c)| family(c.data_type.class) != *usual && convertible(facts, t, c, *usual))
        .collect();
    if odd.is_empty() {
        return None;
    }
    let name = plain(&odd[0].1.name);
    let mut finding = RULE
        .finding(
            Severity::Medium,
            format!(
                "{name} is {usual_type} in {} tables and {} in {}",
                most.len(),
                odd[0].1.data_type.sql,
                listed(
                    &odd.iter()
                        .map(|(t, _)| t.name.to_string())
                        .collect::<Vec<_>>()
                )
            ),
        )
        .confidence(Confidence::share(0.75));
    for (table, column) in &odd {
        finding = finding.on(Object::column(&table.name, &column.name));
    }
    finding = finding
        .measured(
            format!("{} columns have this name, {} of them this type", places.len(), most.len()),
            &[("columns", float(places.len() as u64)), ("usual", float(most.len() as u64))],
        )
        .because("comparing them needs a cast, which no index serves")
        .proof(format!(
            "select attrelid::regclass, format_type(atttypid, atttypmod) from pg_attribute where attname = {} and attnum > 0 order by 2",
            literal(&odd[0].1.name)
        ))
        .remedy(format!("convert to {usual_type}"))
        .cost(
            Effort::Migration,
            odd.iter().map(|(t, _)| t.estimated_rows()).sum(),
            odd.iter().map(|(t, _)| t.bytes).sum(),
            "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a backfilled column does not",
        )
        .harm(odd.iter().map(|(t, _)| t.weight()).fold(0.0, f64::max) - 1.0);
    for (table, column) in odd {
        finding = finding.fix(Fix::ConvertColumn {
            table: table.name.clone(),
            column: column.name.clone(),
            from_type: column.data_type.sql.clone(),
            to_type: usual_type.clone(),
            using: format!("{}::{usual_type}", quote(&column.name)),
        });
    }
    Some(finding)
}

fn convertible(facts: &Facts, table: &Table, column: &Column, usual: TypeClass) -> bool {
    let Some(seen) = facts
        .column_profile(table, &column.name)
        .filter(|p| p.present > 0)
    else {
        return true;
    };
    let all = |forms: &[Form]| seen.forms.iter().all(|(f, _)| forms.contains(f));
    match usual {
        TypeClass::Integer(_) => all(&[Form::Integer, Form::BigInteger]),
        TypeClass::Numeric | TypeClass::Float => {
            all(&[Form::Integer, Form::BigInteger, Form::Decimal])
        }
        TypeClass::Uuid => all(&[Form::Uuid]),
        TypeClass::Boolean => seen.distinct <= 2,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn the_odd_one_out_is_named_and_generic_names_are_not() {
        let facts = facts(vec![
            table("a", &["id int8", "phone text", "status text"]),
            table("b", &["id int8", "phone varchar(20)", "status text"]),
            table("c", &["id int8", "phone int8", "status int4"]),
            table("d", &["id int8", "phone text", "status text"]),
        ]);
        assert_eq!(
            titles(&RULE, &facts),
            ["phone is text in 3 tables and int8 in public.c"]
        );
    }
}
