//! One condition on one table, as an index would see it.

use crate::explain::catalog::{Catalog, Table, key_of};
use crate::explain::expression::{
    Comparison, bare, cast_column, column, columns, is_constant, without_alias,
};

/// How a term is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// With one value, or with any of a list.
    Equal { many: bool },
    /// By `<`, `<=`, `>`, `>=`.
    Range,
    /// `LIKE 'prefix%'`.
    Prefix,
    /// `LIKE '%in the middle%'`, regular expressions.
    Pattern,
    /// Operators that GIN and GiST serve: `@>`, `?`, `&&`, `@@`, …
    Contains { operator: String },
    /// Joined with another table.
    Joined,
    /// True for part of the rows, of no use as a key: `x <> 1`, `x IS NOT NULL`.
    Other,
}

/// A condition, or one side of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The index key: a column's name, or an expression in parentheses.
    pub sql: String,
    pub columns: Vec<String>,
    /// A column, not an expression.
    pub plain: bool,
    pub compared: Compared,
    /// The whole condition without the table's alias, for a partial index; empty for joins.
    pub predicate: String,
    /// The constant's text as the plan shows it, where there is one.
    pub constant: Option<String>,
}

/// The key that one side of a comparison asks for.
pub fn key(side: &str, alias: &str, table: &Table, catalog: &Catalog) -> Term {
    let side = bare(side);
    let relation = format!("{}.{}", table.name.schema, table.name.name);
    let plain = column(side).or_else(|| {
        let (column, to) = cast_column(side)?;
        catalog
            .relabels(Some(&relation), &column.name, to)
            .then_some(column)
    });
    let (sql, named) = match &plain {
        Some(column) => (key_of(&column.name), vec![column.name.clone()]),
        None => (
            format!("({})", without_alias(side, alias)),
            columns(side).into_iter().map(|c| c.name).collect(),
        ),
    };
    Term {
        sql,
        columns: named,
        plain: plain.is_some(),
        compared: Compared::Joined,
        predicate: String::new(),
        constant: None,
    }
}

/// A condition on constants; `None` where it names no column.
pub fn of(part: &str, alias: &str, table: &Table, catalog: &Catalog) -> Option<Term> {
    let part = bare(part);
    let predicate = without_alias(part, alias);
    let make = |side: &str, compared: Compared, constant: Option<&str>| Term {
        compared,
        predicate: predicate.clone(),
        constant: constant.map(str::to_owned),
        ..key(side, alias, table, catalog)
    };
    if columns(part).is_empty() {
        return None;
    }
    for (suffix, compared) in [
        (" IS NULL", Compared::Equal { many: false }),
        (" IS NOT NULL", Compared::Other),
    ] {
        if let Some(side) = part.strip_suffix(suffix) {
            return Some(make(side, compared, Some("NULL")));
        }
    }
    // A boolean column alone, or denied.
    let denied = part.strip_prefix("NOT ").unwrap_or(part);
    if column(denied).is_some() {
        return Some(make(denied, Compared::Equal { many: false }, Some("true")));
    }
    let c = Comparison::parse(part)?;
    let (side, operator, constant) = match (is_constant(c.left), is_constant(c.right)) {
        (false, true) => (c.left, c.operator.to_owned(), c.right),
        (true, false) => (c.right, mirrored(c.operator), c.left),
        _ => return Some(make(part, Compared::Other, None)),
    };
    Some(make(side, compared(&operator, constant), Some(constant)))
}

fn compared(operator: &str, constant: &str) -> Compared {
    let any = constant.starts_with("ANY ");
    match operator {
        "=" => Compared::Equal { many: any },
        "<" | "<=" | ">" | ">=" => Compared::Range,
        "~~" if !any && is_prefix(constant) => Compared::Prefix,
        "~~" | "~~*" | "~" | "~*" => Compared::Pattern,
        "@>" | "<@" | "&&" | "?" | "?|" | "?&" | "@@" | "@?" => Compared::Contains {
            operator: operator.to_owned(),
        },
        _ => Compared::Other,
    }
}

/// `'abc%'::text`: a pattern that begins with plain characters.
fn is_prefix(constant: &str) -> bool {
    constant
        .strip_prefix('\'')
        .and_then(|c| c.chars().next())
        .is_some_and(|c| !matches!(c, '%' | '_' | '\\' | '\''))
}

fn mirrored(operator: &str) -> String {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        "@>" => "<@",
        "<@" => "@>",
        same => same,
    }
    .to_owned()
}
