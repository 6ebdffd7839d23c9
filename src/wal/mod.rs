//! The slot: bytes → messages → transactions.

pub mod pgoutput;
pub mod reader;
pub mod transport;
