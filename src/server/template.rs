//! A data directory in a tenth of a second: `initdb` runs once per installation
//! and owner, later servers copy what it made.
//!
//! A copy would share its system identifier with every other copy, and crossfade
//! tells servers apart by it. So each copy gets an identifier of its own, written
//! in the two places where it is kept: `global/pg_control` (covered by a CRC-32C
//! at the end of the structure) and the long header of the first WAL page.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::binaries::{Binaries, output};
use crate::error::{Context, Error, Kind, Result};

/// Superuser of every server made here.
pub const SUPERUSER: &str = "postgres";

/// Fills `data`, which must not exist yet, with a fresh cluster.
///
/// # Errors
/// When `initdb` fails or the directory cannot be written.
pub fn create(binaries: &Binaries, data: &Path) -> Result<()> {
    let copied = template(binaries)
        .and_then(|template| copy(binaries, &template, data))
        .and_then(|()| new_identifier(data));
    if copied.is_ok() {
        return Ok(());
    }
    // The cache is an optimization: whatever is wrong with it, a plain initdb
    // still works, and reports what really stands in the way.
    if data.exists() {
        fs::remove_dir_all(data).context(format!("removing {}", data.display()))?;
    }
    initdb(binaries, data)
}

fn initdb(binaries: &Binaries, data: &Path) -> Result<()> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    output(
        binaries
            .command("initdb", parent)
            .arg("--pgdata")
            .arg(data)
            .args(["--username", SUPERUSER, "--auth", "trust"])
            .args([
                "--no-locale",
                "--encoding",
                "UTF8",
                "--no-sync",
                "--no-instructions",
            ]),
    )
    .map(drop)
    .context(format!("creating a cluster in {}", data.display()))
}

/// The template's directory, made by whoever comes first. Several processes may
/// race: each builds under a name of its own, the first rename wins.
fn template(binaries: &Binaries) -> Result<PathBuf> {
    let temp = std::env::temp_dir();
    let path = temp.join(format!("crossfade-initdb-{}", binaries.key()));
    if let Ok(found) = fs::symlink_metadata(&path) {
        // The temp directory is everybody's: take nothing that others could write.
        if found.is_dir() && found.uid() == binaries.owner && found.mode().trailing_zeros() >= 6 {
            return Ok(path);
        }
        return Err(Error::new(
            Kind::Io,
            format!(
                "{} is not a private directory of the server's account",
                path.display()
            ),
        ));
    }
    let building = temp.join(format!(
        "crossfade-initdb-{}-{:016x}",
        std::process::id(),
        fastrand::u64(..)
    ));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&building)
        .context(format!("creating {}", building.display()))?;
    let made = binaries
        .give(&building)
        .and_then(|()| initdb(binaries, &building));
    let renamed = made.is_ok() && fs::rename(&building, &path).is_ok();
    if !renamed {
        let _ = fs::remove_dir_all(&building);
    }
    made?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(Error::new(
            Kind::Io,
            format!("could not create {}", path.display()),
        ))
    }
}

fn copy(binaries: &Binaries, template: &Path, data: &Path) -> Result<()> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    let mut cp = Command::new("cp");
    cp.args(["-a", "--reflink=auto"]).arg(template).arg(data);
    cp.current_dir(parent);
    binaries.as_account(&mut cp);
    output(&mut cp).map(drop)
}

const WAL_SYSTEM_IDENTIFIER_AT: u64 = 24;

/// Gives the cluster in `data` a system identifier of its own.
fn new_identifier(data: &Path) -> Result<()> {
    let control_path = data.join("global/pg_control");
    let mut control = fs::read(&control_path).context("reading pg_control")?;
    let bad = |why: &str| Error::new(Kind::Io, format!("{}: {why}", control_path.display()));
    let crc_at = crc_position(&control).ok_or_else(|| bad("no checksum found"))?;
    let old: [u8; 8] = control[..8].try_into().map_err(|_| bad("too short"))?;
    let new = identifier().to_ne_bytes();

    let segments: Vec<PathBuf> = fs::read_dir(data.join("pg_wal"))
        .context("reading pg_wal")?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    for segment in segments {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&segment)
            .context(format!("opening {}", segment.display()))?;
        let mut found = [0_u8; 8];
        file.read_exact_at(&mut found, WAL_SYSTEM_IDENTIFIER_AT)
            .context(format!("reading {}", segment.display()))?;
        if found != old {
            return Err(bad("its system identifier is not the one in pg_wal"));
        }
        file.write_all_at(&new, WAL_SYSTEM_IDENTIFIER_AT)
            .context(format!("writing {}", segment.display()))?;
    }
    control[..8].copy_from_slice(&new);
    let crc = crc32c(&control[..crc_at]).to_ne_bytes();
    control[crc_at..crc_at + 4].copy_from_slice(&crc);
    fs::write(&control_path, control).context("writing pg_control")
}

/// As the server makes them: the time in the upper half, here chance in the lower.
fn identifier() -> u64 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    (seconds << 32) | u64::from(fastrand::u32(..))
}

/// The structure's length differs between versions; its checksum is its last
/// field and covers all before it, so the place where that holds is the end.
fn crc_position(control: &[u8]) -> Option<usize> {
    (64..512.min(control.len().saturating_sub(4)))
        .step_by(4)
        .find(|&at| crc32c(&control[..at]).to_ne_bytes() == control[at..at + 4])
}

/// CRC-32C (Castagnoli), bit by bit: it runs over some 300 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_castagnoli_one() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn the_control_files_checksum_is_found_at_the_structures_end() {
        let mut control = vec![7_u8; 400];
        let crc = crc32c(&control[..288]).to_ne_bytes();
        control[288..292].copy_from_slice(&crc);
        assert_eq!(crc_position(&control), Some(288));
    }
}
