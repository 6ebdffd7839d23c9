//! Names in a plan's SQL: quoted where SQL needs it, new ones free and short enough.

use std::collections::BTreeSet;

use super::super::belongings::Belongings;
use super::super::schema::{Database, KEPT};
use crate::pg::ident::literal;
use crate::pg::{QualifiedName, quote};

/// `NAMEDATALEN - 1`.
const LONGEST: usize = 63;

/// Words that cannot stand for a name, or not everywhere, in the versions 14 to 18.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between \
    bigint binary bit boolean both case cast char character check coalesce collate collation column \
    concurrently constraint create cross current_catalog current_date current_role current_schema \
    current_time current_timestamp current_user dec decimal default deferrable desc distinct do else \
    end except exists extract false fetch float for foreign freeze from full grant greatest group \
    grouping having ilike in initially inner inout int integer intersect interval into is isnull join \
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar \
    json_serialize json_table json_value lateral leading least left like limit localtime \
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric \
    offset on only or order out outer overlaps overlay placing position precision primary real \
    references returning right row select session_user setof similar smallint some substring \
    symmetric system_user table tablesample then time timestamp to trailing treat trim true union \
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat \
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// A name as SQL that people review: in quotes only where it must be.
#[must_use]
pub fn ident(name: &str) -> String {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && !KEYWORDS.split_whitespace().any(|word| word == name);
    if plain { name.to_owned() } else { quote(name) }
}

/// `schema.table`.
#[must_use]
pub fn table(name: &QualifiedName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// Marks a table that a plan keeps for its way down.
#[must_use]
pub fn kept(name: &QualifiedName) -> String {
    format!("comment on table {} is {}", table(name), literal(KEPT))
}

/// `a, b`.
#[must_use]
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<_> = names.iter().map(|n| ident(n.as_ref())).collect();
    names.join(", ")
}

/// `orders` → `order`; what is no English plural stays.
#[must_use]
pub fn singular(name: &str) -> String {
    for (end, instead) in [
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
    ] {
        if let Some(stem) = name.strip_suffix(end)
            && !stem.is_empty()
        {
            return format!("{stem}{instead}");
        }
    }
    match name.strip_suffix('s') {
        Some(stem) if stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => name.to_owned(),
    }
}

/// A part of a file's name.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('_') {
            slug.push('_');
        }
    }
    let slug: String = slug.trim_matches('_').chars().take(50).collect();
    if slug.is_empty() {
        "unnamed".to_owned()
    } else {
        slug
    }
}

