//! Applies the stream's changes to the targets: collect, gate, fence, resolve,
//! write, checkpoint.

pub mod applier;
pub mod batch;
pub mod collect;
pub mod fence;
pub mod fencing;
pub mod gate;
pub mod pump;
pub mod relation;
pub mod reread;
pub mod resolve;
pub mod settle;
pub mod stats;

pub use applier::Applier;
pub use stats::Stats;
