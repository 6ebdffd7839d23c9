//! The audit on real servers.

#[path = "../program/mod.rs"]
mod program;

mod plan;
mod plan_belongings;
mod plan_check;
mod plan_claims;
mod plan_expand;
mod plan_indexes;
mod plan_losses;
mod plan_shared_index;
mod plan_triggers;
mod plan_values;
mod plan_writers;
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
