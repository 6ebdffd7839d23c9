//! `crossfade migrate` against real servers: the program as a child process, and what is
//! in the database afterwards.

mod batches;
mod classes;
mod database;
mod documents;
mod guard;
mod input;
mod lint;
mod locks;
mod numbers;
mod resume;
mod shop;
mod snapshot;
mod state;
mod trace;
