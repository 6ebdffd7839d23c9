//! A replication connection: blocking, on the frontend/backend protocol.
//!
//! Every wait is bounded: connecting and logging in by `connect_timeout`,
//! commands by [`COMMAND_TIMEOUT`], writes by the socket's write timeout, and
//! [`Transport::receive`] by the read timeout that streaming sets.

mod frame;
mod inbox;
mod login;
mod refusal;
mod socket;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, Lsn, connect, quote, tls};
pub use frame::{Copy, Status};
use inbox::Inbox;
use socket::{Socket, left, lost};

/// Bound on the answer to one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// No answer before streaming is anywhere near this long.
const LARGEST_ANSWER: usize = 16 << 20;
/// The server sends no message longer than 1 GiB.
const LARGEST_FRAME: usize = (1 << 30) + 64;
/// What IDENTIFY_SYSTEM answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Equal for a primary and its standbys, different for everybody else.
    pub identifier: String,
    /// Grows with every failover.
    pub timeline: u32,
    /// The flushed end of the log.
    pub position: Lsn,
}

/// How the connection stands after one [`Transport::receive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Some bytes, and likely more behind them.
    Bytes { more: bool },
    /// The read timeout passed without a byte.
    Nothing,
}

pub struct Transport {
    info: ConnInfo,
    socket: Socket,
    inbox: Inbox,
    outbox: BytesMut,
    deadline: Instant,
}

impl Transport {
    /// Opens a session with `replication=database`.
    ///
    /// # Errors
    /// As [`connect::connect_with`].
    pub fn connect(info: &ConnInfo, purpose: &str) -> Result<Self> {
        let mut failed = None;
        for way in tls::attempts(info.ssl_mode()) {
            match Self::attempt(info, purpose, *way) {
                Ok(transport) => return Ok(transport),
                Err(error) if connect::may_try_next(&error) => {
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(|| connect::timed_out(info)))
    }

    fn attempt(info: &ConnInfo, purpose: &str, way: tls::Encryption) -> Result<Self> {
        let deadline = Instant::now() + info.connect_timeout;
        let socket = Socket::open(info, way, deadline)?;
        let mut transport = Self {
            info: info.clone(),
            socket,
            inbox: Inbox::new(),
            outbox: BytesMut::new(),
            deadline,
        };
        transport.log_in(purpose)?;
        Ok(transport)
    }

    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }

    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.socket.is_unix()
    }

    /// # Errors
    /// The server's, or [`Kind::Protocol`].
    pub fn identify_system(&mut self) -> Result<System> {
        let rows = self.query("IDENTIFY_SYSTEM")?;
        let [row] = rows.as_slice() else {
            return Err(self.protocol("IDENTIFY_SYSTEM has not one row"));
        };
        let field = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        Ok(System {
            identifier: field(0),
            timeline: field(1)
                .parse()
                .map_err(|_| self.protocol("the timeline is not a number"))?,
            position: field(2).parse()?,
        })
    }

