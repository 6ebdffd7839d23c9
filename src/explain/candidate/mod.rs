//! Indexes that could serve a query.

mod enumerate;
pub mod width;

use std::fmt::Write as _;

use serde::Serialize;

use super::catalog::{Index, Table};
use crate::pg::{QualifiedName, quote};

pub use enumerate::enumerate;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Btree,
    Gin,
    Brin,
}

impl Method {
    fn sql(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Gin => "gin",
            Self::Brin => "brin",
        }
    }
}

/// One key of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// A column's name, quoted where need be, or an expression in parentheses.
    pub sql: String,
    pub columns: Vec<String>,
    pub descending: bool,
    /// Where it is not the direction's own default.
    pub nulls_first: Option<bool>,
    pub opclass: Option<&'static str>,
}

impl Key {
    fn text(&self) -> String {
        let mut text = self.sql.clone();
        if let Some(opclass) = self.opclass {
            let _ = write!(text, " {opclass}");
        }
        if self.descending {
            text.push_str(" DESC");
        }
        match self.nulls_first {
            Some(true) if !self.descending => text.push_str(" NULLS FIRST"),
            Some(false) if self.descending => text.push_str(" NULLS LAST"),
            _ => {}
        }
        text
    }
}

/// An index that does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    #[serde(serialize_with = "name_text")]
    pub table: QualifiedName,
    pub method: Method,
    pub keys: Vec<Key>,
    /// Columns that are carried along, so that the table need not be visited.
    pub include: Vec<String>,
    /// The condition of a partial index.
    pub predicate: Option<String>,
    /// How promising it looked before anything was asked: higher first.
    #[serde(skip)]
    pub promise: i32,
    /// Bytes of its widest row before compression; 0 where nobody looked, because its
    /// types have an end.
    #[serde(skip)]
    pub widest: i32,
}

fn name_text<S: serde::Serializer>(name: &QualifiedName, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&name.to_string())
}

impl Candidate {
    /// `ON table USING method (keys) INCLUDE (…) WHERE …`.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut text = format!("ON {} ", self.table.sql());
        text.push_str(&self.columns_text());
        text
    }

    /// What follows the table's name.
    #[must_use]
    pub fn columns_text(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(Key::text).collect();
        let mut text = format!("USING {} ({})", self.method.sql(), keys.join(", "));
        if !self.include.is_empty() {
            let include: Vec<_> = self
                .include
                .iter()
                .map(|c| super::catalog::key_of(c))
                .collect();
            let _ = write!(text, " INCLUDE ({})", include.join(", "));
        }
        if let Some(predicate) = &self.predicate {
            let _ = write!(text, " WHERE {predicate}");
        }
        text
    }

    /// For people: `shop.orders (status, placed_at DESC)`.
    #[must_use]
    pub fn label(&self) -> String {
        let text = self.columns_text();
        let text = text.strip_prefix("USING btree ").unwrap_or(&text);
        format!("{} {text}", self.table)
    }

    #[must_use]
    pub fn create(&self, name: &str) -> String {
        format!("CREATE INDEX {} {}", quote(name), self.shape())
    }

    /// A name that says what it is, as PostgreSQL would choose.
    #[must_use]
    pub fn name(&self) -> String {
        let (stem, suffix) = self.stem();
        named(&stem, suffix)
    }

    /// What its name begins and ends with, see [`named`].
    #[must_use]
    pub fn stem(&self) -> (String, &'static str) {
        let mut parts = vec![self.table.name.clone()];
        for key in &self.keys {
            parts.push(if key.columns.len() == 1 {
                key.columns[0].clone()
            } else {
                "expr".to_owned()
            });
        }
        let stem = parts.join("_").replace('"', "");
        let suffix = match (self.method, &self.predicate) {
            (Method::Gin, _) => "_gin_idx",
            (Method::Brin, _) => "_brin_idx",
            (_, Some(_)) => "_partial_idx",
            _ if !self.include.is_empty() => "_covering_idx",
            _ => "_idx",
        };
        (stem, suffix)
    }

    /// Whether an index that exists already does the same, or more.
    #[must_use]
    pub fn exists_in(&self, table: &Table) -> bool {
        table.indexes.iter().any(|index| {
            let keys: Vec<_> = self.keys.iter().map(Key::text).collect();
            let carried = |c: &String| {
                let c = super::catalog::key_of(c);
                index.include.contains(&c) || index.keys.contains(&c)
            };
            index.method == self.method.sql()
                && (index.predicate.is_none() || index.predicate == self.predicate)
                && index.keys.starts_with(&keys)
                && self.include.iter().all(carried)
        })
    }

    /// Indexes of the table that this one makes superfluous: their keys are its first
    /// ones, and they guard nothing.
    #[must_use]
    pub fn replaces<'a>(&self, table: &'a Table) -> Vec<&'a Index> {
        let keys: Vec<_> = self.keys.iter().map(Key::text).collect();
        table
            .indexes
            .iter()
            .filter(|index| {
                !index.unique
                    && !index.constraint
                    && index.method == self.method.sql()
                    && self.method == Method::Btree
                    && keys.starts_with(&index.keys)
                    && index.include.iter().all(|c| {
                        self.include
                            .iter()
                            .any(|own| super::catalog::key_of(own) == *c)
                            || keys.contains(c)
                    })
                    && (self.predicate.is_none() || self.predicate == index.predicate)
            })
            .collect()
    }

    /// Smaller is better where two serve equally well.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.keys.len() * 2
            + self.include.len() * 3
            + usize::from(self.predicate.is_some()) * 3
            + usize::from(self.method == Method::Gin) * 4
            + usize::from(self.is_wide()) * 4
    }
}

