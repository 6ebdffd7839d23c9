//! Keeps copiers out while one huge source transaction is applied in pieces.
//!
//! Every wait of a batch for a copier's claim comes before the batch's first
//! write, else applier and copier could wait for each other's rows. A transaction
//! that is written in several pieces would wait after its first write; so it takes
//! this barrier first, which every copier holds from before its claim until after
//! its release.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Shared by the applier and the copiers of one daemon.
#[derive(Debug, Clone, Default)]
pub struct CopyBarrier(Arc<RwLock<()>>);

/// A copier works on a chunk.
#[derive(Debug)]
pub struct Copying(#[allow(dead_code)] OwnedRwLockReadGuard<()>);

/// No copier of this process works on a chunk.
#[derive(Debug)]
pub struct Alone(#[allow(dead_code)] OwnedRwLockWriteGuard<()>);

impl CopyBarrier {
    pub async fn copying(&self) -> Copying {
        Copying(self.0.clone().read_owned().await)
    }

    pub async fn alone(&self) -> Alone {
        Alone(self.0.clone().write_owned().await)
    }
}
