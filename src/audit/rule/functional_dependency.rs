//! Columns that depend on another column and not on the whole key: facts of something
//! else, repeated in every row that mentions it (second and third normal form).

mod confirm;
mod reduce;

use super::{Rule, float, grouped, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, KeyColumn};
use crate::audit::habit::table_name;
use crate::audit::dependency::names_a_code;
use crate::audit::question::Claim;
use crate::audit::reference::Reference;
use crate::audit::schema::{Column, Table};
use crate::audit::word::{singular, words};
use crate::pg::QualifiedName;

pub const RULE: Rule = Rule {
    id: "functional-dependency",
    category: Category::Structure,
    finds: "columns that repeat facts of something else in every row (2NF, 3NF)",
    check,
};

/// A determinant and what it decides, with where else that is written.
struct Group {
    table: Table,
    determinant: Vec<Column>,
    dependents: Vec<Dependent>,
    /// The table that the determinant refers to, and its key.
    home: Option<(QualifiedName, Vec<String>)>,
    /// The determinant is a part of the primary key.
    partial: bool,
    /// A free name for a table of its own.
    new_table: QualifiedName,
}

struct Dependent {
    column: Column,
    /// The column of [`Group::home`] that may hold the same.
    copy_of: Option<String>,
}

/// What the whole table says of a group.
struct Counted {
    rows: u64,
    groups: u64,
    /// Per dependent: values of the determinant with several values of it, and rows that
    /// differ from the home's column.
    drifted: Vec<u64>,
    differing: Vec<Option<u64>>,
}

impl Group {
    /// The determinant, for people.
    fn by(&self) -> String {
        let names: Vec<_> = self.determinant.iter().map(|c| plain(&c.name)).collect();
        listed(&names)
    }
}

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for table in facts.database.designed() {
        let Some(profile) = facts.profile(table) else {
            continue;
        };
        for (determinant, dependents) in reduce::reduce(facts, table, &profile.dependencies) {
            if let Some(group) = group(facts, table, &determinant, &dependents) {
                claims.push(Claim::Open(confirm::question(group)));
            }
        }
    }
    claims
}

fn group(
    facts: &Facts,
    table: &Table,
    determinant: &[String],
    dependents: &[String],
) -> Option<Group> {
    let columns: Option<Vec<Column>> = determinant
        .iter()
        .map(|c| table.column(c).cloned())
        .collect();
    let reference = facts.references_of(table).find(|r| {
        let same = r.columns.len() == determinant.len()
            && r.columns.iter().all(|c| determinant.contains(c));
        same && r.referenced != table.name
    });
    let home = reference.and_then(|r| facts.database.table(&r.referenced));
    let dependents = dependents
        .iter()
        .filter_map(|name| {
            let column = table.column(name)?.clone();
            let copy_of = home.and_then(|h| same_fact(h, &column));
            Some(Dependent { column, copy_of })
        })
        .collect();
    let in_key = table.primary_key.as_ref().is_some_and(|k| {
        k.columns.len() > determinant.len() && determinant.iter().all(|c| k.columns.contains(c))
    });
    // The key in the order of the determinant.
    let key_of = |r: &Reference| {
        determinant
            .iter()
            .filter_map(|c| r.columns.iter().position(|o| o == c))
            .map(|place| r.referenced_columns[place].clone())
            .collect()
    };
    Some(Group {
        table: table.clone(),
        determinant: columns?,
        dependents,
        home: reference.map(|r| (r.referenced.clone(), key_of(r))),
        partial: in_key,
        new_table: new_table(facts, table, determinant),
    })
}

/// `customer_name` is `name` of the customers, by its name and type.
fn same_fact(home: &Table, column: &Column) -> Option<String> {
    let wanted = words(&column.name);
    home.columns
        .iter()
        .filter(|c| {
            let name = words(&c.name);
            let alike = c.data_type.class == column.data_type.class;
            alike && c.readable && !name.is_empty() && wanted.ends_with(&name)
        })
        .max_by_key(|c| c.name.len())
        .map(|c| c.name.clone())
}

