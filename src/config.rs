//! `crossfade.toml`: few settings, unknown keys refused.

pub mod live;
pub mod size;
pub mod throttle;
pub mod window;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};
use crate::pg::QualifiedName;
pub use live::Live;
pub use throttle::{Slot, Throttle};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names slot, publication, state rows and metrics.
    pub name: String,
    /// Module folders, absolute.
    pub transforms: Vec<PathBuf>,
    /// Connection string of the source, environment applied. Never logged.
    pub source_url: String,
    /// Connection string of the target, where it is not the source.
    pub target_url: Option<String>,
    pub copy: Copy,
    pub throttle: Throttle,
    pub slot_guard: Slot,
    pub verify: Verify,
    pub metrics: Option<Metrics>,
    pub switch: Switch,
    pub hooks: Hooks,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    transforms: Vec<PathBuf>,
    source: Option<Endpoint>,
    target: Option<Endpoint>,
    #[serde(default)]
    copy: Copy,
    #[serde(default)]
    throttle: Throttle,
    #[serde(default)]
    slot: Slot,
    #[serde(default)]
    verify: Verify,
    metrics: Option<Metrics>,
    #[serde(default)]
    switch: Switch,
    #[serde(default)]
    hooks: Hooks,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    url: String,
}

/// The URL may hold a password.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Endpoint { .. }")
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Copy {
    /// Source rows per chunk; where the size adapts, of the first ones.
    pub batch_rows: u32,
    /// The least that an adapting size goes down to.
    pub batch_rows_min: u32,
    /// The most that it goes up to; `None` keeps it at `batch_rows`.
    pub batch_rows_max: Option<u32>,
    /// How long a chunk of an adapting size should take.
    pub batch_ms: u64,
    /// How much a chunk of an adapting size should read at most.
    #[serde(deserialize_with = "size::bytes")]
    pub batch_bytes: u64,
    /// Copiers, each with a connection of its own.
    pub workers: u32,
    /// Pause of each copier after each chunk, in milliseconds.
    pub sleep_ms: u64,
}

impl Default for Copy {
    fn default() -> Self {
        Self {
            batch_rows: 1000,
            batch_rows_min: 100,
            batch_rows_max: None,
            batch_ms: 200,
            batch_bytes: 8 << 20,
            workers: 2,
            sleep_ms: 0,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// The daemon verifies by itself once the copy is complete.
    pub continuous: bool,
    /// Hours between its passes over everything.
    pub full_every_hours: f64,
    /// Ranges that it compares at a time, each on a connection of its own.
    pub workers: u32,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            continuous: true,
            full_every_hours: 24.0,
            workers: 1,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address of the Prometheus endpoint, `host:port`.
    pub listen: std::net::SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    pub strategy: Strategy,
    /// How long one attempt may wait for the lock on the old tables.
    pub lock_timeout_ms: u32,
    /// How long the lock may be held before the attempt is given up.
    pub max_stall_ms: u32,
    /// Attempts before `switch` gives up.
    pub attempts: u32,
    /// A stream that is further behind is not switched.
    pub max_lag_seconds: f64,
    /// An older certificate of verification is not enough to switch on.
    pub max_certificate_age_hours: f64,
    /// With more keys changed since the certificate, verify again first.
    pub max_changed_keys: u64,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rename,
            lock_timeout_ms: 300,
            max_stall_ms: 800,
            attempts: 20,
            max_lag_seconds: 5.0,
            // Twice the time between two passes of the daemon's own: one may be under way.
            max_certificate_age_hours: 48.0,
            max_changed_keys: 500_000,
        }
    }
}

/// Ten years.
const MOST_HOURS: f64 = 87_600.0;
/// Commands of the user's around the switch, run by `sh -c`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Runs after the gates have passed and before the first lock is asked for.
    pub before_switch: Option<String>,
    /// Runs whenever `before_switch` was begun or a lock asked for, whatever came of it.
    pub after_switch: Option<String>,
    /// How long each may take.
    pub timeout_seconds: u64,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            before_switch: None,
            after_switch: None,
            timeout_seconds: 30,
        }
    }
}

/// A command line may hold a secret.
impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks { .. }")
    }
}

/// What happens to the names at the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The source becomes `<name>_old`; targets take their `rename_to`.
    Rename,
    /// As `rename`, and a view under the old name lets readers and writers of the old
    /// schema go on.
    View,
    /// The source stays; only the module's `moved` columns leave it.
    Columns,
    /// The module's `switch.sql` decides.
    Sql,
}

impl Strategy {
    /// As it is written in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::View => "view",
            Self::Columns => "columns",
            Self::Sql => "sql",
        }
    }
}

