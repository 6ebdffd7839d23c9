//! Tables of many columns most of which are empty in most rows.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity};
use crate::audit::question::Claim;
use crate::audit::schema::Table;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "wide-table",
    category: Category::Structure,
    finds: "tables of so many columns that they are several tables",
    check,
};

const MANY: usize = 35;
/// So many are too many, whatever is in them.
const FAR_TOO_MANY: usize = 100;
/// A column that is empty in more rows than this.
const SPARSE: f64 = 0.7;

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .database
        .designed()
        .filter(|t| t.columns.len() >= MANY)
        .filter_map(|t| finding(facts, t))
        .map(Claim::settled)
        .collect()
}

fn finding(facts: &Facts, table: &Table) -> Option<Finding> {
    let name = &table.name;
    let columns = table.columns.len();
    let sparse = facts.profile(table).filter(|p| p.rows > 0).map(|profile| {
        profile
            .columns
            .iter()
            .filter(|c| c.null_share(profile.rows) > SPARSE)
            .count()
    });
    let mostly_empty = sparse.is_some_and(|s| s * 2 >= columns);
    if !mostly_empty && columns < FAR_TOO_MANY {
        return None;
    }
    let mut finding = RULE
        .finding(Severity::Medium, format!("{name} has {columns} columns"))
        .on(Object::table(name))
        .confidence(Confidence::share(if mostly_empty { 0.9 } else { 0.7 }));
    finding = match sparse {
        Some(sparse) => finding.measured(
            format!("{sparse} of them are empty in more than seven of ten rows of the sample"),
            &[
                ("columns", super::float(columns as u64)),
                ("sparse", super::float(sparse as u64)),
            ],
        ),
        None => finding.because("no row of it was looked at"),
    };
    let counts: Vec<_> = table
        .columns
        .iter()
        .take(20)
        .map(|c| format!("count({0}) as {0}", quote(&c.name)))
        .collect();
    Some(
        finding
            .because("columns that are filled together describe one thing: it is several tables in one")
            .proof(format!("select count(*) as rows, {} from {}", counts.join(", "), table.from_sql()))
            .remedy("move each set of columns that are filled together to a table of its own with the same key")
            .cost(
                Effort::Restructuring,
                table.estimated_rows(),
                table.bytes,
                "rows are copied by a transform module; every UPDATE gets cheaper afterwards",
            )
            .harm(table.weight()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, table, titles};
    use super::*;

    #[test]
    fn many_empty_columns_are_reported_and_many_full_ones_are_not() {
        let names: Vec<String> = (0..40)
            .map(|i| {
                format!(
                    "c{} text",
                    char::from(97 + i % 26)
                        .to_string()
                        .repeat(1 + usize::from(i) / 26)
                )
            })
            .collect();
        let mut columns = vec!["id int8"];
        columns.extend(names.iter().map(String::as_str));
        let mut facts = facts(vec![table("wide", &columns), table("narrow", &["id int8"])]);
        fill(&mut facts, "wide", 50, |i, c| {
            if c == "id" || i % 10 == 0 {
                "x".to_owned()
            } else {
                String::new()
            }
        });
        assert_eq!(titles(&RULE, &facts), ["public.wide has 41 columns"]);
        fill(&mut facts, "wide", 50, |_, _| "x".to_owned());
        assert!(titles(&RULE, &facts).is_empty());
    }
}
