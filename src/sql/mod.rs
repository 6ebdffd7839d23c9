//! SQL text: tokens, statements with their exact places, and what each statement
//! does. The one wrapper around `squawk-syntax` and `squawk-linter`, whose
//! interfaces change from release to release: nothing outside of this folder names
//! them. Pure; no database is asked anything.

pub mod linter;
mod operation;
pub mod output;
pub mod place;
pub mod query;
mod reading;
pub mod reference;
mod statement;
pub mod token;
mod tree;

pub use operation::{ConstraintKind, NewColumn, NewConstraint, ObjectKind, Operation};
pub use place::Place;
pub use statement::{Name, Part, Statement, SyntaxError, show, split};
