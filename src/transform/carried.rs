//! Whether a target's column can carry every value of a source's key column.
//!
//! A value that does not fit at all (a number out of range, a text too long) is refused by
//! the server, row by row. What is dangerous is a column into which a value fits by
//! becoming another one: two source rows would then share a key.

use crate::pg::catalog::Column;

const NUMERIC: u32 = 1700;
const FLOATS: [u32; 2] = [700, 701];
/// time, timetz, timestamp, timestamptz: microseconds, unless a precision says fewer.
const TIMES: [u32; 4] = [1083, 1266, 1114, 1184];
const TEXTS: [u32; 2] = [25, 1043];

/// Whether assignment of a `source` value to a `target` column may silently make another
/// value of it.
#[must_use]
pub fn rounds(source: &Column, target: &Column) -> bool {
    if source.type_sql == target.type_sql || TEXTS.contains(&target.type_oid) {
        return false;
    }
    let finer = |all: usize| {
        let of = |c: &Column| digits(&c.type_sql).unwrap_or(all);
        of(source) > of(target)
    };
    match source.type_oid {
        NUMERIC => target.type_oid != NUMERIC || finer(usize::MAX),
        oid if FLOATS.contains(&oid) => oid != 700 || target.type_oid != 701,
        oid if TIMES.contains(&oid) => {
            let alike = oid == target.type_oid || (oid, target.type_oid) == (1114, 1184);
            !alike || finer(6)
        }
        _ => false,
    }
}

/// Digits behind the point in a type's text: the last number in its parentheses, or none of
/// `numeric(10)`.
fn digits(type_sql: &str) -> Option<usize> {
    let (name, rest) = type_sql.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    match inside.split_once(',') {
        Some((_, scale)) => scale.trim().parse().ok(),
        None if name == "numeric" => Some(0),
        None => inside.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(type_oid: u32, type_sql: &str) -> Column {
        Column {
            type_oid,
            type_sql: type_sql.to_owned(),
            ..Column::default()
        }
    }

    #[test]
    fn only_types_that_hold_every_value_carry_a_key() {
        let int = column(23, "integer");
        let date = column(1082, "date");
        let text = column(25, "text");
        let numeric = |sql: &str| column(NUMERIC, sql);
        let at = |sql: &str| column(1184, sql);
        for (source, target, loses) in [
            (numeric("numeric"), int.clone(), true),
            (numeric("numeric"), numeric("numeric(10,2)"), true),
            (numeric("numeric(10,2)"), numeric("numeric(12,1)"), true),
            (numeric("numeric(10,2)"), numeric("numeric(12,3)"), false),
            (numeric("numeric(10)"), numeric("numeric(12,0)"), false),
            (numeric("numeric(10,2)"), numeric("numeric"), false),
            (numeric("numeric"), text.clone(), false),
            (column(701, "double precision"), int.clone(), true),
            (column(700, "real"), column(701, "double precision"), false),
            (
                at("timestamp with time zone"),
                at("timestamp(0) with time zone"),
                true,
            ),
            (
                at("timestamp(3) with time zone"),
                at("timestamp with time zone"),
                false,
            ),
            (at("timestamp with time zone"), date.clone(), true),
            (date.clone(), at("timestamp with time zone"), false),
            (column(20, "bigint"), int.clone(), false),
            (int, column(20, "bigint"), false),
            (text.clone(), column(1043, "character varying(5)"), false),
            (column(2950, "uuid"), text, false),
        ] {
            assert_eq!(
                rounds(&source, &target),
                loses,
                "{} to {}",
                source.type_sql,
                target.type_sql
            );
        }
    }
}
