//! The way back: after a switch the changes of the targets are followed and the old
//! table's rows rebuilt, so that a switch back loses nothing.
//!
//! ```text
//! slot → messages → touched keys (touched) → gate → rebuilt rows + checkpoint (applier)
//! ```
//!
//! No image travels: a change says only which source keys it touches, and the row is
//! rebuilt by the module's reverse from what the targets hold at that moment. What is
//! read is at least as new as the change (the release gate); where it is newer, the
//! newer change is still in the stream and rebuilds the row again. So rebuilding is
//! idempotent, order matters only in that every change is followed by a read, and a
//! huge transaction needs no memory but for its keys, which are written in pieces.

pub mod applier;
pub mod relation;
pub mod touched;
mod write;

pub use applier::Applier;
