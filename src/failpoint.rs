//! Named pause points and removable guards, for tests that must hit one instant.
//!
//! Without the feature `failpoints` both functions are constants that the
//! compiler removes. With it, two environment variables steer them:
//!
//! - `CROSSFADE_FAILPOINTS=name=dir[,name=dir]`: at `name` the process creates
//!   `dir/reached` and goes on only when `dir/go` exists.
//! - `CROSSFADE_OMIT=guard[,guard]`: leaves out the guard of that name, so that a
//!   test can show that the guard is needed.

/// Pauses here while a test holds this point.
#[cfg(not(feature = "failpoints"))]
#[allow(clippy::unused_async)]
pub async fn hit(_name: &str) {}

/// Whether a test has taken this guard out.
#[cfg(not(feature = "failpoints"))]
#[must_use]
pub const fn omitted(_guard: &str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::{hit, omitted};

#[cfg(feature = "failpoints")]
mod armed {
    use std::path::Path;
    use std::time::Duration;

    pub async fn hit(name: &str) {
        let Ok(spec) = std::env::var("CROSSFADE_FAILPOINTS") else {
            return;
        };
        for (point, dir) in spec.split(',').filter_map(|s| s.split_once('=')) {
            if point == name {
                let dir = Path::new(dir);
                let _ = std::fs::write(dir.join("reached"), b"");
                while !dir.join("go").exists() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }

    #[must_use]
    pub fn omitted(guard: &str) -> bool {
        std::env::var("CROSSFADE_OMIT").is_ok_and(|s| s.split(',').any(|g| g == guard))
    }
}