impl Config {
    /// Reads and checks the file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Kind::Config`] naming the file and the line or key that is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(Kind::Config, format!("cannot read {}: {e}", path.display()))
                .remedy("give the file with --config, or make one with `crossfade init`")
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).context(path.display())
    }

    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        // toml's message shows the offending line, which may be the one with the
        // password in it: keep its reason and the line's number only.
        let file: File = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |s| {
                text[..s.start.min(text.len())].matches('\n').count() + 1
            });
            Error::new(Kind::Config, format!("line {line}: {}", e.message().trim()))
        })?;
        check_name(&file.name)?;
        if file.transforms.is_empty() {
            return Err(Error::new(Kind::Config, "`transforms` lists no module")
                .remedy("name at least one module folder"));
        }
        let range = |what: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::new(
                Kind::Config,
                format!("{what} is {value}; allowed are {low} to {high}"),
            ))
        };
        live::check(&file.throttle, &file.copy)?;
        throttle::check(&file.slot)?;
        range("verify.workers", file.verify.workers.into(), 1, 64)?;
        let hours = file.verify.full_every_hours;
        if !(hours > 0.0 && hours <= MOST_HOURS) {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "verify.full_every_hours is {hours}; allowed are numbers above 0, up to {MOST_HOURS}"
                ),
            ));
        }
        range("switch.attempts", file.switch.attempts.into(), 1, 10_000)?;
        range(
            "switch.lock_timeout_ms",
            file.switch.lock_timeout_ms.into(),
            1,
            60_000,
        )?;
        range(
            "switch.max_stall_ms",
            file.switch.max_stall_ms.into(),
            10,
            60_000,
        )?;
        range("hooks.timeout_seconds", file.hooks.timeout_seconds, 1, 3600)?;
        let age = file.switch.max_certificate_age_hours;
        if age.is_nan() || age <= 0.0 {
            return Err(Error::new(
                Kind::Config,
                "switch.max_certificate_age_hours must be above 0",
            ));
        }
        let source_url = std::env::var("CROSSFADE_SOURCE_URL")
            .ok()
            .or(file.source.map(|e| e.url))
            .ok_or_else(|| {
                Error::new(Kind::Config, "no source database is given")
                    .remedy("set `url` under [source], or CROSSFADE_SOURCE_URL")
            })?;
        let target_url = std::env::var("CROSSFADE_TARGET_URL")
            .ok()
            .or(file.target.map(|e| e.url));
        Ok(Self {
            name: file.name,
            transforms: file.transforms.iter().map(|p| base.join(p)).collect(),
            source_url,
            target_url,
            copy: file.copy,
            throttle: file.throttle,
            slot_guard: file.slot,
            verify: file.verify,
            metrics: file.metrics,
            switch: file.switch,
            hooks: file.hooks,
        })
    }

    /// Name of the slot and of the publication.
    #[must_use]
    pub fn slot(&self) -> String {
        format!("crossfade_{}", self.name)
    }

    /// Name of the slot and of the publication of the way back.
    #[must_use]
    pub fn back_slot(&self) -> String {
        format!("crossfade_{}_back", self.name)
    }
}

/// Slot names allow lower-case letters, digits and underscores, 63 bytes in all.
fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 40
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        format!("`name = \"{name}\"` cannot name a replication slot"),
    )
    .remedy("use 1 to 40 lower-case letters, digits and underscores"))
}

/// Where the rename strategy puts the source table.
#[must_use]
pub fn old_name(source: &QualifiedName) -> QualifiedName {
    // Identifiers end at 63 bytes; cut the stem, not the suffix.
    let mut stem = source.name.clone();
    while stem.len() > 59 {
        stem.pop();
    }
    QualifiedName::new(source.schema.clone(), format!("{stem}_old"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str =
        "name = \"a\"\ntransforms = [\"t\"]\n[source]\nurl = \"postgres://u:secret@h/d\"\n";

    #[test]
    fn defaults_are_sensible_and_paths_relative_to_the_file() {
        let c = Config::parse(SMALL, Path::new("/x")).unwrap();
        assert_eq!(c.copy.batch_rows, 1000);
        assert_eq!(c.transforms, [PathBuf::from("/x/t")]);
        assert_eq!(c.slot(), "crossfade_a");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let e =
            Config::parse(&format!("{SMALL}[copy]\nbatchrows = 3\n"), Path::new("")).unwrap_err();
        assert!(e.to_string().contains("batchrows"), "{e}");
        assert!(e.to_string().contains("line 6"), "{e}");
        assert_eq!(e.exit_code(), 2);
    }

    #[test]
    fn the_daemon_verifies_daily_unless_told_otherwise() {
        let parse = |more: &str| Config::parse(&format!("{SMALL}{more}"), Path::new(""));
        let verify = parse("").unwrap().verify;
        assert!(verify.continuous && verify.full_every_hours > 23.0 && verify.workers == 1);
        let verify = parse("[verify]\ncontinuous = false\nfull_every_hours = 0.5\n");
        assert!(!verify.unwrap().verify.continuous);
        for wrong in [
            "full_every_hours = 0",
            "full_every_hours = nan",
            "workers = 0",
        ] {
            let e = parse(&format!("[verify]\n{wrong}\n")).unwrap_err();
            assert!(e.to_string().contains("verify."), "{e}");
        }
    }

    #[test]
    fn a_limit_at_which_every_slot_would_be_dropped_at_once_is_refused() {
        let parse = |limit: &str| {
            let text = format!("{SMALL}[slot]\ngive_up_wal = {limit}\n");
            Config::parse(&text, Path::new(""))
        };
        for wrong in ["0", "\"0\"", "\"63MiB\""] {
            let e = parse(wrong).unwrap_err();
            assert!(e.to_string().contains("slot.give_up_wal"), "{e}");
            assert!(e.to_string().contains("64MiB"), "{e}");
        }
        assert!(parse("\"off\"").unwrap().slot_guard.give_up_wal.is_none());
        assert!(parse("\"64MiB\"").is_ok());
    }

    #[test]
    fn a_broken_url_line_never_shows_the_password() {
        let text = SMALL.replace("url = ", "url == ");
        let e = Config::parse(&text, Path::new("")).unwrap_err();
        assert!(!e.to_string().contains("secret"), "{e}");
    }

    #[test]
    fn names_that_no_slot_can_have_are_refused() {
        for name in ["", "Orders", "a-b", "ä", &"x".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
