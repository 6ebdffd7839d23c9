//! The target transaction: statements over batches of row images, with bad rows
//! isolated, on one session.

pub mod barrier;
pub mod restore;
pub mod rows;
pub mod session;

pub use barrier::CopyBarrier;
pub use rows::{Change, Image, Rejected, Text};
pub use session::Session;
