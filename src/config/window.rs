//! A time of the day: `22:00-06:00 Europe/Berlin`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::Error as _;

/// From a minute of the day to another, which may be the next day's. The clock is
/// the server's, in a time zone that the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight.
    pub from: u32,
    pub to: u32,
    pub zone: String,
}

impl Window {
    /// Whether this minute of the day is in it: the first one is, the last is not.
    #[must_use]
    pub fn holds(&self, minute: u32) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a window like 22:00-06:00 Europe/Berlin");
        let (times, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "UTC"));
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let minute = |part: &str| -> Option<u32> {
            let (hour, minute) = part.trim().split_once(':')?;
            let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
            (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
        };
        let (from, to) = (
            minute(from).ok_or_else(wrong)?,
            minute(to).ok_or_else(wrong)?,
        );
        if from == to || from == 24 * 60 {
            return Err(format!("`{text}` is an empty window"));
        }
        Ok(Self {
            from,
            to,
            zone: zone.trim().to_owned(),
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |m: u32| format!("{:02}:{:02}", m / 60, m % 60);
        write!(f, "{}-{} {}", clock(self.from), clock(self.to), self.zone)
    }
}

/// A window, or `off`.
pub fn optional<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Window>, D::Error> {
    let text = String::deserialize(d)?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_reach_over_midnight_and_has_a_zone() {
        let night: Window = "22:00-06:00 Europe/Berlin".parse().unwrap();
        assert_eq!(night.to_string(), "22:00-06:00 Europe/Berlin");
        for (minute, inside) in [
            (21 * 60 + 59, false),
            (22 * 60, true),
            (0, true),
            (360, false),
        ] {
            assert_eq!(night.holds(minute), inside, "{minute}");
        }
        let day: Window = "09:30-24:00".parse().unwrap();
        assert_eq!(
            (day.zone.as_str(), day.holds(1439), day.holds(569)),
            ("UTC", true, false)
        );
        for wrong in [
            "",
            "22-6",
            "25:00-01:00",
            "10:00-10:00",
            "10:70-11:00",
            "24:00-02:00",
        ] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
