//! `phone1, phone2, phone3`: a list that ends where the columns end.

use std::collections::BTreeMap;

use super::{Rule, listed};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity};
use crate::audit::fix::{Fix, KeyColumn, RepeatedColumn};
use crate::audit::habit::table_name;
use crate::audit::question::Claim;
use crate::audit::schema::{Column, Table};
use crate::audit::word::{singular, words};
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "repeating-group",
    category: Category::Structure,
    finds: "numbered columns that are a list",
    check,
};

/// Higher numbers are years, sizes and standards.
const HIGHEST: u32 = 20;
/// Samples with fewer rows do not say how the columns are filled.
const FEWEST_ROWS: usize = 20;
/// The lines of an address are one text on several lines; hashes and encodings have
/// their number in their name.
const NO_LISTS: &[&str] = &[
    "line",
    "address",
    "addr",
    "street",
    "md",
    "sha",
    "ipv",
    "utf",
    "base",
    "iso",
    "crc",
    "level",
    "quarter",
    "factor",
    "day",
    "month",
    "week",
    "hour",
    "percentile",
    "version",
];

struct Member<'a> {
    number: u32,
    column: &'a Column,
}

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .database
        .designed()
        .flat_map(|t| of_table(facts, t))
        .map(Claim::settled)
        .collect()
}

fn of_table(facts: &Facts, table: &Table) -> Vec<Finding> {
    // By the group's own word: `item1_name` and `item1_qty` are one group.
    let mut groups: BTreeMap<String, Vec<(String, Vec<Member<'_>>)>> = BTreeMap::new();
    for (stem, members) in numbered(table) {
        if !is_list(facts, table, &members) {
            continue;
        }
        let lead = stem.split('#').next().unwrap_or(&stem).to_owned();
        groups.entry(lead).or_default().push((stem, members));
    }
    groups
        .into_iter()
        .map(|(lead, group)| finding(facts, table, &lead, &group))
        .collect()
}

/// Columns whose names differ in one number only, by the rest of the name with `#` for
/// the number.
fn numbered(table: &Table) -> BTreeMap<String, Vec<Member<'_>>> {
    let mut stems: BTreeMap<String, Vec<Member<'_>>> = BTreeMap::new();
    for column in &table.columns {
        let words = words(&column.name);
        let mut numbers = words
            .iter()
            .enumerate()
            .filter_map(|(i, w)| Some((i, w.parse::<u32>().ok()?)));
        let (Some((place, number)), None) = (numbers.next(), numbers.next()) else {
            continue;
        };
        let named = place > 0
            && words
                .iter()
                .any(|w| w.chars().count() > 1 && w.parse::<u32>().is_err())
            && !words.iter().any(|w| NO_LISTS.contains(&w.as_str()));
        // `x1`, `q4`: a letter and a number is a place in a fixed frame.
        let framed = words[place.saturating_sub(1)].chars().count() < 2;
        if named && !framed && number <= HIGHEST {
            let mut stem = words.clone();
            stem[place] = "#".to_owned();
            stems
                .entry(stem.join("_"))
                .or_default()
                .push(Member { number, column });
        }
    }
    for members in stems.values_mut() {
        members.sort_by_key(|m| m.number);
    }
    stems.retain(|_, m| m.len() > 1);
    stems
}

fn is_list(facts: &Facts, table: &Table, members: &[Member<'_>]) -> bool {
    let first = members[0].number;
    let consecutive = first <= 1 && members.iter().zip(first..).all(|(m, n)| m.number == n);
    let class = members[0].column.data_type.class;
    let alike = members.iter().all(|m| m.column.data_type.class == class);
    let generated = members.iter().any(|m| m.column.generated);
    if !consecutive || !alike || generated {
        return false;
    }
    // The two ends of an edge, home and away: each has a role of its own.
    let refer = members.iter().all(|m| facts.refers(table, &m.column.name));
    if refer && members.len() == 2 {
        return false;
    }
    let Some(profile) = facts.profile(table).filter(|p| p.rows >= FEWEST_ROWS) else {
        return members.len() > 2;
    };
    // A list is filled from the front; a tuple is filled or not.
    let empty = |m: &Member<'_>| {
        profile.column(&m.column.name).map_or(0.0, |c| {
            // Empty texts are values that are not there, too.
            #[allow(clippy::cast_precision_loss, reason = "a share of a sample")]
            let filled = c.present as f64 / profile.rows.max(1) as f64;
            if c.values {
                1.0 - filled
            } else {
                c.null_share(profile.rows)
            }
        })
    };
    let shares: Vec<f64> = members.iter().map(empty).collect();
    let (front, back) = (shares[0], shares[shares.len() - 1]);
    back > front + 0.05 && shares.windows(2).all(|w| w[1] >= w[0] - 0.05)
}

