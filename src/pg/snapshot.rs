//! `pg_snapshot` values and transaction ids, decided in memory.

use std::str::FromStr;

use crate::error::{Error, Kind};

/// A snapshot as `pg_current_snapshot()` prints it: `xmin:xmax:xip,xip`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Every transaction below this one has ended.
    pub xmin: u64,
    /// Every transaction from this one on has not ended (or not begun).
    pub xmax: u64,
    /// Top-level transactions in progress, ascending, each in `xmin..xmax`.
    pub in_progress: Vec<u64>,
}

impl Snapshot {
    /// Whether the effects of the committed top-level transaction `xid` can be
    /// seen by this snapshot; the same rule as `pg_visible_in_snapshot`.
    #[must_use]
    pub fn sees(&self, xid: u64) -> bool {
        if xid < self.xmin {
            return true;
        }
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }
}

impl FromStr for Snapshot {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        let bad = || Error::new(Kind::Protocol, format!("`{s}` is not a snapshot"));
        let mut parts = s.split(':');
        let (Some(xmin), Some(xmax), Some(xip), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let number = |t: &str| t.parse::<u64>().map_err(|_| bad());
        let mut in_progress = xip
            .split(',')
            .filter(|t| !t.is_empty())
            .map(number)
            .collect::<Result<Vec<_>, _>>()?;
        in_progress.sort_unstable();
        Ok(Self {
            xmin: number(xmin)?,
            xmax: number(xmax)?,
            in_progress,
        })
    }
}

/// Widens a 32-bit transaction id from the log to 64 bits: the value nearest to
/// `near`, any recent full id. Right as long as the two are less than 2³¹
/// transactions apart, which the server itself guarantees for live transactions.
#[must_use]
pub fn widen_xid(xid: u32, near: u64) -> u64 {
    let candidate = (near & !0xFFFF_FFFF) | u64::from(xid);
    if candidate > near + (1 << 31) {
        candidate.saturating_sub(1 << 32)
    } else if near > (1 << 31) && candidate < near - (1 << 31) {
        candidate + (1 << 32)
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_follows_the_servers_rule() {
        let s: Snapshot = "10:20:10,14,15".parse().unwrap();
        for (xid, seen) in [
            (9, true),
            (10, false),
            (11, true),
            (14, false),
            (19, true),
            (20, false),
            (21, false),
        ] {
            assert_eq!(s.sees(xid), seen, "{xid}");
        }
        assert!("5:5:".parse::<Snapshot>().unwrap().in_progress.is_empty());
        for text in ["", "1:2", "1:2:3:4", "a:b:c"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_widen_across_a_wraparound_in_both_directions() {
        let epoch3 = 3u64 << 32;
        assert_eq!(widen_xid(5, epoch3 + 10), epoch3 + 5);
        assert_eq!(widen_xid(0xFFFF_FFF0, epoch3 + 10), epoch3 - 0x10);
        assert_eq!(widen_xid(7, epoch3 - 3), epoch3 + 7);
        assert_eq!(widen_xid(3, 800), 3);
    }
}