    /// Runs one statement and collects its rows as text; for short answers.
    ///
    /// # Errors
    /// The server's, or a broken connection.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.command(sql)?;
        self.until_ready()
    }

    /// Makes the connection a stream of `slot`'s changes in `publication` from
    /// `start` on. The server silently begins later if the slot is further.
    ///
    /// # Errors
    /// [`Kind::Slot`] when the slot is gone or unusable, [`Kind::Contention`]
    /// while another session streams from it.
    pub fn start_replication(&mut self, slot: &str, publication: &str, start: Lsn) -> Result<()> {
        // Parsed twice: as a string of the replication grammar (where only
        // quotes are doubled, backslashes are plain), then as identifiers.
        let publications = quote(publication).replace('\'', "''");
        self.command(&format!(
            "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names '{publications}', messages 'true')",
            quote(slot)
        ))?;
        loop {
            match self.next_message(LARGEST_ANSWER)? {
                (b'W', _) => return Ok(()),
                (b'N' | b'S', _) => {}
                (b'E', bytes) => {
                    return Err(refusal::starting(slot, self.server_error(bytes)));
                }
                _ => return Err(self.protocol("no stream after START_REPLICATION")),
            }
        }
    }

    /// How long [`Transport::receive`] waits.
    ///
    /// # Errors
    /// [`Kind::Connection`].
    pub fn set_read_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.socket
            .set_read_timeout(timeout)
            .map_err(|e| self.lost(&e))
    }

    /// Reads once, waiting no longer than the read timeout.
    ///
    /// # Errors
    /// [`Kind::Connection`] when the connection broke.
    pub fn receive(&mut self) -> Result<Received> {
        let mut total = 0;
        loop {
            match self.inbox.fill(&mut self.socket) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => total += count,
                Err(e) if is_timeout(&e) && total == 0 => return Ok(Received::Nothing),
                Err(e) if is_timeout(&e) => break,
                Err(e) => return Err(self.lost(&e)),
            }
            // Under TLS one read is one record, often one message: take what
            // has already come in.
            if total >= inbox::CHUNK || !self.socket.has_more() {
                break;
            }
        }
        Ok(Received::Bytes {
            more: total >= inbox::CHUNK,
        })
    }

    /// The next whole frame of what was received.
    ///
    /// # Errors
    /// The server's, or [`Kind::Protocol`].
    pub fn frame(&mut self) -> Result<Option<Copy>> {
        loop {
            let next = self.inbox.next(LARGEST_FRAME);
            let Some((tag, bytes)) = next.map_err(|e| self.lost(&e))? else {
                return Ok(None);
            };
            match tag {
                b'd' => {
                    let copy = Copy::decode(inbox::body(bytes));
                    return copy.map(Some).map_err(|why| self.protocol(&why));
                }
                b'c' => return Ok(Some(Copy::Done)),
                b'N' | b'S' => {}
                b'E' => return Err(refusal::streaming(self.server_error(bytes))),
                _ => return Err(self.closed()),
            }
        }
    }

    /// Drops what was received up to the server's ReadyForQuery; whether that has
    /// come. The server answers a CopyDone with its own at once but gives the slot
    /// free only after that: who goes by the CopyDone still finds the slot in use.
    ///
    /// # Errors
    /// The server's, or [`Kind::Connection`].
    pub fn ended(&mut self) -> Result<bool> {
        loop {
            let next = self.inbox.next(LARGEST_FRAME);
            match next.map_err(|e| self.lost(&e))? {
                None => return Ok(false),
                Some((b'Z', _)) => return Ok(true),
                Some((b'E', bytes)) => return Err(refusal::streaming(self.server_error(bytes))),
                Some(_) => {}
            }
        }
    }

    /// # Errors
    /// [`Kind::Connection`], also when the server takes no bytes for too long.
    pub fn send_status(&mut self, status: Status) -> Result<()> {
        let body = status.encode();
        let data = frontend::CopyData::new(&body[..]).map_err(|e| self.lost(&e))?;
        data.write(&mut self.outbox);
        self.send()
    }

    /// Asks the server to end the stream; it has when [`Transport::ended`] says so.
    ///
    /// # Errors
    /// [`Kind::Connection`].
    pub fn send_copy_done(&mut self) -> Result<()> {
        frontend::copy_done(&mut self.outbox);
        self.send()
    }

    /// Says goodbye; nothing more can be done with the connection.
    pub fn terminate(mut self) {
        frontend::terminate(&mut self.outbox);
        if let Err(error) = self.send() {
            tracing::debug!(%error, "the connection broke while it was closed");
        }
    }

    fn command(&mut self, sql: &str) -> Result<()> {
        self.deadline = Instant::now() + COMMAND_TIMEOUT;
        frontend::query(sql, &mut self.outbox)
            .map_err(|_| Error::new(Kind::Config, "a name contains a zero byte"))?;
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        let sent = self
            .socket
            .write_all(&self.outbox)
            .and_then(|()| self.socket.flush());
        self.outbox.clear();
        sent.map_err(|e| self.lost(&e))
    }

    /// Collects rows up to ReadyForQuery; an error is raised when all is read.
    fn until_ready(&mut self) -> Result<Vec<Vec<Option<String>>>> {
        let mut rows = Vec::new();
        loop {
            match self.message()? {
                Message::DataRow(row) => rows.push(self.text_row(&row)?),
                Message::ReadyForQuery(_) => return Ok(rows),
                _ => {}
            }
        }
    }

    fn text_row(&self, row: &DataRowBody) -> Result<Vec<Option<String>>> {
        row.ranges()
            .map(|range| {
                let value = range.and_then(|range| row.buffer().get(range));
                Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
            })
            .collect()
            .map_err(|e| self.lost(&e))
    }

    /// The next answer before streaming. The server's errors are ours.
    fn message(&mut self) -> Result<Message> {
        loop {
            let (tag, mut bytes) = self.next_message(LARGEST_ANSWER)?;
            match tag {
                b'E' => return Err(self.server_error(bytes)),
                b'N' | b'S' => {}
                _ => {
                    let parsed = Message::parse(&mut bytes).map_err(|e| self.lost(&e))?;
                    return parsed.ok_or_else(|| self.protocol("a message without its end"));
                }
            }
        }
    }

    /// Waits for one whole message, until the deadline.
    fn next_message(&mut self, largest: usize) -> Result<(u8, BytesMut)> {
        loop {
            if let Some(found) = self.inbox.next(largest).map_err(|e| self.lost(&e))? {
                return Ok(found);
            }
            if Instant::now() >= self.deadline {
                return Err(Error::new(
                    Kind::Connection,
                    format!("{}: the server did not answer in time", self.info),
                ));
            }
            self.set_read_timeout(left(self.deadline))?;
            self.receive()?;
        }
    }

    fn server_error(&self, mut bytes: BytesMut) -> Error {
        match Message::parse(&mut bytes) {
            Ok(Some(Message::ErrorResponse(body))) => refusal::read(&body),
            _ => self.protocol("an error that cannot be read"),
        }
    }

    fn lost(&self, cause: &io::Error) -> Error {
        match cause.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                if cause.get_ref().is_none_or(|e| !e.is::<rustls::Error>()) =>
            {
                self.protocol(&cause.to_string())
            }
            _ if is_timeout(cause) => Error::new(
                Kind::Connection,
                format!("{}: the server takes no bytes", self.info),
            ),
            _ => lost(&self.info, cause),
        }
    }

    fn closed(&self) -> Error {
        Error::new(
            Kind::Connection,
            format!(
                "{}: the server closed the replication connection",
                self.info
            ),
        )
    }

    fn protocol(&self, why: &str) -> Error {
        Error::new(Kind::Protocol, format!("{}: {why}", self.info))
    }
}

fn is_timeout(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