fn finding(
    facts: &Facts,
    table: &Table,
    lead: &str,
    group: &[(String, Vec<Member<'_>>)],
) -> Finding {
    let name = &table.name;
    let all: Vec<&Column> = group
        .iter()
        .flat_map(|(_, m)| m.iter().map(|m| m.column))
        .collect();
    let names: Vec<String> = all.iter().map(|c| c.name.clone()).collect();
    let last = group[0].1[group[0].1.len() - 1].column;
    let profile = facts.profile(table);
    let looked_at = profile.is_some_and(|p| p.rows >= FEWEST_ROWS);
    let parent: Vec<_> = words(&name.name).iter().map(|w| singular(w)).collect();
    let wanted = format!("{}_{}s", parent.join("_"), lead.trim_matches('_'));
    let child = table_name(&facts.database, &name.schema, &wanted);
    let filled: Vec<_> = names
        .iter()
        .map(|n| format!("count({0}) as {0}", quote(n)))
        .collect();
    let mut finding = RULE
        .finding(
            Severity::Medium,
            format!("{name} has a list in the columns {}", listed(&names)),
        )
        .confidence(Confidence::share(if looked_at { 0.9 } else { 0.6 }));
    for column in &all {
        finding = finding.on(Object::column(name, &column.name));
    }
    finding = if looked_at {
        finding.because("they are filled from the front: the later, the emptier")
    } else {
        let why = match profile {
            Some(_) => "the table has too few rows to say more",
            None => "its rows were not looked at",
        };
        finding.because(format!(
            "their names are numbered and their types are the same; {why}"
        ))
    };
    finding = finding
        .because("one more needs another column, and a search has to look into each of them")
        .proof(format!(
            "select count(*) as rows, {} from {}",
            filled.join(", "),
            table.from_sql()
        ))
        .remedy(format!(
            "move them to a table {child} with one row for each"
        ))
        .cost(
            Effort::Restructuring,
            table.estimated_rows(),
            table.bytes,
            format!(
                "rows are copied by a transform module; the application stops writing {}",
                last.name
            ),
        )
        .harm(table.weight());
    let key: Vec<KeyColumn> = table
        .key_columns()
        .iter()
        .map(|c| KeyColumn {
            name: c.name.clone(),
            type_sql: c.data_type.sql.clone(),
        })
        .collect();
    if key.is_empty() || profile.is_none() {
        return finding;
    }
    let members = group
        .iter()
        .map(|(stem, members)| RepeatedColumn {
            name: stem
                .replace("_#", "")
                .replace('#', "")
                .trim_matches('_')
                .to_owned(),
            type_sql: members[0].column.data_type.sql.clone(),
            columns: members
                .iter()
                .map(|m| (m.number, m.column.name.clone()))
                .collect(),
        })
        .collect();
    finding.fix(Fix::SplitRepeatingGroup {
        table: name.clone(),
        key,
        child,
        members,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    #[test]
    fn a_list_is_filled_from_the_front() {
        let mut facts = facts(vec![table(
            "people",
            &["id int8", "phone1 text", "phone2 text", "phone3 text"],
        )]);
        fill(&mut facts, "people", 60, |i, c| match c {
            "phone2" if i % 2 == 0 => String::new(),
            "phone3" if i % 5 != 0 => String::new(),
            _ => i.to_string(),
        });
        let found = findings(&RULE, &facts, &[]);
        assert_eq!(
            found[0].title,
            "public.people has a list in the columns phone1, phone2 and phone3"
        );
        let Fix::SplitRepeatingGroup { child, members, .. } = &found[0].fixes[0] else {
            panic!()
        };
        assert_eq!(
            (child.name.as_str(), members[0].name.as_str()),
            ("person_phones", "phone")
        );
    }

    #[test]
    fn columns_that_are_filled_together_are_one_group() {
        let columns = [
            "id int8",
            "item1_name text",
            "item1_qty int4",
            "item2_name text",
            "item2_qty int4",
            "item3_name text",
            "item3_qty int4",
        ];
        let found = findings(&RULE, &facts(vec![table("carts", &columns)]), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].objects.len(), 6);
    }

    #[test]
    fn numbers_in_names_that_are_no_lists() {
        let mut facts = facts(vec![
            table(
                "t",
                &[
                    "id int8",
                    "address_line1 text",
                    "address_line2 text",
                    "x1 int4",
                    "x2 int4",
                    "md5 text",
                    "sha1 text",
                    "ipv4 text",
                    "ipv6 text",
                    "score_2023 int4",
                    "score_2024 int4",
                    "team0 text",
                    "team1 text",
                ],
            ),
            table("links", &["id int8", "entity0 int8", "entity1 int8"])
                .refers(&["entity0"], "t", &["id"])
                .refers(&["entity1"], "t", &["id"]),
        ]);
        fill(&mut facts, "t", 60, |i, c| {
            if c == "address_line2" {
                String::new()
            } else {
                i.to_string()
            }
        });
        assert!(titles(&RULE, &facts).is_empty());
    }
}
