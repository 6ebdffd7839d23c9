//! Columns that refer to one of several tables, as another column says.

use super::{Rule, float, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity, plain};
use crate::audit::question::Claim;
use crate::audit::reference::polymorphic;
use crate::audit::schema::{Column, Table};
use crate::audit::word::stem;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "polymorphic-reference",
    category: Category::Reference,
    finds: "columns that refer to one of several tables, which no foreign key can check",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        for column in &table.columns {
            let reference = column.data_type.class.is_integer()
                || column.data_type.class.is_text()
                || column.data_type.class == crate::audit::schema::TypeClass::Uuid;
            let kind = polymorphic(table, &column.name);
            if let (true, Some(kind)) = (reference && !table.in_foreign_key(&column.name), kind) {
                claims.extend(claim(facts, table, column, kind));
            }
        }
    }
    claims
}

fn claim(facts: &Facts, table: &Table, column: &Column, kind: &Column) -> Option<Claim> {
    let seen = facts.column_profile(table, &kind.name)?;
    // Which tables the values name; the values themselves are not shown.
    let mut targets: Vec<String> = facts
        .database
        .designed()
        .filter(|t| {
            seen.frequent
                .iter()
                .any(|(v, _)| stem(v) == stem(&t.name.name))
        })
        .map(|t| t.name.to_string())
        .collect();
    targets.dedup();
    if targets.len() < 2 {
        return None;
    }
    let name = &table.name;
    let finding = RULE
        .finding(
            Severity::Low,
            format!("{name}.{} refers to one of {} tables, as {} says", plain(&column.name), targets.len(), plain(&kind.name)),
        )
        .on(Object::column(name, &column.name))
        .on(Object::column(name, &kind.name))
        .confidence(Confidence::share(0.9))
        .measured(
            format!("{} has {} different values, among them the names of {}", kind.name, seen.distinct, listed(&targets)),
            &[("tables", float(targets.len() as u64))],
        )
        .because("no foreign key can check it: a row can refer to what does not exist")
        .proof(format!(
            "select {0} as kind, count(*) as rows, count(distinct {1}) as referred from {2} group by 1",
            quote(&kind.name),
            quote(&column.name),
            table.from_sql()
        ))
        .remedy("one nullable column with a foreign key for each table and a CHECK that one is set; or leave it, and check for orphans by a job")
        .cost(
            Effort::Restructuring,
            table.estimated_rows(),
            table.bytes,
            "columns are added and backfilled; the application writes them instead of the pair",
        )
        .harm(table.weight() - 1.0);
    Some(Claim::settled(finding))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, table, titles};
    use super::*;

    #[test]
    fn the_kinds_must_be_tables() {
        let mut facts = facts(vec![
            table(
                "comments",
                &["id int8", "subject_type text", "subject_id int8"],
            ),
            table("orders", &["id int8"]),
            table("products", &["id int8"]),
        ]);
        fill(&mut facts, "comments", 50, |i, c| match c {
            "subject_type" => ["Order", "Product"][i % 2].to_owned(),
            _ => i.to_string(),
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.comments.subject_id refers to one of 2 tables, as subject_type says"]
        );
        fill(&mut facts, "comments", 50, |i, c| {
            if c == "subject_type" {
                "round".to_owned()
            } else {
                i.to_string()
            }
        });
        assert!(titles(&RULE, &facts).is_empty());
    }
}
