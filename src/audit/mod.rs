//! What is wrong with a schema, proven: the catalog as a value, the rules that look at
//! it, and their findings.
//!
//! A rule is pure: it looks at what was read ([`schema::Database`] and the samples of
//! its tables) and says what is wrong, or which one question to the server would decide
//! it. All reading is done in one read-only session.

pub mod baseline;
pub mod belongings;
pub mod catalog;
pub mod dependency;
pub mod derivation;
pub mod diagram;
pub mod document;
pub mod enumeration;
pub mod facts;
pub mod finding;
pub mod fix;
pub mod habit;
pub mod inspect;
pub mod likeness;
pub mod moment;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod question;
pub mod rank;
pub mod reference;
pub mod rule;
pub mod report;
pub mod schema;
pub mod selection;
pub mod statement;
pub mod twin;
pub mod value;
pub mod word;

pub use finding::Finding;
pub use fix::Fix;
pub use inspect::{Audit, Options, Step, inspect};
pub use schema::Database;
