//! What a text is: a number, a moment, an identifier. Pure, and deliberately strict: a
//! column is said to hold moments only where its values can be nothing else.

use super::fix::TimestampFormat;

/// What one value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// Fits an `integer`.
    Integer,
    /// Fits a `bigint` only.
    BigInteger,
    /// Digits with a leading zero, or too many: an identifier that looks like a number.
    Digits,
    Decimal,
    Boolean,
    Uuid,
    Moment(TimestampFormat),
    Text,
}

/// Looks at one value, without knowing its column.
#[must_use]
pub fn form(text: &str) -> Form {
    let text = text.trim();
    if let Some(form) = number(text) {
        return form;
    }
    if is_uuid(text) {
        return Form::Uuid;
    }
    if matches!(text, "true" | "false") {
        return Form::Boolean;
    }
    moment(text).map_or(Form::Text, Form::Moment)
}

fn number(text: &str) -> Option<Form> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Some(Form::Digits);
        }
        return Some(match text.parse::<i64>() {
            Ok(n) if i32::try_from(n).is_ok() => Form::Integer,
            Ok(_) => Form::BigInteger,
            Err(_) => Form::Digits,
        });
    }
    let (whole, fraction) = digits.split_once('.')?;
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (plain(whole) && plain(fraction)).then_some(Form::Decimal)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// The calendar form of a text. `10/11/2024` is ambiguous and gives the form with the
/// month first: [`settle`] decides by the whole column.
fn moment(text: &str) -> Option<TimestampFormat> {
    let bytes = text.as_bytes();
    if !(8..=40).contains(&bytes.len()) || !bytes[0].is_ascii_digit() {
        return None;
    }
    let separator = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if separator(4, b'-') && separator(7, b'-') {
        let (year, month, day) = (
            digits(text, 0, 4)?,
            digits(text, 5, 2)?,
            digits(text, 8, 2)?,
        );
        if !is_date(year, month, day) {
            return None;
        }
        return match bytes.len() {
            10 => Some(TimestampFormat::IsoDate),
            _ if (separator(10, b'T') || separator(10, b' ')) && is_time(&text[11..]) => {
                Some(TimestampFormat::Iso8601)
            }
            _ => None,
        };
    }
    for (byte, dots) in [(b'.', true), (b'/', false)] {
        if separator(2, byte) && separator(5, byte) {
            let (first, second) = (digits(text, 0, 2)?, digits(text, 3, 2)?);
            let year = digits(text, 6, 4)?;
            if bytes.len() > 10 && !(separator(10, b' ') && is_time(&text[11..])) {
                return None;
            }
            return match dots {
                true if is_date(year, second, first) => Some(TimestampFormat::DayMonthYearDots),
                false if is_date(year, first, second) => Some(TimestampFormat::MonthDayYearSlashes),
                false if is_date(year, second, first) => Some(TimestampFormat::DayMonthYearSlashes),
                _ => None,
            };
        }
    }
    None
}

fn digits(text: &str, at: usize, count: usize) -> Option<u32> {
    let part = text.get(at..at + count)?;
    part.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| part.parse().ok())?
}

