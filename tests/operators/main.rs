//! What operators have: brakes that say why, a guard of the WAL, a standby, metrics and
//! a page. The real daemon on real servers.

mod batches;
mod browser;
mod endpoint;
mod failover;
mod http;
mod page;
mod plans;
mod prometheus;
mod recovery;
mod replica;
mod sizing;
mod standby;
#[path = "../support/mod.rs"]
mod support;
mod throttle;
mod wal_guard;
mod watch;
