//! The schema `crossfade` in the target database: everything durable.

pub mod back;
pub mod certificate;
pub mod checkpoint;
pub mod chunk;
pub mod guard;
pub mod install;
pub mod migration;
pub mod place;
pub mod publication;
pub mod quarantine;
pub mod recovery;
pub mod setting;
pub mod verification;
pub mod switchover;

pub use chunk::ChunkTable;
pub use migration::Migration;

/// First keys of the two-part advisory locks. The daemon of a migration holds
/// `(DAEMON, migration id)`, a verification `(VERIFY, migration id)`; a copier holds
/// `(CHUNK + source id, chunk id)`.
pub const DAEMON_LOCK: i32 = 0x6366_0000;
pub const VERIFY_LOCK: i32 = 0x6367_0000;
/// `(SWITCH, migration id)`: one switch at a time.
pub const SWITCH_LOCK: i32 = 0x6386_0000;
pub const CHUNK_LOCK: i32 = 0x6376_0000;