/// A name of at most 63 bytes, which is what the server keeps of one: the stem is cut.
#[must_use]
pub fn named(stem: &str, suffix: &str) -> String {
    let mut stem = stem.to_owned();
    while stem.len() + suffix.len() > 63 {
        stem.pop();
    }
    format!("{stem}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sql: &str) -> Key {
        Key {
            sql: sql.to_owned(),
            columns: vec![sql.trim_matches('"').to_owned()],
            descending: false,
            nulls_first: None,
            opclass: None,
        }
    }

    fn candidate() -> Candidate {
        Candidate {
            table: QualifiedName::new("Shop", "Order \"Items\" ÄÖ"),
            method: Method::Btree,
            keys: vec![
                key("status"),
                Key {
                    descending: true,
                    ..key("\"Größe\"")
                },
            ],
            include: vec!["total".to_owned()],
            predicate: Some("(status = 'new'::text)".to_owned()),
            promise: 0,
            widest: 0,
        }
    }

    #[test]
    fn names_are_quoted_and_the_parts_in_their_order() {
        assert_eq!(
            candidate().create("i\"x"),
            "CREATE INDEX \"i\"\"x\" ON \"Shop\".\"Order \"\"Items\"\" ÄÖ\" USING btree (status, \"Größe\" DESC) \
             INCLUDE (total) WHERE (status = 'new'::text)"
        );
        let mut long = candidate();
        long.table.name = "ä".repeat(60);
        let (stem, suffix) = long.stem();
        for suffix in [suffix.to_owned(), format!("{suffix}17")] {
            let name = named(&stem, &suffix);
            assert!(
                name.len() <= 63 && name.len() >= 60 && name.ends_with(&suffix),
                "{name}"
            );
        }
    }

    #[test]
    fn an_index_whose_keys_come_first_is_superfluous_unless_it_guards_something() {
        let index = |name: &str, keys: &[&str], unique: bool| Index {
            name: name.to_owned(),
            keys: keys.iter().map(|&k| k.to_owned()).collect(),
            include: Vec::new(),
            unique,
            constraint: false,
            predicate: None,
            method: "btree".to_owned(),
            definition: String::new(),
            bytes: 0.0,
            scans: 0,
        };
        let table = Table {
            oid: 1,
            name: QualifiedName::new("s", "t"),
            kind: 'r',
            root: None,
            rows: 1.0,
            bytes: 1.0,
            columns: Vec::new(),
            indexes: vec![
                index("same_begin", &["status"], false),
                index("unique", &["status"], true),
                index("other", &["total"], false),
                index("longer", &["status", "\"Größe\" DESC", "x"], false),
            ],
            analyzed: None,
            changed: 0.0,
            hot: None,
            writes: 0.0,
        };
        let mut wanted = Candidate {
            predicate: None,
            include: Vec::new(),
            ..candidate()
        };
        let names: Vec<_> = wanted
            .replaces(&table)
            .iter()
            .map(|i| i.name.as_str())
            .collect();
        assert_eq!(names, ["same_begin"]);
        assert!(wanted.exists_in(&table));
        wanted.include.push("total".to_owned());
        assert!(!wanted.exists_in(&table));
    }
}
