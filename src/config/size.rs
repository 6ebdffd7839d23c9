//! Values with a unit, and values that can be `"off"`.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Integer(u64),
    Float(f64),
    Text(String),
}

/// Reads `8GiB`, `500 MB`, `1024`.
pub fn bytes<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    optional(d)?.ok_or_else(|| D::Error::custom("this limit cannot be off"))
}

/// The same, or `off`.
pub fn optional<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(d)? {
        Value::Integer(n) => Ok(Some(n)),
        Value::Text(text) if text == "off" => Ok(None),
        Value::Text(text) => parse(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a size like 8GiB"))),
        Value::Float(n) => Err(D::Error::custom(format!("`{n}` is not a size like 8GiB"))),
    }
}

/// A number above 0, or `off`.
pub fn number_or_off<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    let number = match Value::deserialize(d)? {
        #[allow(clippy::cast_precision_loss)]
        Value::Integer(n) => n as f64,
        Value::Float(n) => n,
        Value::Text(text) if text == "off" => return Ok(None),
        Value::Text(text) => text
            .parse()
            .map_err(|_| D::Error::custom(format!("`{text}` is neither a number nor \"off\"")))?,
    };
    if number.is_finite() && number > 0.0 {
        return Ok(Some(number));
    }
    Err(D::Error::custom(format!(
        "{number} is not above 0; \"off\" takes the limit away"
    )))
}

/// A text, or `off`.
pub fn text_or_off<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    Ok((text != "off" && !text.trim().is_empty()).then_some(text))
}

/// Bytes of a number with a unit.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit: u64 = match text[split..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Bytes in the largest unit that leaves a whole number.
#[must_use]
pub fn show(bytes: u64) -> String {
    for (unit, name) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= unit {
            return format!("{}{name}", bytes >> unit);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_shown_so_that_they_can_be_read_again() {
        assert_eq!(parse("8GiB"), Some(8 << 30));
        assert_eq!(parse("500 MB"), Some(500_000_000));
        assert_eq!(parse("17"), Some(17));
        assert_eq!(parse("8 bananas"), None);
        for size in [0, 17, 8 << 30, 500_000_000, 3 << 20] {
            assert_eq!(parse(&show(size)), Some(size));
        }
        assert_eq!(show(8 << 30), "8GiB");
    }
}
