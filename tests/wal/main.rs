//! Connections, slots and the stream against a real server.

mod limits;
mod login;
mod outage;
mod server;
mod stream;
