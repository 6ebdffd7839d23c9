//! The frames inside the stream's CopyData, both ways, as the manual's chapter
//! "Streaming Replication Protocol" lays them out. Pure.

use bytes::{Buf, BufMut, Bytes, TryGetError};

use crate::pg::Lsn;

/// Microseconds from 1970 to 2000, the epoch of the protocol's clock.
const EPOCH_2000: i64 = 946_684_800_000_000;

/// One frame of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// `wal_start` and `wal_end` are 0/0 for messages that belong to no record.
    Data {
        wal_start: Lsn,
        wal_end: Lsn,
        payload: Bytes,
    },
    Keepalive {
        wal_end: Lsn,
        reply: bool,
    },
    /// The server ends the stream.
    Done,
}

/// Positions of a standby status update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub write: Lsn,
    /// Flushed and applied; 0/0 leaves the slot where it is.
    pub confirmed: Lsn,
    /// Ask the server to answer at once.
    pub ask: bool,
}

impl Copy {
    /// One frame; the reason if it is none.
    pub fn decode(mut body: Bytes) -> Result<Self, String> {
        Self::read(&mut body).map_err(|_| "a replication frame is too short".to_owned())?
    }

    fn read(body: &mut Bytes) -> Result<Result<Self, String>, TryGetError> {
        Ok(match body.try_get_u8()? {
            b'w' => {
                let wal_start = Lsn(body.try_get_u64()?);
                let wal_end = Lsn(body.try_get_u64()?);
                body.try_get_i64()?; // the server's clock
                Ok(Self::Data {
                    wal_start,
                    wal_end,
                    payload: std::mem::take(body),
                })
            }
            b'k' => {
                let wal_end = Lsn(body.try_get_u64()?);
                body.try_get_i64()?;
                let reply = body.try_get_u8()? != 0;
                Ok(Self::Keepalive { wal_end, reply })
            }
            other => Err(format!("a replication frame of kind {other:#04x}")),
        })
    }
}

impl Status {
    /// The standby status update, at this machine's time.
    #[must_use]
    pub fn encode(&self) -> [u8; 34] {
        let mut body = [0; 34];
        let mut out = &mut body[..];
        out.put_u8(b'r');
        out.put_u64(self.write.max(self.confirmed).0);
        out.put_u64(self.confirmed.0);
        out.put_u64(self.confirmed.0);
        out.put_i64(clock());
        out.put_u8(u8::from(self.ask));
        body
    }
}

/// Now, on the protocol's clock.
fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
    micros.saturating_sub(EPOCH_2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_short_or_strange_ones_refused() {
        let mut data = vec![b'w'];
        data.put_u64(5);
        data.put_u64(6);
        data.put_i64(7);
        data.put_slice(b"payload");
        let mut keepalive = vec![b'k'];
        keepalive.put_u64(9);
        keepalive.put_i64(0);
        keepalive.put_u8(1);
        for end in 0..25 {
            assert!(Copy::decode(data[..end].to_vec().into()).is_err(), "{end}");
        }
        for end in 0..keepalive.len() {
            assert!(
                Copy::decode(keepalive[..end].to_vec().into()).is_err(),
                "{end}"
            );
        }
        let expected = Copy::Data {
            wal_start: Lsn(5),
            wal_end: Lsn(6),
            payload: Bytes::from_static(b"payload"),
        };
        assert_eq!(Copy::decode(data.into()), Ok(expected));
        let expected = Copy::Keepalive {
            wal_end: Lsn(9),
            reply: true,
        };
        assert_eq!(Copy::decode(keepalive.into()), Ok(expected));
        assert!(Copy::decode(Bytes::from_static(b"s")).is_err());
    }

    #[test]
    fn a_status_never_reports_less_written_than_confirmed() {
        let status = Status {
            write: Lsn(1),
            confirmed: Lsn(2),
            ask: true,
        };
        let bytes = status.encode();
        assert_eq!(
            bytes[..25],
            [[b'r'].as_slice(), &[0, 0, 0, 0, 0, 0, 0, 2].repeat(3)].concat()
        );
        assert_eq!(bytes[33], 1);
    }
}
