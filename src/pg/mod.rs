//! `PostgreSQL` primitives with no policy: connections, quoting, catalog,
//! snapshots, slots.

pub mod catalog;
pub mod certificate;
pub mod connect;
pub mod conninfo;
pub mod ends;
pub mod ident;
pub mod lsn;
pub mod slot;
pub mod snapshot;
pub mod standby;
pub mod tls;

pub use connect::{SessionLimits, connect, connect_with};
pub use conninfo::ConnInfo;
pub use ident::{QualifiedName, quote};
pub use lsn::Lsn;
pub use snapshot::{Snapshot, widen_xid};
