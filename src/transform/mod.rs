//! Transform modules: one definition of the change, bound to the database, and
//! the SQL that copy, stream, verify and preview make of it.

pub mod again;
pub mod bind;
mod carried;
pub mod depend;
pub mod merge;
pub mod module;
pub mod plan;
pub mod reverse;
pub mod script;
pub mod sql;

pub use module::{Mode, Module, TargetSpec};
pub use plan::{Dependencies, Plan, Target};
pub use reverse::Reverse;
