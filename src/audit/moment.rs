//! Which columns hold moments, whatever their type, and how their values are read.

use super::facts::Facts;
use super::fix::TimestampFormat;
use super::profile::ColumnProfile;
use super::schema::{Column, Table, TypeClass};
use super::value::{epoch, epoch_range, settle};
use super::word::words;
use crate::pg::quote;

/// A column of moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub format: TimestampFormat,
    /// Sampled values, and those that are in no such format.
    pub values: u64,
    pub unparsable: u64,
}

/// Fewer values prove no format.
const FEWEST_VALUES: usize = 10;
/// Words of names of moments.
const WORDS: &[&str] = &[
    "at",
    "on",
    "date",
    "time",
    "ts",
    "timestamp",
    "datetime",
    "created",
    "updated",
    "modified",
    "changed",
    "deleted",
    "expires",
    "expiry",
    "since",
    "until",
    "epoch",
    "when",
    "last",
    "seen",
    "started",
    "ended",
    "finished",
    "completed",
    "scheduled",
    "received",
    "sent",
    "paid",
    "shipped",
];

/// Last words of names of what is no moment, whatever it has to do with one: who made it.
const OTHERS: &[&str] = &["by", "id", "ref", "no", "hash", "count", "version"];

/// The column as moments, if it holds any.
#[must_use]
pub fn moment(facts: &Facts, table: &Table, column: &Column) -> Option<Moment> {
    let native = |format| {
        Some(Moment {
            format,
            values: 0,
            unparsable: 0,
        })
    };
    match column.data_type.class {
        TypeClass::Timestamp => native(TimestampFormat::WithoutZone),
        TypeClass::TimestampTz => native(TimestampFormat::WithZone),
        TypeClass::Date => native(TimestampFormat::Date),
        TypeClass::Text | TypeClass::PaddedChar => text(facts, table, column),
        TypeClass::Integer(8 | 4) | TypeClass::Numeric | TypeClass::Float => {
            number(facts, table, column)
        }
        _ => None,
    }
}

fn text(facts: &Facts, table: &Table, column: &Column) -> Option<Moment> {
    let seen = facts.column_profile(table, &column.name)?;
    if seen.present < FEWEST_VALUES {
        return None;
    }
    if is_named(column) && all_days(seen) {
        return Some(days(seen));
    }
    let (format, unparsable) = settle(&seen.forms)?;
    Some(Moment {
        format,
        values: seen.present as u64,
        unparsable: unparsable as u64,
    })
}

fn is_named(column: &Column) -> bool {
    let words = words(&column.name);
    let what = words.last().is_some_and(|w| OTHERS.contains(&w.as_str()));
    !what && words.iter().any(|w| WORDS.contains(&w.as_str()))
}

fn all_days(seen: &ColumnProfile) -> bool {
    seen.compact_days == seen.present
}

fn days(seen: &ColumnProfile) -> Moment {
    Moment {
        format: TimestampFormat::CompactDate,
        values: seen.present as u64,
        unparsable: 0,
    }
}

/// Ten digits can be a telephone number: the name must say that it is a moment.
fn number(facts: &Facts, table: &Table, column: &Column) -> Option<Moment> {
    let seen = facts.column_profile(table, &column.name)?;
    if !is_named(column) || seen.present < FEWEST_VALUES || facts.refers(table, &column.name) {
        return None;
    }
    if all_days(seen) {
        return Some(days(seen));
    }
    let (low, high) = seen.range?;
    Some(Moment {
        format: epoch(low, high)?,
        values: seen.present as u64,
        unparsable: 0,
    })
}

impl TimestampFormat {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EpochSeconds => "epoch seconds",
            Self::EpochMilliseconds => "epoch milliseconds",
            Self::EpochMicroseconds => "epoch microseconds",
            Self::Iso8601 => "text as 2024-05-31 12:00:00",
            Self::IsoDate => "text as 2024-05-31",
            Self::CompactDate => "days as 20240531",
            Self::DayMonthYearDots => "text as 31.05.2024",
            Self::DayMonthYearSlashes => "text as 31/05/2024",
            Self::MonthDayYearSlashes => "text as 05/31/2024",
            Self::WithoutZone => "timestamp without time zone",
            Self::WithZone => "timestamptz",
            Self::Date => "date",
        }
    }
}

/// SQL of whether a value can be read, and of the moment it is. UTC is assumed where a
/// value says no zone.
#[must_use]
pub fn conversion(column: &Column, format: TimestampFormat) -> (String, String) {
    let name = quote(&column.name);
    let shaped = |pattern: &str| format!("{name} is null or {name}::text ~ '{pattern}'");
    // Every number is some moment: one of these years is meant.
    let numeric = epoch_range(format).map_or_else(
        || "true".to_owned(),
        |(low, high)| format!("{name} is null or {name} >= {low} and {name} < {high}"),
    );
    match format {
        TimestampFormat::EpochSeconds => (numeric, format!("to_timestamp({name}::float8)")),
        TimestampFormat::EpochMilliseconds => {
            (numeric, format!("to_timestamp({name}::float8 / 1000)"))
        }
        TimestampFormat::EpochMicroseconds => {
            (numeric, format!("to_timestamp({name}::float8 / 1000000)"))
        }
        TimestampFormat::Iso8601 => (
            shaped(
                r"^\s*\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|UTC|[+-]\d{2}(:?\d{2})?)?)?\s*$",
            ),
            format!("{name}::timestamptz"),
        ),
        TimestampFormat::IsoDate => (
            shaped(r"^\s*\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\s*$"),
            format!("{name}::date"),
        ),
        TimestampFormat::CompactDate => (
            shaped(r"^\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"),
            format!("to_date({name}::text, 'YYYYMMDD')"),
        ),
        TimestampFormat::DayMonthYearDots => (
            shaped(r"^(0[1-9]|[12]\d|3[01])\.(0[1-9]|1[0-2])\.\d{4}( \d{2}:\d{2}(:\d{2})?)?$"),
            format!("to_timestamp({name}, 'DD.MM.YYYY HH24:MI:SS')"),
        ),
        TimestampFormat::DayMonthYearSlashes => (
            shaped(r"^(0[1-9]|[12]\d|3[01])/(0[1-9]|1[0-2])/\d{4}( \d{2}:\d{2}(:\d{2})?)?$"),
            format!("to_timestamp({name}, 'DD/MM/YYYY HH24:MI:SS')"),
        ),
        TimestampFormat::MonthDayYearSlashes => (
            shaped(r"^(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])/\d{4}( \d{2}:\d{2}(:\d{2})?)?$"),
            format!("to_timestamp({name}, 'MM/DD/YYYY HH24:MI:SS')"),
        ),
        TimestampFormat::WithoutZone => (numeric, format!("{name} at time zone 'UTC'")),
        TimestampFormat::WithZone | TimestampFormat::Date => (numeric, name),
    }
}