/// Cuts at a character, so that the name has at most `longest` bytes.
fn cut(name: &str, longest: usize) -> &str {
    let mut end = name.len().min(longest);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The names that are taken, and those that the plan takes.
#[derive(Debug, Default)]
pub struct Names {
    /// Tables, views, indexes and sequences share one space a schema.
    relations: BTreeSet<(String, String)>,
    constraints: BTreeSet<(QualifiedName, String)>,
    columns: BTreeSet<(QualifiedName, String)>,
    functions: BTreeSet<(String, String)>,
    triggers: BTreeSet<(QualifiedName, String)>,
    statistics: BTreeSet<(String, String)>,
}

impl Names {
    #[must_use]
    pub fn of(database: &Database) -> Self {
        let mut names = Self::default();
        for table in &database.tables {
            let own = &table.name;
            names
                .relations
                .insert((own.schema.clone(), own.name.clone()));
            for index in &table.indexes {
                names
                    .relations
                    .insert((index.name.schema.clone(), index.name.name.clone()));
            }
            for constraint in table
                .foreign_keys
                .iter()
                .map(|f| &f.name)
                .chain(table.checks.iter().map(|c| &c.name))
                .chain(table.keys().map(|k| &k.name))
            {
                names.constraints.insert((own.clone(), constraint.clone()));
            }
            for statistics in &table.belongings.statistics {
                let name = &statistics.name;
                names
                    .statistics
                    .insert((name.schema.clone(), name.name.clone()));
            }
            for trigger in &table.belongings.triggers {
                let name = trigger.name.clone();
                names.triggers.insert((own.clone(), name));
            }
            for column in &table.columns {
                names.columns.insert((own.clone(), column.name.clone()));
            }
        }
        for sequence in &database.sequences {
            names
                .relations
                .insert((sequence.name.schema.clone(), sequence.name.name.clone()));
        }
        names
    }

    /// `stem` + `end` if it is free, else with a number; never too long.
    fn free(stem: &str, end: &str, taken: impl Fn(&str) -> bool) -> String {
        for number in 0_u32.. {
            let end = match number {
                0 => end.to_owned(),
                n => format!("{end}{n}"),
            };
            let name = format!("{}{end}", cut(stem, LONGEST.saturating_sub(end.len())));
            if !taken(&name) {
                return name;
            }
        }
        stem.to_owned()
    }

    pub fn index(&mut self, table: &QualifiedName, columns: &[String], end: &str) -> String {
        let stem = format!("{}_{}", table.name, columns.join("_"));
        let schema = table.schema.clone();
        let name = Self::free(&stem, end, |n| {
            self.relations.contains(&(schema.clone(), n.to_owned()))
        });
        self.relations.insert((schema, name.clone()));
        name
    }

    /// The name of a new table: the one wished for, where it is free.
    pub fn relation(&mut self, wish: &QualifiedName) -> QualifiedName {
        let schema = wish.schema.clone();
        let name = Self::free(&wish.name, "", |n| {
            self.relations.contains(&(schema.clone(), n.to_owned()))
        });
        self.relations.insert((schema.clone(), name.clone()));
        QualifiedName::new(schema, name)
    }

    pub fn constraint(&mut self, table: &QualifiedName, columns: &[String], end: &str) -> String {
        let stem = format!("{}_{}", table.name, columns.join("_"));
        let name = Self::free(&stem, end, |n| {
            self.constraints.contains(&(table.clone(), n.to_owned()))
        });
        self.constraints.insert((table.clone(), name.clone()));
        name
    }

    pub fn column(&mut self, table: &QualifiedName, stem: &str, end: &str) -> String {
        let name = Self::free(stem, end, |n| {
            self.columns.contains(&(table.clone(), n.to_owned()))
        });
        self.columns.insert((table.clone(), name.clone()));
        name
    }

    /// A statistics object's, in the schema of the one that it follows.
    pub fn statistics(&mut self, old: &QualifiedName, stem: &str) -> QualifiedName {
        let schema = old.schema.clone();
        let name = Self::free(stem, "_stat", |n| {
            self.statistics.contains(&(schema.clone(), n.to_owned()))
        });
        self.statistics.insert((schema.clone(), name.clone()));
        QualifiedName::new(schema, name)
    }

    /// A trigger of the plan's own. Triggers fire in the order of their names: it comes behind
    /// every other, and sees the row as those leave it.
    pub fn trigger(
        &mut self,
        (table, belongings): (&QualifiedName, &Belongings),
        what: &str,
        end: &str,
    ) -> String {
        let own = belongings.triggers.iter().filter(|t| t.before);
        let last = own.map(|t| t.name.as_str()).max().unwrap_or_default();
        let stem = [
            format!("zzz_{}_{what}", table.name),
            // What begins with another name comes behind it, if all of it fits.
            format!("{}_{what}", cut(last, LONGEST - 20)),
        ]
        .into_iter()
        .find(|stem| stem.as_str() > last)
        .unwrap_or_else(|| format!("\u{10fffd}_{what}"));
        let name = Self::free(&stem, end, |n| {
            self.triggers.contains(&(table.clone(), n.to_owned()))
        });
        self.triggers.insert((table.clone(), name.clone()));
        name
    }

    /// A function of the plan's own.
    pub fn function(&mut self, table: &QualifiedName, what: &str, end: &str) -> QualifiedName {
        let schema = table.schema.clone();
        let name = Self::free(&format!("{}_{what}", table.name), end, |n| {
            self.functions.contains(&(schema.clone(), n.to_owned()))
        });
        self.functions.insert((schema.clone(), name.clone()));
        QualifiedName::new(schema, name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::belongings::Trigger;
    use super::*;

    #[test]
    fn names_are_quoted_only_where_sql_needs_it() {
        for (name, sql) in [
            ("orders", "orders"),
            ("order", "\"order\""),
            (
                "Order \"Items\" \u{c4}\u{d6}",
                "\"Order \"\"Items\"\" \u{c4}\u{d6}\"",
            ),
            ("1st", "\"1st\""),
            ("user", "\"user\""),
            ("", "\"\""),
        ] {
            assert_eq!(ident(name), sql);
        }
    }

    #[test]
    fn a_plural_loses_its_ending_and_nothing_else() {
        for (name, one) in [
            ("orders", "order"),
            ("categories", "category"),
            ("boxes", "box"),
            ("addresses", "address"),
            ("status", "status"),
            ("news", "new"),
            ("address", "address"),
            ("s", "s"),
        ] {
            assert_eq!(singular(name), one);
        }
    }

    #[test]
    fn a_trigger_comes_behind_those_that_are_there() {
        let table = QualifiedName::new("s", "orders");
        let (mut belongings, mut names) = (Belongings::default(), Names::default());
        let (long, highest) = ("~".repeat(50), "\u{fffd}".repeat(20));
        for last in ["", "set_updated", "zzzz", &long, "\u{e9}t\u{e9}", &highest] {
            belongings.triggers.push(Trigger {
                name: last.to_owned(),
                before: true,
                ..Trigger::default()
            });
            let name = names.trigger((&table, &belongings), "paid", "_sync");
            assert!(name.as_str() > last && name.len() <= 63, "{name} {last}");
        }
    }

    #[test]
    fn a_new_name_is_free_and_no_longer_than_the_server_takes() {
        let mut names = Names::default();
        let table = QualifiedName::new("s", "\u{e4}".repeat(31));
        let columns = ["customer_id".to_owned()];
        let first = names.index(&table, &columns, "_idx");
        let second = names.index(&table, &columns, "_idx");
        assert!(first.len() <= 63 && second.len() <= 63, "{first} {second}");
        assert!(
            first.ends_with("_idx") && second.ends_with("_idx1"),
            "{first} {second}"
        );
    }
}
