//! Numbers as people read them.

/// `1,234,567`.
#[must_use]
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `0.042 ms`, `85 ms`, `12.3 s`.
#[must_use]
pub fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.3} ms"),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 100_000.0 => format!("{:.2} s", ms / 1000.0),
        ms => format!("{:.1} min", ms / 60_000.0),
    }
}

/// `37 %`, `0.4 %`.
#[must_use]
pub fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent > 0.0 && percent < 1.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// `12 kB`, `3.4 MB`; as PostgreSQL counts them, 1024 to the next.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes.max(0.0);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0 && unit > 1);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A `work_mem` that holds so many bytes: whole megabytes, with a quarter to spare.
#[must_use]
pub fn work_mem(bytes: f64) -> String {
    format!("{:.0}MB", (bytes * 1.25 / 1024.0 / 1024.0).ceil().max(1.0))
}

/// An expression, cut where it is long.
#[must_use]
pub fn short(text: &str) -> String {
    const LONGEST: usize = 120;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    format!("{cut}…")
}

/// `one`, `one and two`, `one, two and three`.
#[must_use]
pub fn and<S: AsRef<str>>(parts: &[S]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [many @ .., last] => {
            let many: Vec<_> = many.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", many.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1_234_567.4), "1,234,567");
        assert_eq!(count(12.0), "12");
        assert_eq!(time(0.0421), "0.042 ms");
        assert_eq!(time(12_345.0), "12.35 s");
        assert_eq!(percent(0.004), "0.4 %");
        assert_eq!(percent(0.375), "38 %");
        assert_eq!(bytes(3_565_158.0), "3.4 MB");
        assert_eq!(bytes(12_288.0), "12 kB");
        assert_eq!(work_mem(4_000_000.0), "5MB");
        assert_eq!(and(&["a", "b", "c"]), "a, b and c");
    }
}
