//! The switch: gates, a short lock, drain, one transaction, one of three outcomes.

pub mod attempt;
pub mod blockers;
pub mod direction;
pub mod gates;
pub mod hooks;
pub mod journal;
pub mod outcome;
pub mod sequences;
pub mod statistics;
pub mod strategy;
pub mod switch;

pub use direction::Direction;
pub use outcome::{Outcome, Report};
pub use switch::{Options, switch};
