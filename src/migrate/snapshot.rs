//! A schema as the catalog has it: every object with its properties, so that two can be
//! compared and the difference told in words.

use std::collections::BTreeMap;
use std::fmt;

use tokio_postgres::Client;

use crate::error::{Context, Result};

const PARTS: &[&str] = &[
    include_str!("snapshot/relations.sql"),
    include_str!("snapshot/columns.sql"),
    include_str!("snapshot/constraints.sql"),
    include_str!("snapshot/indexes.sql"),
    include_str!("snapshot/code.sql"),
    include_str!("snapshot/types.sql"),
    include_str!("snapshot/rest.sql"),
];

/// The place of a column among its table's.
const PLACE: &str = "place";

/// An object: its kind and its quoted name.
pub type Object = (String, String);

/// Everything in a database that users have made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    objects: BTreeMap<Object, BTreeMap<String, String>>,
}

/// One thing in which two schemas differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: String,
    pub name: String,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is in the expected schema only.
    Missing,
    /// It is in the other only.
    Unexpected,
    /// A property differs: expected, found.
    Property {
        property: String,
        expected: Option<String>,
        found: Option<String>,
    },
}

impl Difference {
    /// Only the order of a table's columns is another.
    #[must_use]
    pub fn is_order(&self) -> bool {
        self.kind == "column"
            && matches!(&self.change, Change::Property { property, .. } if property == PLACE)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (&self.kind, &self.name);
        match &self.change {
            Change::Missing => write!(f, "{kind} {name} is missing"),
            Change::Unexpected => write!(f, "{kind} {name} is left over"),
            Change::Property {
                property,
                expected,
                found,
            } => {
                let shown = |value: &Option<String>| match value {
                    Some(value) if value.contains('\n') => "…".to_owned(),
                    Some(value) => value.trim_start_matches('0').to_owned(),
                    None => "nothing".to_owned(),
                };
                write!(
                    f,
                    "{kind} {name}: {property} is {}, should be {}",
                    shown(found),
                    shown(expected)
                )?;
                if let (Some(expected), Some(found)) = (expected, found)
                    && (expected.contains('\n') || found.contains('\n'))
                {
                    let diff = super::diff::lines(expected, found);
                    for line in diff.lines() {
                        write!(f, "\n    {line}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Snapshot {
    /// Reads the catalog of a database. What belongs to the system, to extensions and to
    /// crossfade itself is left out.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn take(client: &mut Client) -> Result<Self> {
        let tx = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        // Names in definitions are qualified then, whatever the session's path is.
        tx.batch_execute("set local search_path = pg_catalog")
            .await?;
        let mut objects: BTreeMap<Object, BTreeMap<String, String>> = BTreeMap::new();
        for part in PARTS {
            for row in tx
                .query(&filled(part), &[])
                .await
                .context("reading the catalog")?
            {
                let object = (row.get(0), row.get(1));
                let value: Option<String> = row.get(3);
                objects
                    .entry(object)
                    .or_default()
                    .insert(row.get(2), value.unwrap_or_default());
            }
        }
        tx.commit().await?;
        Ok(Self { objects })
    }

    /// Leaves out what differs from server to server: owners and privileges.
    #[must_use]
    pub fn without_roles(mut self) -> Self {
        for properties in self.objects.values_mut() {
            properties.retain(|name, _| name != "owner" && name != "privileges");
        }
        self.objects
            .retain(|(kind, _), _| kind != "default privileges");
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// How `found` differs from this one, which is expected. Parts of an object that is
    /// missing as a whole are not told.
    #[must_use]
    pub fn compare(&self, found: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let differ = |(kind, name): &Object, change: Change| Difference {
            kind: kind.clone(),
            name: name.clone(),
            change,
        };
        for (object, expected) in &self.objects {
            let Some(have) = found.objects.get(object) else {
                differences.push(differ(object, Change::Missing));
                continue;
            };
            let properties = expected
                .keys()
                .chain(have.keys().filter(|k| !expected.contains_key(*k)));
            for property in properties {
                let (expected, found) = (expected.get(property), have.get(property));
                if expected != found {
                    differences.push(differ(
                        object,
                        Change::Property {
                            property: property.clone(),
                            expected: expected.cloned(),
                            found: found.cloned(),
                        },
                    ));
                }
            }
        }
        for object in found.objects.keys() {
            if !self.objects.contains_key(object) {
                differences.push(differ(object, Change::Unexpected));
            }
        }
        summed(placed(differences))
    }
}

/// A column that is missing or too much moves the others: their places are no news then.
fn placed(mut differences: Vec<Difference>) -> Vec<Difference> {
    let table = |name: &str| name.rsplit_once('.').map(|(table, _)| table.to_owned());
    let changed: Vec<Option<String>> = differences
        .iter()
        .filter(|d| d.kind == "column" && !matches!(d.change, Change::Property { .. }))
        .map(|d| table(&d.name))
        .collect();
    differences.retain(|d| !d.is_order() || !changed.contains(&table(&d.name)));
    differences
}

/// Without the parts of a table that is there on one side only.
fn summed(mut differences: Vec<Difference>) -> Vec<Difference> {
    let whole: Vec<(String, Change)> = differences
        .iter()
        .filter(|d| {
            !matches!(d.change, Change::Property { .. })
                && matches!(
                    d.kind.as_str(),
                    "table" | "view" | "materialized view" | "foreign table" | "type" | "domain"
                )
        })
        .map(|d| (format!("{}.", d.name), d.change.clone()))
        .collect();
    differences.retain(|d| {
        !whole
            .iter()
            .any(|(prefix, change)| d.name.starts_with(prefix) && d.change == *change)
    });
    differences
}

/// Puts in the conditions that every part needs.
fn filled(sql: &str) -> String {
    let mut text = sql.to_owned();
    for alias in ["n", "tn"] {
        text = text.replace(
            &format!("OWN({alias})"),
            &format!(
                "({alias}.nspname !~ '^pg_' and {alias}.nspname not in ('information_schema', 'crossfade'))"
            ),
        );
    }
    let mut filled = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("EXTENSION(") {
        let arguments = &rest[at + "EXTENSION(".len()..];
        let (inside, after) = balanced(arguments);
        let (class, object) = inside.split_once(',').unwrap_or((inside, "0"));
        filled.push_str(&rest[..at]);
        filled.push_str(&format!(
            "exists (select from pg_catalog.pg_depend its where its.classid = {class}::regclass \
             and its.objid = {object} and its.deptype = 'e')"
        ));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// What stands before the parenthesis that closes, and what comes after it.
fn balanced(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(objects: &[(&str, &str, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (kind, name, property, value) in objects {
            snapshot
                .objects
                .entry(((*kind).to_owned(), (*name).to_owned()))
                .or_default()
                .insert((*property).to_owned(), (*value).to_owned());
        }
        snapshot
    }

    #[test]
    fn differences_are_told_in_words_and_order_is_told_apart() {
        let expected = snapshot(&[
            ("column", "s.t.a", "place", "0001"),
            ("column", "s.t.a", "type", "integer"),
            ("table", "s.gone", "exists", "yes"),
            ("column", "s.gone.x", "type", "integer"),
        ]);
        let found = snapshot(&[
            ("column", "s.t.a", "place", "0002"),
            ("column", "s.t.a", "type", "bigint"),
            ("index", "s.i", "definition", "…"),
        ]);
        let differences = expected.compare(&found);
        let words: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "column s.t.a: place is 2, should be 1",
                "column s.t.a: type is bigint, should be integer",
                "table s.gone is missing",
                "index s.i is left over",
            ]
        );
        assert!(differences[0].is_order() && !differences[1].is_order());
        assert_eq!(expected.compare(&expected), []);
    }
}
