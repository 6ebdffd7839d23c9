//! Tables with a row for each attribute of a thing: a schema inside of a table.

use super::{Rule, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity};
use crate::audit::fix::{Attribute, Fix, KeyColumn};
use crate::audit::profile::ColumnProfile;
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table, TypeClass};
use crate::audit::word::{singular, snake, words};
use crate::pg::{QualifiedName, quote};

pub const RULE: Rule = Rule {
    id: "entity-attribute-value",
    category: Category::Structure,
    finds: "tables of entity, attribute and value",
    check,
};

const ATTRIBUTES: &[&str] = &[
    "attribute",
    "attr",
    "key",
    "name",
    "field",
    "property",
    "prop",
    "param",
    "parameter",
];
const VALUES: &[&str] = &["value", "val"];
/// Tables with more columns say more than a value.
const MOST_COLUMNS: usize = 9;
/// More different names are data, not a schema.
const MOST_ATTRIBUTES: usize = 60;

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .database
        .designed()
        .filter_map(|t| finding(facts, t))
        .map(Claim::settled)
        .collect()
}

fn is_named(column: &Column, list: &[&str]) -> bool {
    words(&column.name)
        .iter()
        .any(|w| list.contains(&w.as_str()))
}

fn finding(facts: &Facts, table: &Table) -> Option<Finding> {
    if table.columns.len() > MOST_COLUMNS {
        return None;
    }
    let values: Vec<&Column> = table
        .columns
        .iter()
        .filter(|c| is_named(c, VALUES))
        .collect();
    let value = *values.first()?;
    let typed = values.len() > 1;
    if !typed && value.data_type.class != TypeClass::Text {
        return None;
    }
    let attribute = table.columns.iter().find(|c| {
        is_named(c, ATTRIBUTES)
            && !is_named(c, VALUES)
            && (c.data_type.class.is_text() || facts.refers(table, &c.name))
    })?;
    // What has the attribute: without it, it is a table of settings.
    let entity: Vec<&Column> = table
        .columns
        .iter()
        .filter(|c| facts.refers(table, &c.name) && c.name != attribute.name)
        .collect();
    let entity = *entity.first()?;
    let profile = facts.profile(table)?;
    let (entities, names) = (
        profile.column(&entity.name)?,
        profile.column(&attribute.name)?,
    );
    let repeats = names.present >= 4 * names.distinct && entities.present >= 2 * entities.distinct;
    if names.distinct < 2 || names.distinct > MOST_ATTRIBUTES || !repeats {
        return None;
    }
    Some(report(facts, table, entity, attribute, value, names))
}

fn report(
    facts: &Facts,
    table: &Table,
    entity: &Column,
    attribute: &Column,
    value: &Column,
    names: &ColumnProfile,
) -> Finding {
    let name = &table.name;
    // Names of attributes would be names of columns in a schema without the flaw; only
    // what reads like one is shown.
    let shown: Vec<String> = names
        .frequent
        .iter()
        .map(|(n, _)| n.clone())
        .filter(|n| n.len() <= 40 && n.chars().all(|c| c.is_alphanumeric() || "_- .".contains(c)))
        .collect();
    let parent: Vec<_> = words(&name.name).iter().map(|w| singular(w)).collect();
    let target = QualifiedName::new(name.schema.clone(), format!("{}_columns", parent.join("_")));
    let finding = RULE
        .finding(Severity::High, format!("{name} has a row for each attribute: a schema inside of a table"))
        .on(Object::table(name))
        .confidence(Confidence::share(0.85))
        .measured(
            format!(
                "{} names an attribute ({} different ones in the sample), {} holds what it is, of {}",
                attribute.name, names.distinct, value.name, entity.name
            ),
            &[("attributes", super::float(names.distinct as u64))],
        )
        .because("values have one type for all, no constraint can be set on any of them, and a row of the thing takes a join for each attribute")
        .proof(format!(
            "select {0} as attribute, count(*) as rows, count(distinct {1}) as entities from {2} group by 1 order by 2 desc",
            quote(&attribute.name),
            quote(&entity.name),
            table.from_sql()
        ))
        .remedy(format!("make the attributes columns: {}", listed(&shown)))
        .cost(
            Effort::Restructuring,
            table.estimated_rows(),
            table.bytes,
            "rows are pivoted by a transform module; statements that join for each attribute become plain selects",
        )
        .harm(table.weight() + 1.0);
    let _ = facts;
    if shown.is_empty() || !value.data_type.class.is_text() || !attribute.data_type.class.is_text()
    {
        return finding;
    }
    finding.fix(Fix::PivotAttributes {
        table: name.clone(),
        entity: vec![KeyColumn {
            name: entity.name.clone(),
            type_sql: entity.data_type.sql.clone(),
        }],
        attribute: attribute.name.clone(),
        value: value.name.clone(),
        target,
        attributes: shown
            .into_iter()
            .map(|n| Attribute {
                column: snake(&n),
                name: n,
                type_sql: "text".to_owned(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    fn filled(columns: &[&str]) -> Facts {
        let mut facts = facts(vec![
            table("products", &["id int8"]),
            table("extras", columns).refers(&["product_id"], "products", &["id"]),
        ]);
        fill(&mut facts, "extras", 90, |i, c| match c {
            "product_id" => (i / 3).to_string(),
            "attribute_name" | "locale" | "status" => ["color", "size", "weight"][i % 3].to_owned(),
            _ => i.to_string(),
        });
        facts
    }

    #[test]
    fn attributes_become_columns() {
        let found = findings(
            &RULE,
            &filled(&[
                "id int8",
                "product_id int8",
                "attribute_name text",
                "value text",
            ]),
            &[],
        );
        let Fix::PivotAttributes { attributes, .. } = &found[0].fixes[0] else {
            panic!()
        };
        assert_eq!(attributes.len(), 3);
        assert!(found[0].remedy.contains("color"));
    }

    #[test]
    fn translations_and_histories_are_none() {
        for columns in [
            ["id int8", "product_id int8", "locale text", "title text"],
            ["id int8", "product_id int8", "status text", "note text"],
        ] {
            assert!(titles(&RULE, &filled(&columns)).is_empty());
        }
        assert!(
            titles(
                &RULE,
                &facts(vec![table("settings", &["key text", "value text"])])
            )
            .is_empty()
        );
    }
}
