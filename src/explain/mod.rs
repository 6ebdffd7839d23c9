//! Why a query is slow, and proof that the advice works.
//!
//! The plan is read into a model that never fails on what it does not know ([`plan`]),
//! rules say in plain words where the time goes ([`diagnose`]). What the query asks of
//! each table comes from the server itself: a plan made with every index path turned off
//! shows all conditions, joins and orders with names resolved and views expanded
//! ([`usage`]).

pub mod advise;
pub mod candidate;
pub mod catalog;
pub mod diagnose;
pub mod examine;
pub mod experiment;
pub mod expression;
pub mod laboratory;
pub mod migration;
pub mod name;
pub mod plan;
pub mod report;
pub mod rewrite;
pub mod run;
pub mod settle;
pub mod statement;
pub mod top;
pub mod usage;
pub mod used;
pub mod words;
pub mod writes;