fn new_table(facts: &Facts, table: &Table, determinant: &[String]) -> QualifiedName {
    let stems: Vec<String> = determinant
        .iter()
        .map(|c| {
            let mut stem = words(c);
            let named = ["name", "title", "label"].contains(&stem.last().map_or("", |w| w));
            if stem.len() > 1 && (named || names_a_code(c)) {
                stem.pop();
            }
            stem.join("_")
        })
        .collect();
    let wanted = format!("{}s", singular(&stems.join("_")));
    table_name(&facts.database, &table.name.schema, &wanted)
}

fn key_column(column: &Column) -> KeyColumn {
    KeyColumn {
        name: column.name.clone(),
        type_sql: column.data_type.sql.clone(),
    }
}

/// The finding; `counted` is `None` where the whole table was not read in time.
fn finding(group: &Group, counted: Option<&Counted>) -> Finding {
    let name = &group.table.name;
    let names: Vec<String> = group
        .dependents
        .iter()
        .map(|d| d.column.name.clone())
        .collect();
    let by = group.by();
    let drifted = counted.map_or(0, |c| c.drifted.iter().copied().max().unwrap_or(0));
    let severity = if drifted > 0 {
        Severity::High
    } else {
        Severity::Medium
    };
    let verb = if names.len() == 1 {
        "depends"
    } else {
        "depend"
    };
    let mut finding = RULE
        .finding(
            severity,
            format!(
                "{name}: {} {verb} on {by} alone",
                listed(&names)
            ),
        );
    for column in &group.determinant {
        finding = finding.on(Object::column(name, &column.name));
    }
    for column in &names {
        finding = finding.on(Object::column(name, column));
    }
    finding = match counted {
        Some(c) => finding.confidence(Confidence::share(0.9)).measured(
            format!(
                "in {} rows {by} {} {} different values, and all rows of a value have the same {}",
                grouped(c.rows),
                if group.determinant.len() == 1 { "has" } else { "have" },
                grouped(c.groups),
                listed(&names)
            ),
            &[
                ("rows", float(c.rows)),
                ("values", float(c.groups)),
                ("copies", float(c.rows.saturating_sub(c.groups))),
            ],
        ),
        None => finding
            .confidence(Confidence::share(0.65))
            .because("it holds in the sample; the whole table was not read in time"),
    };
    if group.partial {
        finding = finding.because(format!(
            "{by} is only a part of the primary key (second normal form)"
        ));
    }
    if drifted > 0 {
        finding = finding.measured(
            format!(
                "except for {} values whose rows have drifted apart already",
                grouped(drifted)
            ),
            &[("drifted", float(drifted))],
        );
    }
    mend(finding, group, counted)
}

