//! Lists written into a text column: no foreign key and no index reaches an element.

use super::{Rule, float, grouped};
use crate::audit::enumeration::Enumeration;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, KeyColumn};
use crate::audit::habit::table_name;
use crate::audit::likeness::likeness;
use crate::audit::question::{Claim, Question, count};
use crate::audit::schema::{Column, Table};
use crate::audit::word::{singular, snake, words};
use crate::pg::ident::literal;
use crate::pg::{QualifiedName, quote};

pub const RULE: Rule = Rule {
    id: "list-in-text",
    category: Category::Structure,
    finds: "lists with separators in a text column",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (table, column) in facts.columns() {
        let list = facts
            .column_profile(table, &column.name)
            .and_then(|p| p.enumeration.clone());
        if let Some(list) = list
            && !facts.refers(table, &column.name)
        {
            let target = target(facts, table, column, &list);
            let parent: Vec<_> = words(&table.name.name).iter().map(|w| singular(w)).collect();
            let child = snake(&format!("{}_{}", parent.join("_"), column.name));
            let child = table_name(&facts.database, &table.name.schema, &child);
            let (table, column) = (table.clone(), column.clone());
            let name = quote(&column.name);
            claims.push(Claim::Open(Question {
                about: format!("{}.{}", table.name, plain(&column.name)),
                sql: format!(
                    "select count(nullif({name}, ''))::bigint, count(*) filter (where position({} in {name}) > 0)::bigint from {}",
                    literal(&list.separator.to_string()),
                    table.from_sql()
                ),
                decide: Box::new(move |answer| {
                    let counted = answer.map(|a| (count(a, 0), count(a, 1)));
                    let rare = counted.is_some_and(|(values, lists)| lists * 5 < values);
                    (!rare).then(|| finding(&table, &column, &list, (child, target), counted))
                }),
            }));
        }
    }
    claims
}

/// `category_ids` in `products` are ids of `categories`.
fn target(
    facts: &Facts,
    table: &Table,
    column: &Column,
    list: &Enumeration,
) -> Option<(QualifiedName, String)> {
    let one: Vec<_> = words(&column.name).iter().map(|w| singular(w)).collect();
    let one = one.join("_");
    facts
        .database
        .designed()
        .filter(|t| t.oid != table.oid)
        .filter_map(|t| {
            let key = t.primary_key.as_ref().filter(|k| k.columns.len() == 1)?;
            let key = t.column(&key.columns[0])?;
            let numbers = matches!(list.element_type, "integer" | "bigint");
            let fits = numbers == key.data_type.class.is_integer();
            let like = likeness(&one, &t.name.name, &key.name, false, &[]);
            (fits && like >= 0.85).then(|| (like, t.name.clone(), key.name.clone()))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, table, key)| (table, key))
}

fn finding(
    table: &Table,
    column: &Column,
    list: &Enumeration,
    (child, target): (QualifiedName, Option<(QualifiedName, String)>),
    counted: Option<(u64, u64)>,
) -> Finding {
    let name = &table.name;
    let mut finding = RULE
        .finding(
            Severity::High,
            format!(
                "{name}.{} holds lists with `{}` between the elements",
                plain(&column.name),
                list.separator
            ),
        )
        .on(Object::column(name, &column.name))
        .confidence(Confidence::share(if counted.is_some() {
            0.9
        } else {
            0.75
        }));
    finding = match counted {
        Some((values, lists)) => finding.measured(
            format!(
                "{} of {} values have more than one element",
                grouped(lists),
                grouped(values)
            ),
            &[("values", float(values)), ("lists", float(lists))],
        ),
        None => {
            finding.because("the whole table was not counted in time: this is what the sample says")
        }
    };
    finding = finding.because(format!(
        "in the sample {} elements are {} different ones, at most {} in a value; all of them can be {}",
        list.parts, list.vocabulary, list.most_parts, list.element_type
    ));
    if let Some((target, key)) = &target {
        finding = finding.because(format!(
            "by its name they are values of {target}.{}",
            plain(key)
        ));
    }
    let key: Vec<KeyColumn> = table
        .key_columns()
        .iter()
        .map(|c| KeyColumn {
            name: c.name.clone(),
            type_sql: c.data_type.sql.clone(),
        })
        .collect();
    let separator = list.separator.to_string();
    let finding = finding
        .proof(format!(
            "select count(*) from {} where position({} in {}) > 0",
            table.from_sql(),
            literal(&separator),
            quote(&column.name)
        ))
        .remedy(format!("move the elements to a table {child} with one row for each"))
        .cost(
            Effort::Restructuring,
            table.estimated_rows(),
            table.bytes,
            "rows are copied by a transform module; statements with LIKE on the column become joins",
        )
        .harm(table.weight() + 1.0);
    if key.is_empty() {
        return finding;
    }
    finding.fix(Fix::SplitList {
        table: name.clone(),
        column: column.name.clone(),
        separator,
        key,
        child,
        element_type: list.element_type.to_owned(),
        references: target,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    #[test]
    fn ids_in_a_text_name_the_table_they_are_of() {
        let mut facts = facts(vec![
            table("products", &["id int8", "category_ids text", "name text"]),
            table("categories", &["id int8", "name text"]),
        ]);
        fill(&mut facts, "products", 90, |i, c| match c {
            "category_ids" => ["1", "1,2", "3,1,2"][i % 3].to_owned(),
            "name" => format!("Lamp {i}, white"),
            _ => i.to_string(),
        });
        let found = findings(&RULE, &facts, &[90, 60]);
        assert_eq!(found.len(), 1);
        let Fix::SplitList {
            references: Some((table, _)),
            element_type,
            ..
        } = &found[0].fixes[0]
        else {
            panic!()
        };
        assert_eq!(
            (table.name.as_str(), element_type.as_str()),
            ("categories", "integer")
        );
        assert!(
            findings(&RULE, &facts, &[900, 60]).is_empty(),
            "rare in the whole table"
        );
    }

    #[test]
    fn names_and_prose_are_no_lists() {
        let mut facts = facts(vec![table("people", &["id int8", "name text"])]);
        fill(&mut facts, "people", 90, |i, c| {
            if c == "name" {
                format!("Doe{}, Jane", i % 9)
            } else {
                i.to_string()
            }
        });
        assert!(titles(&RULE, &facts).is_empty());
    }
}
