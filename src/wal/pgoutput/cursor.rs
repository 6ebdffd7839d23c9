//! Reads fields off one message and knows, for errors, which message and where.

use bytes::{Buf, Bytes};

use crate::error::{Error, Kind, Result};
use crate::pg::Lsn;

pub struct Cursor {
    kind: u8,
    length: usize,
    rest: Bytes,
}

impl Cursor {
    /// Takes the kind byte.
    pub fn new(mut bytes: Bytes) -> Result<Self> {
        let length = bytes.len();
        let kind = bytes
            .try_get_u8()
            .map_err(|_| Error::new(Kind::Protocol, "pgoutput: an empty message"))?;
        Ok(Self {
            kind,
            length,
            rest: bytes,
        })
    }

    pub fn kind(&self) -> u8 {
        self.kind
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn u8(&mut self, field: &str) -> Result<u8> {
        self.rest.try_get_u8().map_err(|_| self.short(field))
    }

    pub fn u16(&mut self, field: &str) -> Result<u16> {
        self.rest.try_get_u16().map_err(|_| self.short(field))
    }

    pub fn u32(&mut self, field: &str) -> Result<u32> {
        self.rest.try_get_u32().map_err(|_| self.short(field))
    }

    pub fn i32(&mut self, field: &str) -> Result<i32> {
        self.rest.try_get_i32().map_err(|_| self.short(field))
    }

    pub fn i64(&mut self, field: &str) -> Result<i64> {
        self.rest.try_get_i64().map_err(|_| self.short(field))
    }

    pub fn lsn(&mut self, field: &str) -> Result<Lsn> {
        self.rest
            .try_get_u64()
            .map(Lsn)
            .map_err(|_| self.short(field))
    }

    /// Bytes behind their 32-bit length.
    pub fn counted(&mut self, field: &str) -> Result<Bytes> {
        let length = self.i32(field)?;
        let length = usize::try_from(length)
            .map_err(|_| self.error(&format!("the length of {field} is negative")))?;
        if length > self.rest.len() {
            return Err(self.short(field));
        }
        Ok(self.rest.split_to(length))
    }

    /// UTF-8 up to a zero byte.
    pub fn string(&mut self, field: &str) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let text = self
            .rest
            .split_to(end.ok_or_else(|| self.error(&format!("{field} has no end")))?);
        let text = std::str::from_utf8(&text)
            .map_err(|_| self.error(&format!("{field} is not UTF-8")))?
            .to_owned();
        self.rest.advance(1);
        Ok(text)
    }

    /// The message must end here.
    pub fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.error(&format!("{left} bytes follow its end"))),
        }
    }

    /// The byte just read is none that the protocol knows.
    pub fn unexpected(&self, field: &str, byte: u8) -> Error {
        self.error(&format!("{field} is {byte:#04x}"))
    }

    fn short(&self, field: &str) -> Error {
        self.error(&format!("it ends within {field}"))
    }

    fn error(&self, why: &str) -> Error {
        let name = match self.kind {
            b'B' => "Begin",
            b'C' => "Commit",
            b'O' => "Origin",
            b'R' => "Relation",
            b'Y' => "Type",
            b'I' => "Insert",
            b'U' => "Update",
            b'D' => "Delete",
            b'T' => "Truncate",
            b'M' => "Message",
            _ => "an unknown message",
        };
        let at = self.length - self.rest.len();
        Error::new(
            Kind::Protocol,
            format!(
                "pgoutput: {name} of {} bytes: {why} (at byte {at})",
                self.length
            ),
        )
    }
}
