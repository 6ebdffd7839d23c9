//! Whether a change of a column makes PostgreSQL write every row anew.

use super::facts::Facts;
use super::lock::Work;
use crate::sql::{Name, NewColumn};

/// Whether a new column's value must be computed for each row that is there.
#[must_use]
pub fn fills_each_row(column: &NewColumn) -> bool {
    let serial = matches!(
        column.ty.to_lowercase().as_str(),
        "serial" | "bigserial" | "smallserial" | "serial4" | "serial8" | "serial2"
    );
    serial
        || column.generated
        || column.identity
        || column.default.as_deref().is_some_and(may_be_volatile)
}

/// A call of anything but the well-known functions that are the same for a whole
/// statement counts as volatile: PostgreSQL computes it for each row.
fn may_be_volatile(expression: &str) -> bool {
    const STABLE: &[&str] = &[
        "now",
        "date_trunc",
        "transaction_timestamp",
        "statement_timestamp",
        "current_setting",
        "to_timestamp",
        "make_interval",
        "lower",
        "upper",
        "coalesce",
        "jsonb_build_object",
        "json_build_object",
        "jsonb_build_array",
        "array",
        "varchar",
        "numeric",
        "char",
        "bit",
        "timestamp",
        "timestamptz",
        "time",
        "interval",
        "decimal",
        "row",
        "cast",
    ];
    let tokens = crate::sql::token::tokens(expression);
    tokens.windows(2).any(|pair| {
        pair[1].is(expression, '(')
            && pair[0]
                .identifier(expression)
                .is_some_and(|name| !STABLE.contains(&name.as_str()))
    })
}

/// What another type costs: nothing where the stored bytes stay the same.
#[must_use]
pub fn retype(table: &Name, column: &str, to: &str, using: Option<&str>, facts: &Facts) -> Work {
    let from = facts
        .find(table)
        .and_then(|t| t.columns.get(column))
        .map(|c| c.ty.as_str());
    match (from, using) {
        (Some(from), None) if keeps_bytes(from, to) => Work::Instant,
        _ => Work::Rewrite,
    }
}

/// `varchar(10)` → `varchar(20)` or `text`, `numeric(8,2)` → `numeric(10,2)`.
fn keeps_bytes(from: &str, to: &str) -> bool {
    let (from, from_size) = sized(from);
    let (to, to_size) = sized(to);
    let text = ["varchar", "text"];
    if text.contains(&from.as_str()) && to == "text" {
        return true;
    }
    if from == "varchar" && to == "varchar" {
        return to_size.is_empty() || (!from_size.is_empty() && to_size[0] >= from_size[0]);
    }
    if from == "numeric" && to == "numeric" {
        let scale = |size: &[i64]| size.get(1).copied().unwrap_or(0);
        return to_size.is_empty()
            || (!from_size.is_empty()
                && to_size[0] >= from_size[0]
                && scale(&to_size) == scale(&from_size));
    }
    from == to && from_size == to_size
}

fn sized(ty: &str) -> (String, Vec<i64>) {
    let lower = ty.to_lowercase();
    let (name, size) = lower.split_once('(').unwrap_or((&lower, ""));
    let size = size
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    let name = match name.trim() {
        "character varying" => "varchar",
        "decimal" => "numeric",
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "timestamptz" => "timestamp with time zone",
        other => other,
    };
    (name.to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_whose_bytes_stay_are_not_rewritten() {
        for (from, to) in [
            ("character varying(10)", "varchar(20)"),
            ("character varying(10)", "text"),
            ("character varying(10)", "character varying"),
            ("numeric(8,2)", "numeric(10,2)"),
            ("text", "text"),
        ] {
            assert!(keeps_bytes(from, to), "{from} → {to}");
        }
        for (from, to) in [
            ("character varying(20)", "varchar(10)"),
            ("text", "varchar(10)"),
            ("integer", "bigint"),
            ("numeric(8,2)", "numeric(10,3)"),
            ("character varying", "varchar(10)"),
        ] {
            assert!(!keeps_bytes(from, to), "{from} → {to}");
        }
    }
}
