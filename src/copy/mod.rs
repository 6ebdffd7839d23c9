//! Copies history: plans chunks, claims them, writes each with its snapshot.

pub mod again;
pub mod chunk;
pub mod planner;
pub mod sizing;
pub mod slow;
pub mod throttle;
pub mod worker;

pub use planner::{Queue, Work};
pub use throttle::Throttle;
pub use worker::{Setup, Worker};
