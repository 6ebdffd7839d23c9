//! The environment, the service file and the password file, as libpq reads them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Where variables are looked up: the process's own, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of a variable of the process; empty counts as not set.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file below the home directory, if there is a home directory.
#[must_use]
pub fn below_home(env: Environment<'_>, name: &str) -> Option<PathBuf> {
    env("HOME").map(|home| Path::new(&home).join(name))
}

/// The keywords of one service, from `PGSERVICEFILE` or `~/.pg_service.conf`,
/// else from `$PGSYSCONFDIR/pg_service.conf`.
///
/// # Errors
/// [`Kind::Config`] when no file defines the service or its lines are not
/// `keyword=value`.
pub fn service(name: &str, env: Environment<'_>) -> Result<Vec<(String, String)>> {
    let own = env("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| below_home(env, ".pg_service.conf"));
    let shared = env("PGSYSCONFDIR").map(|dir| Path::new(&dir).join("pg_service.conf"));
    for path in [own, shared].into_iter().flatten() {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if let Some(found) = section(&text, name, &path)? {
            return Ok(found);
        }
    }
    Err(Error::new(
        Kind::Config,
        format!("the service `{name}` is defined in no service file"),
    )
    .remedy(format!(
        "add a section [{name}] to ~/.pg_service.conf or to the file that PGSERVICEFILE names"
    )))
}

fn section(text: &str, name: &str, path: &Path) -> Result<Option<Vec<(String, String)>>> {
    let mut found = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if title == name {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = found.as_mut() else {
            continue;
        };
        let (key, value) = line.split_once('=').ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("{}: line {} has no `=`", path.display(), number + 1),
            )
        })?;
        if key == "service" {
            return Err(Error::new(
                Kind::Config,
                format!("{}: a service cannot name a service", path.display()),
            ));
        }
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

/// What a line of the password file is matched against.
#[derive(Debug)]
pub struct Login<'a> {
    /// Names the server goes by: the host, and `localhost` for a socket.
    pub hosts: &'a [&'a str],
    pub port: u16,
    pub database: &'a str,
    pub user: &'a str,
}

/// The first matching password of a password file. A missing file holds none;
/// one that others may read is left alone, with a warning, as libpq does.
#[must_use]
pub fn password(path: &Path, login: &Login<'_>) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() {
        tracing::warn!(path = %path.display(), "the password file is not a plain file: ignored");
        return None;
    }
    if meta.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the password file can be read by others: ignored until `chmod 0600`");
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| matching(line, login))
}

/// `host:port:database:user:password`; `*` matches anything, a backslash takes
/// the next character as it is.
fn matching(line: &str, login: &Login<'_>) -> Option<String> {
    let mut fields = vec![(String::new(), false)];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        // The fifth field is the password: it may contain bare colons.
        let last = fields.len() == 5;
        let field = fields.last_mut()?;
        match c {
            '\\' => {
                field.0.extend(chars.next());
                field.1 = true;
            }
            ':' if !last => fields.push((String::new(), false)),
            c => field.0.push(c),
        }
    }
    let [host, port, database, user, (password, _)] = <[_; 5]>::try_from(fields).ok()?;
    let is = |(text, escaped): &(String, bool), value: &str| {
        (text == "*" && !escaped) || text.as_str() == value
    };
    let hit = login.hosts.iter().any(|name| is(&host, name))
        && is(&port, &login.port.to_string())
        && is(&database, login.database)
        && is(&user, login.user);
    hit.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login {
        hosts: &["db"],
        port: 5432,
        database: "shop",
        user: "a:b",
    };

    #[test]
    fn password_lines_match_with_stars_and_escapes() {
        assert_eq!(
            matching(r"db:5432:shop:a\:b:s:e\\c", &LOGIN).as_deref(),
            Some(r"s:e\c")
        );
        assert_eq!(matching("*:*:*:*:x", &LOGIN).as_deref(), Some("x"));
        for line in [
            "db:5432:shop:ab:x",
            "db:5433:*:*:x",
            r"\*:*:*:*:x",
            "db:5432",
            "",
        ] {
            assert_eq!(matching(line, &LOGIN), None, "{line}");
        }
    }

    #[test]
    fn a_service_is_one_section() {
        let text = "# x\n[a]\nhost=1\n[b]\nhost = 2\n\nport=3\n[c]\nhost=4\n";
        let found = section(text, "b", Path::new("f")).unwrap().unwrap();
        assert_eq!(
            found,
            [
                ("host".to_owned(), "2".to_owned()),
                ("port".to_owned(), "3".to_owned())
            ]
        );
        assert!(section(text, "d", Path::new("f")).unwrap().is_none());
        assert!(section("[a]\nhost\n", "a", Path::new("f")).is_err());
    }
}