/// `20240531`: a day in eight digits.
#[must_use]
pub fn is_compact_day(text: &str) -> bool {
    let part = |at, count| digits(text, at, count);
    text.len() == 8
        && part(0, 4)
            .zip(part(4, 2))
            .zip(part(6, 2))
            .is_some_and(|((y, m), d)| (1950..=2100).contains(&y) && is_date(y, m, d))
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    (1900..=2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// `12:34`, `12:34:56`, `12:34:56.789Z`, `12:34:56+02:00`.
fn is_time(text: &str) -> bool {
    let clock_ends = text
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(text.len());
    let (clock, zone) = text.split_at(clock_ends);
    let mut parts = clock.split(':');
    let part = |p: Option<&str>, most: f64| {
        p.is_some_and(|p| p.len() >= 2 && p.parse::<f64>().is_ok_and(|n| (0.0..most).contains(&n)))
    };
    let hours = part(parts.next(), 24.0);
    let minutes = part(parts.next(), 60.0);
    let seconds = parts.next();
    let zone = zone.trim();
    let zone_fits = zone.is_empty()
        || zone == "Z"
        || zone == "UTC"
        || zone.strip_prefix(['+', '-']).is_some_and(|z| {
            (2..=6).contains(&z.len()) && z.bytes().all(|b| b.is_ascii_digit() || b == b':')
        });
    hours
        && minutes
        && (seconds.is_none() || part(seconds, 61.0))
        && parts.next().is_none()
        && zone_fits
}

/// The moments of the years 2000 to 2040 as numbers, in the three usual units.
const EPOCHS: [(TimestampFormat, i64); 3] = [
    (TimestampFormat::EpochSeconds, 1),
    (TimestampFormat::EpochMilliseconds, 1_000),
    (TimestampFormat::EpochMicroseconds, 1_000_000),
];
const FROM_2000: i64 = 946_684_800;
const UNTIL_2040: i64 = 2_208_988_800;

/// The unit in which all numbers from `low` to `high` are moments of 2000 to 2040. Other
/// numbers are of that size too: the column's name has to speak for it as well.
#[must_use]
pub fn epoch(low: i64, high: i64) -> Option<TimestampFormat> {
    EPOCHS
        .into_iter()
        .find(|(_, unit)| low >= FROM_2000 * unit && high < UNTIL_2040 * unit)
        .map(|(format, _)| format)
}

/// The numbers that are moments of those years in this unit, the last one excluded.
#[must_use]
pub fn epoch_range(format: TimestampFormat) -> Option<(i64, i64)> {
    let (_, unit) = EPOCHS.into_iter().find(|(f, _)| *f == format)?;
    Some((FROM_2000 * unit, UNTIL_2040 * unit))
}

/// One format for a whole column, and how many values have another form. `forms` are
/// counts; `None` where fewer than nine in ten values are moments of one format.
#[must_use]
pub fn settle(forms: &[(Form, usize)]) -> Option<(TimestampFormat, usize)> {
    let total: usize = forms.iter().map(|(_, n)| n).sum();
    let count = |wanted: TimestampFormat| {
        forms
            .iter()
            .filter(|(f, _)| *f == Form::Moment(wanted))
            .map(|(_, n)| *n)
            .sum::<usize>()
    };
    let (day_first, month_first) = (
        count(TimestampFormat::DayMonthYearSlashes),
        count(TimestampFormat::MonthDayYearSlashes),
    );
    let iso = count(TimestampFormat::Iso8601);
    let candidates = [
        // What reads as a day alone is a moment too.
        (
            TimestampFormat::Iso8601,
            if iso > 0 {
                iso + count(TimestampFormat::IsoDate)
            } else {
                0
            },
        ),
        (TimestampFormat::IsoDate, count(TimestampFormat::IsoDate)),
        (
            TimestampFormat::DayMonthYearDots,
            count(TimestampFormat::DayMonthYearDots),
        ),
        // One day above 12 decides for every ambiguous one.
        (
            TimestampFormat::DayMonthYearSlashes,
            if day_first > 0 {
                day_first + month_first
            } else {
                0
            },
        ),
        (TimestampFormat::MonthDayYearSlashes, month_first),
    ];
    let (format, found) = candidates.into_iter().max_by_key(|(_, n)| *n)?;
    (found > 0 && found * 10 >= total * 9).then_some((format, total - found))
}

/// The narrowest type that every value can be cast to, judged by their forms.
#[must_use]
pub fn narrowest(forms: &[(Form, usize)]) -> &'static str {
    let only =
        |allowed: &[Form]| !forms.is_empty() && forms.iter().all(|(f, _)| allowed.contains(f));
    let moments = forms.iter().all(|(f, _)| {
        matches!(
            f,
            Form::Moment(TimestampFormat::Iso8601 | TimestampFormat::IsoDate)
        )
    });
    if only(&[Form::Integer]) {
        "integer"
    } else if only(&[Form::Integer, Form::BigInteger]) {
        "bigint"
    } else if only(&[Form::Integer, Form::BigInteger, Form::Decimal]) {
        "numeric"
    } else if only(&[Form::Boolean]) {
        "boolean"
    } else if only(&[Form::Uuid]) {
        "uuid"
    } else if only(&[Form::Moment(TimestampFormat::IsoDate)]) {
        "date"
    } else if moments && !forms.is_empty() {
        "timestamp with time zone"
    } else {
        "text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        use TimestampFormat as T;
        for (text, expected) in [
            ("7", Form::Integer),
            ("-2147483648", Form::Integer),
            ("2147483648", Form::BigInteger),
            ("007", Form::Digits),
            ("99999999999999999999", Form::Digits),
            ("1.50", Form::Decimal),
            ("1.", Form::Text),
            ("1.2.3", Form::Text),
            ("12 Main St", Form::Text),
            ("2024-05-31", Form::Moment(T::IsoDate)),
            ("2024-13-31", Form::Text),
            ("2024-05-31T12:00:00Z", Form::Moment(T::Iso8601)),
            ("2024-05-31 12:00:00.5+02:00", Form::Moment(T::Iso8601)),
            ("2024-05-31 noon", Form::Text),
            ("31.05.2024", Form::Moment(T::DayMonthYearDots)),
            ("31.05.2024 08:15", Form::Moment(T::DayMonthYearDots)),
            ("31/05/2024", Form::Moment(T::DayMonthYearSlashes)),
            ("05/31/2024", Form::Moment(T::MonthDayYearSlashes)),
            ("123-456-7890", Form::Text),
            ("10.0.12.2024", Form::Text),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", Form::Uuid),
            ("", Form::Text),
            ("ÄÖÜäöüß€", Form::Text),
            ("1Äx5.2024.", Form::Text),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
    }

    #[test]
    fn one_day_above_twelve_decides_for_the_column() {
        let forms = [
            (Form::Moment(TimestampFormat::MonthDayYearSlashes), 99),
            (Form::Moment(TimestampFormat::DayMonthYearSlashes), 1),
        ];
        assert_eq!(
            settle(&forms),
            Some((TimestampFormat::DayMonthYearSlashes, 0))
        );
        let forms = [
            (Form::Moment(TimestampFormat::Iso8601), 95),
            (Form::Text, 5),
        ];
        assert_eq!(settle(&forms), Some((TimestampFormat::Iso8601, 5)));
        let forms = [
            (Form::Moment(TimestampFormat::Iso8601), 50),
            (Form::Text, 50),
        ];
        assert_eq!(settle(&forms), None);
        assert_eq!(settle(&[]), None);
    }

    #[test]
    fn eight_digits_are_a_day_where_they_can_be_one() {
        for text in ["20240531", "19991231"] {
            assert!(is_compact_day(text), "{text}");
        }
        for text in [
            "20241331", "20240532", "2024053", "12345678", "2024-5-1", "",
        ] {
            assert!(!is_compact_day(text), "{text}");
        }
    }

    #[test]
    fn numbers_are_moments_only_in_one_unit() {
        assert_eq!(
            epoch(1_700_000_000, 1_700_000_100),
            Some(TimestampFormat::EpochSeconds)
        );
        assert_eq!(
            epoch(1_700_000_000_000, 1_700_000_100_000),
            Some(TimestampFormat::EpochMilliseconds)
        );
        assert_eq!(epoch(1, 1_700_000_000), None);
    }

    #[test]
    fn the_narrowest_type_holds_every_value() {
        let n = |forms: &[Form]| narrowest(&forms.iter().map(|f| (*f, 1)).collect::<Vec<_>>());
        assert_eq!(n(&[Form::Integer, Form::BigInteger]), "bigint");
        assert_eq!(n(&[Form::Integer, Form::Decimal]), "numeric");
        assert_eq!(n(&[Form::Integer, Form::Digits]), "text");
        assert_eq!(n(&[]), "text");
        assert_eq!(
            n(&[
                Form::Moment(TimestampFormat::Iso8601),
                Form::Moment(TimestampFormat::IsoDate)
            ]),
            "timestamp with time zone"
        );
    }
}
