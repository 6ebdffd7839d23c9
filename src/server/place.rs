//! Where a server lives: its directory, its socket, its port.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries::{Binaries, output};
use crate::error::{Context, Error, Kind, Result};

/// `sun_path` holds 108 bytes with its terminator; the rest is `/.s.PGSQL.65535`.
const LONGEST_SOCKET_DIR: usize = 107 - 16;

/// A port, and the claim to it: while this value lives no other server that is made here
/// takes it, whether this one is up or down.
#[derive(Debug, Default)]
pub struct Port {
    pub number: u16,
    /// A name that only one process can have, and that ends with it. Nobody connects.
    _claim: Option<UnixListener>,
}

impl Port {
    /// `None` where another server has it.
    #[cfg(target_os = "linux")]
    fn claim(number: u16) -> Option<Self> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;
        let name = SocketAddr::from_abstract_name(format!("crossfade-port-{number}")).ok()?;
        Some(Self {
            number,
            _claim: Some(UnixListener::bind_addr(&name).ok()?),
        })
    }

    /// Such names are Linux's.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unnecessary_wraps, reason = "as the other one")]
    fn claim(number: u16) -> Option<Self> {
        Some(Self {
            number,
            _claim: None,
        })
    }
}

/// Below the range from which the kernel takes the ports of outgoing connections
/// (32768 and up on Linux): a port from that range can be taken by any client
/// while the server is down between a stop and a start.
pub fn free_port() -> Result<Port> {
    for _ in 0..100 {
        let port = Port::claim(fastrand::u16(15_000..32_000));
        let free = |p: &Port| TcpListener::bind(("127.0.0.1", p.number)).is_ok();
        if let Some(port) = port.filter(free) {
            return Ok(port);
        }
    }
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| Port {
            number: address.port(),
            _claim: None,
        })
        .context("looking for a free port")
}

/// The server's directory, owned by its account, and whether it was created here.
pub fn directory(binaries: &Binaries, wanted: Option<&Path>) -> Result<(PathBuf, bool)> {
    let path = match wanted {
        Some(path) => std::path::absolute(path).context(format!("resolving {}", path.display()))?,
        None => std::env::temp_dir().join(format!(
            "crossfade-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        )),
    };
    let created = !path.exists();
    if created {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context(format!("creating {}", parent.display()))?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .context(format!("creating {}", path.display()))?;
    } else if fs::read_dir(&path)
        .context(format!("reading {}", path.display()))?
        .next()
        .is_some()
    {
        // Its owner changes and its content is removed in the end: both are
        // only right for what is ours alone.
        return Err(
            Error::new(Kind::Config, format!("{} is not empty", path.display()))
                .remedy("choose a directory that does not exist yet"),
        );
    }
    let reachable = binaries.give(&path).and_then(|()| {
        let mut test = Command::new("test");
        test.arg("-w").arg(&path).current_dir("/");
        binaries.as_account(&mut test);
        output(&mut test)
    });
    if reachable.is_err() {
        if created {
            let _ = fs::remove_dir(&path);
        }
        return Err(Error::new(
            Kind::Io,
            format!("the server's account cannot write in {}", path.display()),
        )
        .remedy("choose a directory whose parents everybody may enter, such as one under /tmp"));
    }
    Ok((path, created))
}

/// The directory itself where a socket's path has room, else a short one.
pub fn socket_directory(binaries: &Binaries, dir: &Path) -> Result<PathBuf> {
    if dir.as_os_str().len() <= LONGEST_SOCKET_DIR {
        return Ok(dir.to_owned());
    }
    let path = PathBuf::from(format!("/tmp/crossfade-socket-{:016x}", fastrand::u64(..)));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .context(format!("creating {}", path.display()))?;
    binaries.give(&path)?;
    Ok(path)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_claimed_until_its_server_is_gone() {
        let port = free_port().unwrap();
        // Nobody listens there, as while a server is down.
        assert!(TcpListener::bind(("127.0.0.1", port.number)).is_ok());
        assert!(Port::claim(port.number).is_none());
        let number = port.number;
        drop(port);
        assert!(Port::claim(number).is_some());
    }
}
