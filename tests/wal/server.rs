//! A throwaway PostgreSQL server for these tests.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crossfade::pg::{ConnInfo, connect};
use crossfade::server::binaries::Binaries;
use tokio_postgres::Client;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A test that measures this process's memory runs while no other does.
static TURN: RwLock<()> = RwLock::new(());

pub enum Turn {
    Shared(
        #[expect(dead_code, reason = "held until the server is dropped")]
        RwLockReadGuard<'static, ()>,
    ),
    Alone(
        #[expect(dead_code, reason = "held until the server is dropped")]
        RwLockWriteGuard<'static, ()>,
    ),
}

pub struct Server {
    pub dir: PathBuf,
    pub port: u16,
    _turn: Turn,
}

/// Runs one of the server's programs, or another one of the system, as the server's
/// account.
fn run(program: &str, args: &[&str]) {
    let status = attempt(program, args);
    assert!(status.success(), "{program} {args:?}: {status}");
}

fn attempt(program: &str, args: &[&str]) -> ExitStatus {
    let binaries = Binaries::find().unwrap();
    let path = binaries.dir.join(program);
    let path = if path.exists() { path } else { program.into() };
    let mut command = Command::new(path);
    command.args(args).current_dir("/tmp").stdin(Stdio::null());
    // pg_ctl's server keeps its standard output: never wait for its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    binaries.as_account(&mut command);
    command.status().unwrap()
}

impl Server {
    pub fn start(settings: &str) -> Self {
        let turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        Self::start_in(Turn::Shared(turn), settings)
    }

    pub fn start_alone(settings: &str) -> Self {
        let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        Self::start_in(Turn::Alone(turn), settings)
    }

    fn start_in(turn: Turn, settings: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!(
            "/tmp/crossfade-wal-{}-{number}",
            std::process::id()
        ));
        std::fs::create_dir_all(&dir).unwrap();
        Binaries::find().unwrap().give(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = Self {
            dir,
            port: 0,
            _turn: turn,
        };
        let data = server.path("data");
        run(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
            ],
        );
        let fixed = format!(
            "\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{}'\nwal_level=logical\nfsync=off\nmax_wal_senders=8\n{settings}\n",
            server.dir.display()
        );
        server.append("data/postgresql.conf", &fixed);
        server.up_on_a_free_port();
        server
    }

    /// Chosen last, and below the range from which the kernel takes the ports of outgoing
    /// connections; another test's server may still be quicker.
    fn up_on_a_free_port(&mut self) {
        for _ in 0..10 {
            self.port = fastrand::u16(15_000..32_000);
            if TcpListener::bind(("127.0.0.1", self.port)).is_err() {
                continue;
            }
            // Of several lines the last one holds.
            self.append("data/postgresql.conf", &format!("\nport={}\n", self.port));
            if self.try_up() {
                return;
            }
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(log.contains("Address already in use"), "{log}");
        }
        panic!("no port was to be had");
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    pub fn append(&self, name: &str, text: &str) {
        use std::io::Write;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.dir.join(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn openssl(&self, args: &[&str]) {
        run("openssl", args);
    }

    pub fn up(&self) {
        assert!(self.try_up(), "the server does not start");
    }

    fn try_up(&self) -> bool {
        let (data, log) = (self.path("data"), self.path("log"));
        attempt(
            "pg_ctl",
            &["-D", &data, "-w", "-t", "120", "-l", &log, "start"],
        )
        .success()
    }

    pub fn down(&self, mode: &str) {
        run(
            "pg_ctl",
            &[
                "-D",
                &self.path("data"),
                "-w",
                "-t",
                "120",
                "-m",
                mode,
                "stop",
            ],
        );
    }

    pub fn reload(&self) {
        run("pg_ctl", &["-D", &self.path("data"), "reload"]);
    }

    pub fn tcp(&self, more: &str) -> ConnInfo {
        let text = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres {more}",
            self.port
        );
        ConnInfo::parse(&text).unwrap()
    }

    pub fn unix(&self) -> ConnInfo {
        let (dir, port) = (self.dir.display(), self.port);
        ConnInfo::parse(&format!(
            "host={dir} port={port} user=postgres dbname=postgres"
        ))
        .unwrap()
    }

    pub async fn client(&self) -> Client {
        connect(&self.unix(), "test").await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.dir.join("data/postmaster.pid").exists() {
            self.down("immediate");
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
