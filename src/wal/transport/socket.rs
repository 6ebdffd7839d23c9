//! The bytes' way: TCP, TLS over TCP, or a unix socket; blocking, with timeouts.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::error::{Error, Kind, Result};
use crate::pg::conninfo::{ConnInfo, Host};
use crate::pg::tls::{self, Encryption};
use crate::pg::{certificate, connect};

/// A peer that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

pub enum Socket {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, Buffered>>),
    Unix(UnixStream),
}

impl Socket {
    /// Connects and, where asked, completes the TLS handshake.
    pub fn open(info: &ConnInfo, way: Encryption, deadline: Instant) -> Result<Self> {
        let socket = match (&info.host, info.socket_file()) {
            (_, Some(path)) => Self::Unix(UnixStream::connect(&path).map_err(|e| lost(info, &e))?),
            (Host::Tcp(host), None) => Self::Tcp(tcp(info, host, deadline)?),
            (Host::Unix(_), None) => return Err(connect::timed_out(info)),
        };
        socket
            .set_write_timeout(WRITE_TIMEOUT)
            .and_then(|()| socket.set_read_timeout(left(deadline)))
            .map_err(|e| lost(info, &e))?;
        match (socket, way) {
            (Self::Tcp(tcp), Encryption::Offered | Encryption::Required) => encrypt(info, tcp, way),
            (socket, _) => Ok(socket),
        }
    }

    /// How long a read waits before it answers `WouldBlock`.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_read_timeout(Some(timeout)),
            Self::Tls(tls) => tls.get_ref().tcp.set_read_timeout(Some(timeout)),
            Self::Unix(unix) => unix.set_read_timeout(Some(timeout)),
        }
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_write_timeout(Some(timeout)),
            Self::Tls(tls) => tls.get_ref().tcp.set_write_timeout(Some(timeout)),
            Self::Unix(unix) => unix.set_write_timeout(Some(timeout)),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether bytes have come in that were not read; known only under TLS.
    pub fn has_more(&self) -> bool {
        matches!(self, Self::Tls(tls) if !tls.get_ref().bytes.is_empty())
    }

    /// The data of SCRAM's channel binding, over TLS.
    pub fn end_point_digest(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(tls) => certificate::end_point_digest(tls.conn.peer_certificates()?.first()?),
            _ => None,
        }
    }
}

/// Reads ahead below TLS, which by itself asks the kernel for 4 KiB at a time.
pub struct Buffered {
    tcp: TcpStream,
    scratch: Box<[u8]>,
    /// What of `scratch` is filled and not read.
    bytes: Range<usize>,
}

impl Buffered {
    fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            scratch: vec![0; super::inbox::CHUNK].into_boxed_slice(),
            bytes: 0..0,
        }
    }
}

impl Read for Buffered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes = 0..self.tcp.read(&mut self.scratch)?;
        }
        let count = buf.len().min(self.bytes.len());
        let end = self.bytes.start + count;
        buf[..count].copy_from_slice(&self.scratch[self.bytes.start..end]);
        self.bytes.start = end;
        Ok(count)
    }
}

impl Write for Buffered {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tcp.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buf),
            Self::Tls(tls) => tls.read(buf),
            Self::Unix(unix) => unix.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(buf),
            Self::Tls(tls) => tls.write(buf),
            Self::Unix(unix) => unix.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
            Self::Unix(unix) => unix.flush(),
        }
    }
}

/// What is left until `deadline`; never zero, which sockets take for "no limit".
pub fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// The connection to the server could not be made, or broke.
pub fn lost(info: &ConnInfo, cause: &io::Error) -> Error {
    if let Some(tls) = cause.get_ref().and_then(|e| e.downcast_ref()) {
        return tls::explain(info, tls);
    }
    match cause.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => connect::timed_out(info),
        _ => Error::new(Kind::Connection, format!("{info}: {cause}")),
    }
}

/// Tries each address of the name until one answers.
fn tcp(info: &ConnInfo, host: &str, deadline: Instant) -> Result<TcpStream> {
    let addresses = (host, info.port)
        .to_socket_addrs()
        .map_err(|e| lost(info, &e))?;
    let mut failed = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|e| lost(info, &e))?;
                return Ok(stream);
            }
            Err(e) => failed = Some(lost(info, &e)),
        }
    }
    Err(failed.unwrap_or_else(|| {
        Error::new(Kind::Connection, format!("{info}: the host has no address"))
    }))
}

/// Asks for TLS and shakes hands.
fn encrypt(info: &ConnInfo, mut tcp: TcpStream, way: Encryption) -> Result<Socket> {
    let broke = |e: io::Error| lost(info, &e);
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).map_err(broke)?;
    // Exactly one byte: what an attacker adds in clear text must not be taken
    // for the server's later, encrypted answer.
    let mut answer = [0];
    tcp.read_exact(&mut answer).map_err(broke)?;
    if answer != *b"S" {
        return match way {
            Encryption::Required => Err(tls::not_offered(info)),
            _ => Ok(Socket::Tcp(tcp)),
        };
    }
    let Host::Tcp(host) = &info.host else {
        return Ok(Socket::Tcp(tcp));
    };
    let name = ServerName::try_from(host.clone()).map_err(|_| {
        Error::new(
            Kind::Config,
            format!("{info}: the host is not a name that TLS can use"),
        )
    })?;
    let settings = Arc::new(tls::client_config(info)?);
    let mut session = ClientConnection::new(settings, name).map_err(|e| tls::explain(info, &e))?;
    while session.is_handshaking() {
        session.complete_io(&mut tcp).map_err(broke)?;
    }
    Ok(Socket::Tls(Box::new(StreamOwned::new(
        session,
        Buffered::new(tcp),
    ))))
}
