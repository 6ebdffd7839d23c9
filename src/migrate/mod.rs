//! Numbered migrations, up and down: read from files, checked, linted, guarded and
//! applied. The state schema is installed by the same engine.

pub mod batch;
pub mod chain;
pub mod check;
pub mod diff;
pub mod event;
pub mod facts;
pub mod folder;
pub mod guard;
pub mod history;
pub mod lint;
pub mod lock;
pub mod plan;
pub mod recover;
mod rewrite;
pub mod run;
pub mod script;
pub mod session;
pub mod snapshot;
pub mod syntax;
pub mod trace;
mod walk;
pub mod watch;

pub use folder::{Down, Folder, Migration};
pub use script::{Script, Step};
