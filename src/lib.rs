//! crossfade restructures a live `PostgreSQL` schema with zero downtime.
//!
//! The map of the whole is `docs/ARCHITECTURE.md`. Modules are listed here from
//! the lowest layer to the highest; a module imports only from those above it in
//! this list, and `tests/structure.rs` checks that.

pub mod error;
pub mod failpoint;
pub mod log;
pub mod phase;
pub mod metrics;
pub mod pg;
pub mod sql;
pub mod server;
pub mod migrate;
pub mod audit;
pub mod explain;
pub mod config;
pub mod transform;
pub mod state;
pub mod wal;
pub mod write;
pub mod apply;
pub mod reverse;
pub mod copy;
pub mod verify;
pub mod cutover;
pub mod preflight;
pub mod daemon;
pub mod status;
pub mod endpoint;
pub mod demo;
pub mod commands;
pub mod cli;