fn mend(mut finding: Finding, group: &Group, counted: Option<&Counted>) -> Finding {
    let name = &group.table.name;
    let (mut copies, mut fresh) = (Vec::new(), Vec::new());
    for (place, dependent) in group.dependents.iter().enumerate() {
        let differing = counted.and_then(|c| c.differing.get(place).copied().flatten());
        match (&dependent.copy_of, differing) {
            (Some(other), Some(0)) => copies.push((dependent, other.clone())),
            (Some(other), Some(n)) => {
                if let Some((home, _)) = &group.home {
                    finding = finding.measured(
                        format!(
                            "{} differs from {home}.{} in {} rows",
                            dependent.column.name,
                            plain(other),
                            grouped(n)
                        ),
                        &[("differing", float(n))],
                    );
                }
                fresh.push(dependent);
            }
            _ => fresh.push(dependent),
        }
    }
    let mut remedies = Vec::new();
    if let Some((home, key)) = group.home.as_ref().filter(|_| !copies.is_empty()) {
        let there: Vec<_> = copies
            .iter()
            .map(|(_, other)| format!("{home}.{}", plain(other)))
            .collect();
        finding = finding.because(format!("the same values are in {}", listed(&there)));
        let names: Vec<_> = copies.iter().map(|(d, _)| d.column.name.clone()).collect();
        remedies.push(format!(
            "read {} from {home} and drop the copies",
            listed(&names)
        ));
        let mut existing = key.clone();
        existing.extend(copies.iter().map(|(_, other)| other.clone()));
        finding = finding.fix(Fix::ExtractTable {
            table: name.clone(),
            determinant: group.determinant.iter().map(key_column).collect(),
            dependents: copies.iter().map(|(d, _)| key_column(&d.column)).collect(),
            target: home.clone(),
            existing: Some(existing),
        });
    }
    if !fresh.is_empty() {
        let names: Vec<_> = fresh.iter().map(|d| d.column.name.clone()).collect();
        remedies.push(match &group.home {
            Some((home, _)) => format!("move {} to {home}, once for each", listed(&names)),
            None => format!(
                "move {} to a table {} with the key {}, once for each",
                listed(&names),
                group.new_table,
                group.by()
            ),
        });
        finding = finding.fix(Fix::ExtractTable {
            table: name.clone(),
            determinant: group.determinant.iter().map(key_column).collect(),
            dependents: fresh.iter().map(|d| key_column(&d.column)).collect(),
            target: group.new_table.clone(),
            existing: None,
        });
    }
    let rows = counted.map_or(group.table.estimated_rows(), |c| c.rows);
    finding
        .proof(confirm::proof(group))
        .remedy(remedies.join("; "))
        .cost(
            Effort::Restructuring,
            rows,
            group.table.bytes,
            "the new rows are one for each value; statements that read the copies become joins",
        )
        .harm(group.table.weight() + 0.5 * group.dependents.len().min(6) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    fn employees() -> Facts {
        let columns = [
            "id int8",
            "department_code text",
            "department_name text",
            "site text",
            "name text",
        ];
        let mut facts = facts(vec![table("employees", &columns)]);
        fill(&mut facts, "employees", 400, |i, c| match c {
            "department_code" => format!("D{}", i % 40),
            "department_name" => format!("Department {}", i % 40),
            "site" => format!("Site {}", (i % 40) / 2),
            "name" => format!("Name {}", i * 7 % 399),
            _ => i.to_string(),
        });
        facts
    }

    #[test]
    fn the_code_decides_and_the_rest_depends() {
        let found = findings(&RULE, &employees(), &[400, 40, 40, 0, 0]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].title,
            "public.employees: department_name and site depend on department_code alone"
        );
        let Fix::ExtractTable {
            target,
            dependents,
            existing: None,
            ..
        } = &found[0].fixes[0]
        else {
            panic!()
        };
        assert_eq!((target.name.as_str(), dependents.len()), ("departments", 2));
    }

    #[test]
    fn what_the_whole_table_contradicts_is_not_reported() {
        let found = findings(&RULE, &employees(), &[400, 40, 40, 0, 9]);
        assert_eq!(found[0].objects.len(), 2, "site has gone");
        assert!(findings(&RULE, &employees(), &[400, 40, 40, 9, 9]).is_empty());
    }

    #[test]
    fn copies_of_the_table_that_is_referred_to_are_told() {
        let mut facts = facts(vec![
            table("customers", &["id int8", "name text"]),
            table(
                "orders",
                &[
                    "id int8",
                    "customer_id int8",
                    "customer_name text",
                    "unit_price numeric",
                    "shipping_city text",
                ],
            )
            .refers(&["customer_id"], "customers", &["id"]),
        ]);
        fill(&mut facts, "orders", 400, |i, c| match c {
            "customer_id" => (i % 50).to_string(),
            "customer_name" => format!("C{}", i % 50),
            "unit_price" => format!("{}.5", i % 50),
            "shipping_city" => format!("X{}", i % 25),
            _ => i.to_string(),
        });
        let found = findings(&RULE, &facts, &[400, 50, 50, 0, 0]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].title,
            "public.orders: customer_name depends on customer_id alone"
        );
        let Fix::ExtractTable {
            existing: Some(columns),
            ..
        } = &found[0].fixes[0]
        else {
            panic!()
        };
        assert_eq!(columns.join(","), "id,name");
    }

    #[test]
    fn a_table_without_repetition_has_none() {
        let mut facts = facts(vec![table(
            "users",
            &["id int8", "login text", "full_name text"],
        )]);
        fill(&mut facts, "users", 400, |i, _| i.to_string());
        assert!(titles(&RULE, &facts).is_empty());
    }
}
