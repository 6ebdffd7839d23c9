//! The whole table's word on a dependency, in one scan for all dependents of a
//! determinant.

use super::{Counted, Group};
use crate::audit::finding::Finding;
use crate::audit::question::{Answer, Question, count};
use crate::pg::quote;

pub fn question(group: Group) -> Question {
    Question {
        about: format!("{}.{}", group.table.name, group.by()),
        sql: sql(&group),
        decide: Box::new(move |answer| decide(group, answer)),
    }
}

fn sql(group: &Group) -> String {
    let (x, known) = determinant(group);
    let from = group.table.from_sql();
    let (mut inner, mut outer) = (String::new(), String::new());
    for (i, dependent) in group.dependents.iter().enumerate() {
        // Texts under one collation: not every type has a least value.
        let y = format!("{}::text collate \"C\"", quote(&dependent.column.name));
        inner.push_str(&format!(
            ", (min({y}) is distinct from max({y}) or count({y}) not in (0, count(*))) as bad{i}"
        ));
        outer.push_str(&format!(", count(*) filter (where bad{i})::bigint"));
    }
    let mut sql = format!(
        "select sum(n)::bigint, count(*)::bigint, count(*) filter (where n > 1)::bigint{outer}"
    );
    for dependent in &group.dependents {
        if let (Some(other), Some((home, key))) = (&dependent.copy_of, &group.home) {
            sql.push_str(&format!(
                ", (select count(*) from {from} t join {} h on {} \
                 where t.{}::text is distinct from h.{}::text)::bigint",
                home.sql(),
                joined(group, key),
                quote(&dependent.column.name),
                quote(other),
            ));
        }
    }
    format!(
        "{sql} from (select count(*) as n{inner} from {from} where {known} group by {x}) g"
    )
}

/// The determinant's columns, and that all of them are there.
fn determinant(group: &Group) -> (String, String) {
    let names: Vec<_> = group.determinant.iter().map(|c| quote(&c.name)).collect();
    let known: Vec<_> = names.iter().map(|n| format!("{n} is not null")).collect();
    (names.join(", "), known.join(" and "))
}

fn joined(group: &Group, key: &[String]) -> String {
    let equal: Vec<_> = key
        .iter()
        .zip(&group.determinant)
        .map(|(k, c)| format!("h.{} = t.{}", quote(k), quote(&c.name)))
        .collect();
    equal.join(" and ")
}

/// Values of the determinant with several values of a dependent, for people.
pub fn proof(group: &Group) -> String {
    let (x, known) = determinant(group);
    let counts: Vec<_> = group
        .dependents
        .iter()
        .map(|d| {
            let y = quote(&d.column.name);
            format!("max(d_{0}) as most_{0}", plain_label(&y))
        })
        .collect();
    let inner: Vec<_> = group
        .dependents
        .iter()
        .map(|d| {
            let y = quote(&d.column.name);
            format!("count(distinct {y}) as d_{}", plain_label(&y))
        })
        .collect();
    format!(
        "select sum(n) as rows, count(*) as values, {} from (select count(*) as n, {} from {} where {known} group by {x}) g",
        counts.join(", "),
        inner.join(", "),
        group.table.from_sql(),
    )
}

/// A label made of a quoted name's letters and digits.
fn plain_label(quoted: &str) -> String {
    quoted
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .flat_map(char::to_lowercase)
        .collect()
}

fn decide(mut group: Group, answer: Option<&Answer>) -> Option<Finding> {
    let Some(answer) = answer else {
        return Some(super::finding(&group, None));
    };
    let repeated = count(answer, 2);
    let mut counted = Counted {
        rows: count(answer, 0),
        groups: count(answer, 1),
        drifted: Vec::new(),
        differing: Vec::new(),
    };
    let dependents = std::mem::take(&mut group.dependents);
    let mut next_copy = 3 + dependents.len();
    for (i, dependent) in dependents.into_iter().enumerate() {
        let drifted = count(answer, 3 + i);
        let differing = (dependent.copy_of.is_some() && group.home.is_some()).then(|| {
            next_copy += 1;
            count(answer, next_copy - 1)
        });
        // One in a hundred is drift; more, and it is no dependency.
        if drifted * 100 <= repeated {
            counted.drifted.push(drifted);
            counted.differing.push(differing);
            group.dependents.push(dependent);
        }
    }
    (!group.dependents.is_empty() && repeated > 0).then(|| super::finding(&group, Some(&counted)))
}
