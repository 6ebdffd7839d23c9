//! Bytes from the socket, cut into whole protocol messages without copying them.
//!
//! Messages are slices of chunks of [`CHUNK`] bytes, so that one small value kept
//! for long pins 64 KiB at most. A larger message gets a chunk of its own, which
//! grows only as its bytes arrive: a made-up length allocates nothing.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::Header;

/// Bytes of one chunk, and of one read.
pub const CHUNK: usize = 64 * 1024;

pub struct Inbox {
    chunk: BytesMut,
    scratch: Box<[u8]>,
}

impl Inbox {
    pub fn new() -> Self {
        Self {
            chunk: BytesMut::with_capacity(CHUNK),
            scratch: vec![0; CHUNK].into_boxed_slice(),
        }
    }

    /// Reads once. 0 bytes mean that the peer closed the connection.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let count = from.read(&mut self.scratch)?;
        let filled = self.chunk.len() + count;
        if self.chunk.capacity() < filled {
            // Doubling, but no further than the message under way needs.
            let header = Header::parse(&self.chunk).ok().flatten();
            let wanted = header.map_or(0, |header| usize::try_from(header.len()).unwrap_or(0) + 1);
            self.replace(CHUNK.max((filled * 2).min(wanted.max(filled))));
        }
        self.chunk.extend_from_slice(&self.scratch[..count]);
        Ok(count)
    }

    /// The tag and the bytes, header included, of the next whole message.
    pub fn next(&mut self, largest: usize) -> io::Result<Option<(u8, BytesMut)>> {
        let Some(header) = Header::parse(&self.chunk)? else {
            return Ok(None);
        };
        let total = usize::try_from(header.len()).map_or(usize::MAX, |len| len.saturating_add(1));
        if total > largest {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a message of {total} bytes"),
            ));
        }
        if self.chunk.len() < total {
            return Ok(None);
        }
        let message = self.chunk.split_to(total);
        if total > CHUNK {
            // The rest must not keep the large message's memory alive.
            self.replace(CHUNK.max(self.chunk.len()));
        }
        Ok(Some((header.tag(), message)))
    }

    fn replace(&mut self, capacity: usize) {
        let mut next = BytesMut::with_capacity(capacity);
        next.extend_from_slice(&self.chunk);
        self.chunk = next;
    }
}

/// A message's body.
pub fn body(mut message: BytesMut) -> Bytes {
    message.split_off(5.min(message.len())).freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, length: usize) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend_from_slice(&u32::try_from(length + 4).unwrap().to_be_bytes());
        out.extend(std::iter::repeat_n(tag, length));
        out
    }

    #[test]
    fn messages_of_any_size_come_out_whole_and_in_order() {
        let sizes = [0, 1, CHUNK - 5, CHUNK, 5 * CHUNK + 3, 2, 17];
        let mut stream: &[u8] = &sizes.map(|size| message(b'd', size)).concat();
        let mut inbox = Inbox::new();
        let mut seen = Vec::new();
        while inbox.fill(&mut stream).unwrap() > 0 {
            while let Some((tag, bytes)) = inbox.next(usize::MAX).unwrap() {
                assert_eq!(tag, b'd');
                seen.push(body(bytes).len());
            }
            assert!(inbox.chunk.capacity() <= 7 * CHUNK);
        }
        assert_eq!(seen, sizes);
        assert!(inbox.chunk.capacity() <= CHUNK);
    }

    #[test]
    fn a_made_up_length_allocates_nothing_and_a_bad_one_is_refused() {
        let mut inbox = Inbox::new();
        inbox
            .fill(&mut &[b'd', 0x7F, 0xFF, 0xFF, 0xFF, 1][..])
            .unwrap();
        assert!(inbox.next(usize::MAX).unwrap().is_none());
        assert!(inbox.chunk.capacity() <= CHUNK);
        assert!(inbox.next(1 << 20).is_err());
        let mut inbox = Inbox::new();
        inbox.fill(&mut &[b'd', 0, 0, 0, 3][..]).unwrap();
        assert!(inbox.next(usize::MAX).is_err());
    }
}
