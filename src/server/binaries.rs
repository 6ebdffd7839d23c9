//! Where `PostgreSQL`'s server programs are, and as whom they run.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Kind, Result};

/// Names the directory with `initdb` and `postgres`, before any search.
pub const BIN_VARIABLE: &str = "CROSSFADE_PG_BIN";
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// The account the server runs under when this process is root: `PostgreSQL`
/// refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// The server programs of one `PostgreSQL` installation.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub dir: PathBuf,
    /// What `postgres --version` prints.
    pub version: String,
    /// The account to change to; `None` when this process is not root.
    pub account: Option<Account>,
    /// The numeric user id the server's files belong to.
    pub owner: u32,
}

impl Binaries {
    /// Looks at `CROSSFADE_PG_BIN`, then at the newest `/usr/lib/postgresql/*/bin`,
    /// then at every directory of `PATH`.
    ///
    /// # Errors
    /// [`Kind::Precondition`] when no server is installed, or when this is root
    /// and there is no account to change to.
    pub fn find() -> Result<Self> {
        let dir = match std::env::var_os(BIN_VARIABLE) {
            Some(named) => {
                let dir = PathBuf::from(named);
                if !has_server(&dir) {
                    return Err(Error::new(
                        Kind::Precondition,
                        format!("{BIN_VARIABLE} names {}, which holds no initdb and postgres", dir.display()),
                    )
                    .remedy(format!("set {BIN_VARIABLE} to the bin directory of a PostgreSQL server, or unset it")));
                }
                dir
            }
            None => newest_debian().or_else(on_path).ok_or_else(missing)?,
        };
        let version = output(Command::new(dir.join("postgres")).arg("--version"))?;
        let uid = number(&["-u"])?;
        let account = if uid == 0 {
            Some(unprivileged()?)
        } else {
            None
        };
        Ok(Self {
            dir,
            version,
            owner: account.map_or(uid, |a| a.uid),
            account,
        })
    }

    /// A command for one of the programs, as the right account, in `cwd`, with
    /// nothing on standard input and no `PG*` settings of the caller.
    #[must_use]
    pub fn command(&self, program: &str, cwd: &Path) -> Command {
        let mut command = Command::new(self.dir.join(program));
        command.current_dir(cwd).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // One language for the messages that are searched for in the log.
        command.env("LC_ALL", "C").env("TZ", "UTC");
        self.as_account(&mut command);
        command
    }

    /// Makes `command` run under the server's account.
    pub fn as_account(&self, command: &mut Command) {
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Gives `path` to the server's account.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn give(&self, path: &Path) -> Result<()> {
        if let Some(account) = self.account {
            std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
                .context(format!("changing the owner of {}", path.display()))?;
        }
        Ok(())
    }

    /// A short name for exactly this installation and owner.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.dir.hash(&mut hasher);
        self.version.hash(&mut hasher);
        let number = self
            .version
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or("unknown");
        format!("{number}-{}-{:08x}", self.owner, hasher.finish() >> 32)
    }
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// [`Kind::Io`] with the last lines of its standard error when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let done = command
        .stdin(Stdio::null())
        .output()
        .context(format!("starting {name}"))?;
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        return Err(Error::new(
            Kind::Io,
            format!(
                "{name} failed ({}): {}",
                done.status,
                super::last_lines(&stderr, 8)
            ),
        ));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn has_server(dir: &Path) -> bool {
    dir.join("initdb").is_file() && dir.join("postgres").is_file()
}

fn newest_debian() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN_ROOT)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            has_server(&bin).then_some((major, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths::<OsStr>(&path).find(|dir| has_server(dir))
}

fn missing() -> Error {
    Error::new(
        Kind::Precondition,
        format!("no PostgreSQL server found: looked at {BIN_VARIABLE}, {DEBIAN_ROOT}/*/bin and PATH"),
    )
    .remedy(format!("apt-get install postgresql, or set {BIN_VARIABLE} to the directory that holds initdb and postgres"))
}

/// Numbers from `id`, as the standard library knows no effective user id.
fn number(args: &[&str]) -> Result<u32> {
    output(Command::new("id").args(args))?.parse().map_err(|_| {
        Error::new(
            Kind::Io,
            format!("`id {}` printed no number", args.join(" ")),
        )
    })
}

fn unprivileged() -> Result<Account> {
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| {
            let uid = number(&["-u", name]).ok()?;
            let gid = number(&["-g", name]).ok()?;
            (uid != 0).then_some(Account { uid, gid })
        })
        .ok_or_else(|| {
            Error::new(
                Kind::Precondition,
                "PostgreSQL does not run as root, and neither `postgres` nor `nobody` exists",
            )
            .remedy("run as another user, or create the user `postgres`")
        })
}
