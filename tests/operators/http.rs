//! The least that is needed to ask an HTTP server on this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn open(port: u16, request: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

pub fn get(port: u16, path: &str) -> std::io::Result<Answer> {
    ask(port, "GET", path)
}

pub fn ask(port: u16, method: &str, path: &str) -> std::io::Result<Answer> {
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut text = String::new();
    open(port, &request)?.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok(Answer {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

/// Below the range from which the kernel takes the ports of outgoing connections: one of
/// that range may be somebody's before it is bound here.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a query's part of a URL may not hold, encoded.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}
