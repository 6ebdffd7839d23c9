//! What a column's values become, and how they come back: as SQL.

use super::super::super::fix::TimestampFormat;
use crate::pg::quote;

/// A conversion there and back; in both expressions [`VALUE`] stands for the value.
pub struct Conversion {
    pub to_type: String,
    pub forward: String,
    pub backward: String,
    /// Values that `forward` cannot read; the new column is NULL there.
    pub unreadable: u64,
    /// What is taken for granted, for the plan's reader.
    pub assumption: Option<String>,
    /// The new column takes the old one's name in the end: an application that knows the
    /// old type gets along with the new one.
    pub keeps_name: bool,
}

/// Stands for the value in a conversion's expressions.
pub const VALUE: &str = "<value>";

impl Conversion {
    /// The same instant, read as `format` says.
    #[must_use]
    pub fn timestamp(
        from_type: &str,
        format: TimestampFormat,
        to_type: &str,
        unreadable: u64,
    ) -> Self {
        let (forward, backward) = expressions(from_type, format);
        let zoned = matches!(
            format,
            TimestampFormat::EpochSeconds
                | TimestampFormat::EpochMilliseconds
                | TimestampFormat::EpochMicroseconds
                | TimestampFormat::WithZone
        );
        Self {
            to_type: to_type.to_owned(),
            forward: format!("({forward})::{to_type}"),
            backward: format!("({backward})::{from_type}"),
            unreadable,
            assumption: (!zoned).then(|| {
                "values without a zone are taken for UTC: change `UTC` in the files if the application means another zone".to_owned()
            }),
            keeps_name: false,
        }
    }

    /// A cast, or another expression that names the column in quotes.
    #[must_use]
    pub fn cast(column: &str, from_type: &str, to_type: &str, using: &str) -> Self {
        Self {
            to_type: to_type.to_owned(),
            forward: format!("({})::{to_type}", using.replace(&quote(column), VALUE)),
            backward: format!("({VALUE})::{from_type}"),
            unreadable: 0,
            assumption: None,
            keeps_name: true,
        }
    }
}

/// From the column to a moment, and back.
fn expressions(from_type: &str, format: TimestampFormat) -> (String, String) {
    let text = |pattern: &str| {
        (
            format!(
                "to_timestamp(nullif(btrim({VALUE}::text), ''), '{pattern}')::timestamp at time zone 'UTC'"
            ),
            format!("to_char({VALUE} at time zone 'UTC', '{pattern}')"),
        )
    };
    // Whole numbers are whole seconds: half a second is no reason for the next one.
    let whole = !from_type.starts_with("numeric") && !from_type.starts_with("double");
    let epoch = |factor: &str| {
        let back = format!("extract(epoch from {VALUE}) * {factor}");
        (
            format!("to_timestamp(({VALUE})::numeric / {factor})"),
            if whole {
                format!("floor({back})")
            } else {
                back
            },
        )
    };
    let dated = |pattern: &str| {
        (
            iso(from_type),
            format!("to_char({VALUE} at time zone 'UTC', '{pattern}')"),
        )
    };
    match format {
        TimestampFormat::EpochSeconds => epoch("1"),
        TimestampFormat::EpochMilliseconds => epoch("1000"),
        TimestampFormat::EpochMicroseconds => epoch("1000000"),
        TimestampFormat::Iso8601 => dated("YYYY-MM-DD HH24:MI:SS"),
        TimestampFormat::IsoDate | TimestampFormat::Date => dated("YYYY-MM-DD"),
        TimestampFormat::CompactDate => text("YYYYMMDD"),
        TimestampFormat::DayMonthYearDots => text("DD.MM.YYYY HH24:MI:SS"),
        TimestampFormat::DayMonthYearSlashes => text("DD/MM/YYYY HH24:MI:SS"),
        TimestampFormat::MonthDayYearSlashes => text("MM/DD/YYYY HH24:MI:SS"),
        TimestampFormat::WithoutZone => (
            format!("{VALUE} at time zone 'UTC'"),
            format!("{VALUE} at time zone 'UTC'"),
        ),
        TimestampFormat::WithZone => (VALUE.to_owned(), VALUE.to_owned()),
    }
}

/// Text or a date as a moment; a zone that the text names counts.
fn iso(from_type: &str) -> String {
    if from_type == "date" || from_type.starts_with("timestamp") {
        return format!("{VALUE}::timestamp at time zone 'UTC'");
    }
    let text = format!("nullif(btrim({VALUE}::text), '')");
    // `yesterday` and `now` would be read as well, and mean another day each time.
    format!(
        "case when {text} !~ '^[0-9]{{4}}-[0-9]' then null \
         when {text} ~ ':.*(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$' then {text}::timestamptz \
         else {text}::timestamp at time zone 'UTC' end"
    )
}
