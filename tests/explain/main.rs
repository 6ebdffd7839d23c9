//! `crossfade explain` on real servers and on plans that were taken from them.

mod advice;
mod command;
mod limits;
mod listing;
mod plans;
mod ranking;
mod usage;
mod world;
