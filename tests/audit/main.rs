//! The audit on real servers.

#[path = "../program/mod.rs"]
mod program;

mod plan;
mod diagram;
mod freight;
mod report;
mod billing;
mod clinic;
mod command;
mod hostile;
mod pages;
mod place;
mod shop;
mod steps;
mod truth;
mod whole;
