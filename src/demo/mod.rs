//! The whole story on a throwaway server: `crossfade demo` and the integration
//! tests stand on the same pieces.

pub mod shop;
pub mod application;
pub mod baseline;
pub mod listing;
pub mod story;
